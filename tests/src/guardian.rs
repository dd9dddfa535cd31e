//! Cleaning up after a laboratory, whatever happens to the process that owns it.
//!
//! The owner holds the only write end of a pipe; the guardian (`pod guardian`, a process in its own session, outside
//! the laboratory's cgroup) reads it. End of file means that the owner has dropped the laboratory, panicked, been
//! interrupted or been killed: the guardian then kills everything in the cgroup and removes the directories. There is
//! no second way of cleaning up, so this one is exercised by every test. PR_SET_PDEATHSIG would not do: it fires when
//! the *thread* that forked ends, and every test has a thread of its own.

use std::fs;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{SigSet, Signal};

use crate::{bins, cgroup, sys};

/// The owner's end: closing it (or dying) makes the guardian clean up.
#[derive(Debug)]
pub struct Guardian {
    child: Mutex<Option<Child>>,
    pid: u32,
}

impl Guardian {
    /// Starts a guardian for a cgroup directory and a temporary directory, both of which exist.
    pub(crate) fn start(cgroup: &Path, temp: &Path) -> Result<Guardian> {
        let mut command = Command::new(bins::pod()?);
        command.arg("guardian").arg("--cgroup").arg(cgroup).arg("--temp").arg(temp);
        // The pipe of Stdio::piped is close-on-exec, so no other child of ours keeps it open.
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit());
        sys::new_session_before_exec(&mut command);
        let child = command.spawn().context("starting the laboratory's guardian")?;
        let pid = child.id();
        Ok(Guardian { child: Mutex::new(Some(child)), pid })
    }

    /// The guardian's process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Has everything killed and removed, and waits until it is. A second call does nothing.
    pub fn finish(&self) -> Result<()> {
        let Ok(mut slot) = self.child.lock() else { bail!("another thread panicked while it ended the laboratory") };
        let Some(mut child) = slot.take() else { return Ok(()) };
        // wait() closes the pipe first, which is the signal.
        let status = child.wait().context("waiting for the laboratory's guardian")?;
        if !status.success() {
            bail!("the laboratory's guardian ended with {status}");
        }
        Ok(())
    }
}

/// What `pod guardian` does: waits for the owner's end, then removes all that is left of the laboratory.
pub fn run(cgroup: &Path, temp: &Path) -> Result<()> {
    let mut ignored = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGPIPE] {
        ignored.add(signal);
    }
    ignored.thread_block().context("blocking signals")?;
    wait_for_eof().context("waiting for the laboratory's owner")?;
    cgroup::destroy(cgroup, LIMIT)?;
    match fs::remove_dir_all(temp) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", temp.display()))
        }
        _ => Ok(()),
    }
}

fn wait_for_eof() -> io::Result<()> {
    let mut buffer = [0; 64];
    let mut stdin = io::stdin().lock();
    loop {
        match stdin.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
    }
}

/// How long the processes of a laboratory may take to die.
const LIMIT: Duration = Duration::from_secs(20);
