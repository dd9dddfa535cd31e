//! Anonymous network namespaces, each held by a small pause process, as Kubernetes does it.
//!
//! [`Lab`](crate::Lab) makes one for the node, one for the outside and one per pod. No name is left under /run/netns:
//! a namespace ends with the last process, descriptor and socket in it.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result, anyhow, bail};
use nix::sched::{CloneFlags, setns};

use crate::{bins, cgroup, sys};

/// A network namespace and the pause process that holds it.
#[derive(Debug)]
pub struct Namespace {
    pid: u32,
    path: PathBuf,
    fd: OwnedFd,
}

/// The pause processes of a laboratory, so that none stays a zombie whoever ends it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pauses(Arc<Mutex<Vec<Child>>>);

impl Pauses {
    /// Collects those that have ended.
    pub(crate) fn reap(&self) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain_mut(|pause| matches!(pause.try_wait(), Ok(None)));
    }

    fn keep(&self, pause: Child) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(pause);
    }
}

impl Namespace {
    /// Starts a pause process in a new namespace and in the cgroup `dir`; brings nothing up.
    pub(crate) fn new(dir: &Path, pauses: &Pauses) -> Result<Namespace> {
        let mut command = Command::new(bins::pod()?);
        command.arg("pause").process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        sys::unshare_before_exec(&mut command, cgroup::open_procs(dir)?);
        // spawn() returns once exec has succeeded, so the namespace exists by then.
        let pause = command.spawn().context("starting a pause process in a new network namespace (root is needed)")?;
        let pid = pause.id();
        pauses.keep(pause);
        let path = PathBuf::from(format!("/proc/{pid}/ns/net"));
        let fd = File::open(&path).with_context(|| format!("opening {}", path.display()))?.into();
        Ok(Namespace { pid, path, fd })
    }

    /// The pause process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The file that stands for the namespace while the pause process lives.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A descriptor of the namespace, which keeps it alive.
    pub(crate) fn fd(&self) -> Result<OwnedFd> {
        self.fd.try_clone().with_context(|| format!("duplicating the descriptor of {}", self.path.display()))
    }

    /// Runs `work` on a thread inside the namespace; sockets that it makes stay there.
    ///
    /// The cgroup does not change: what `work` connects is never captured (see [`sockets`](crate::sockets) for that).
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(self.fd.as_fd(), CloneFlags::CLONE_NEWNET)
                    .with_context(|| format!("entering {}", self.path.display()))?;
                work()
            });
            thread.join().map_err(|_| anyhow!("the thread inside {} panicked", self.path.display()))?
        })
    }

    /// Runs `ip -batch -` with these lines.
    pub(crate) fn ip(&self, dir: &Path, lines: &str) -> Result<()> {
        self.feed(dir, "ip", &["-batch", "-"], lines)
    }

    /// Runs `nft -f -` with this script, which takes effect wholly or not at all.
    pub(crate) fn nft(&self, dir: &Path, script: &str) -> Result<()> {
        self.feed(dir, "nft", &["-f", "-"], script)
    }

    fn feed(&self, dir: &Path, program: &str, args: &[&str], input: &str) -> Result<()> {
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        sys::join_before_exec(&mut command, cgroup::open_procs(dir)?, self.fd()?);
        let mut child = command.spawn().with_context(|| format!("starting {program} in {}", self.path.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that ends early says why on stderr; that is the better message.
            stdin.write_all(input.as_bytes()).ok();
        }
        let output = child.wait_with_output().with_context(|| format!("waiting for {program}"))?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            bail!("{program} in {} ended with {}: {stderr}\ninput:\n{input}", self.path.display(), output.status);
        }
        Ok(())
    }
}
