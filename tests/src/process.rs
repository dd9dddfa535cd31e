//! A running program of the laboratory: its output in files, killed with its process group when dropped.
//!
//! [`Place::spawn`](crate::place::Place::spawn) makes them. The files stay until the laboratory ends, so a failed test
//! can still show them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::wait;

/// A program that was started; dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    pub(crate) fn start(mut command: Command, place: &str, logs: &Path) -> Result<Process> {
        let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = format!("{place}/{program}");
        let (stdout, out) = log_file(logs, place, &program, "out")?;
        let stderr = stdout.with_extension("err");
        let err = File::create(&stderr).with_context(|| format!("making {}", stderr.display()))?;
        command.stdout(out).stderr(err);
        let child = command.spawn().with_context(|| format!("starting {command:?} in {place}"))?;
        Ok(Process { name, child, stdout, stderr })
    }

    /// The process id (and, as it leads a group of its own, the group's).
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to stdout so far.
    pub fn stdout(&self) -> String {
        read_lossy(&self.stdout)
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        read_lossy(&self.stderr)
    }

    /// The file that its stderr goes to.
    pub fn stderr_path(&self) -> &Path {
        &self.stderr
    }

    /// Its exit status if it has ended.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("waiting for {}", self.name))
    }

    /// Waits until it ends by itself.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("{} to end", self.name);
        wait::until(limit, &what, || self.try_wait()?.context("it still runs"))
    }

    /// Fails, with its stderr, if it has ended.
    pub fn expect_running(&mut self) -> Result<()> {
        match self.try_wait()? {
            None => Ok(()),
            Some(status) => {
                bail!("{} ended with {status}; its stderr:\n{}", self.name, self.stderr())
            }
        }
    }

    /// Sends a signal to it and to what it started.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.try_wait()?.is_some() {
            return Ok(());
        }
        let group = i32::try_from(self.pid()).context("a process id is larger than the kernel's own")?;
        killpg(Pid::from_raw(group), signal).with_context(|| format!("sending {signal} to {}", self.name))
    }

    /// Kills it with what it started, and waits for its end.
    pub fn kill(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::SIGKILL)?;
        self.child.wait().with_context(|| format!("waiting for {}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The laboratory's guardian kills whatever escapes this.
        self.kill().ok();
    }
}

fn read_lossy(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// A new file `<place>-<program>-<n>.<kind>`, with the first number that is free.
fn log_file(logs: &Path, place: &str, program: &str, kind: &str) -> Result<(PathBuf, File)> {
    for n in 0_u32.. {
        let path = logs.join(format!("{place}-{program}-{n}.{kind}"));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("making {}", path.display())),
        }
    }
    bail!("no free log file name for {place}/{program}")
}
