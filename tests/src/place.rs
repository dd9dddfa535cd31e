//! A place to run programs: a cgroup and a network namespace of the laboratory.
//!
//! [`Pod`](crate::Pod) and [`Lab`](crate::Lab) hand these out. A child is in both *before* it executes, so that not
//! even its first connection escapes capture.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};

use crate::netns::{Namespace, Pauses};
use crate::process::Process;
use crate::{cgroup, sys};

/// A cgroup and a network namespace in which programs can be run.
#[derive(Debug, Clone)]
pub struct Place {
    name: String,
    cgroup: PathBuf,
    netns: Arc<Namespace>,
    logs: PathBuf,
}

impl Place {
    /// Makes the cgroup directory and a namespace for it, held by a pause process inside that cgroup.
    pub(crate) fn new(name: &str, cgroup: PathBuf, logs: &Path, pauses: &Pauses) -> Result<Place> {
        fs::create_dir(&cgroup).with_context(|| format!("making the cgroup {}", cgroup.display()))?;
        let netns = Arc::new(Namespace::new(&cgroup, pauses)?);
        Ok(Place { name: name.to_owned(), cgroup, netns, logs: logs.to_path_buf() })
    }

    /// The same namespace with another cgroup directory, which must exist.
    pub fn with_cgroup(&self, name: &str, cgroup: PathBuf) -> Place {
        Place { name: name.to_owned(), cgroup, netns: Arc::clone(&self.netns), logs: self.logs.clone() }
    }

    /// What log files call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The cgroup v2 directory.
    pub fn cgroup(&self) -> &Path {
        &self.cgroup
    }

    /// The network namespace.
    pub fn netns(&self) -> &Namespace {
        &self.netns
    }

    /// A command that will run here: own process group, nothing on stdin, output as the caller sets it.
    pub fn command<A: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Command> {
        let mut command = Command::new(program);
        // Own process group: a Ctrl-C in the terminal is for the test, which then ends the rest in order.
        command.args(args).stdin(Stdio::null()).process_group(0);
        sys::join_before_exec(&mut command, cgroup::open_procs(&self.cgroup)?, self.netns.fd()?);
        Ok(command)
    }

    /// Runs a program here to its end, and returns its output and exit status.
    pub fn output<A: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Output> {
        let mut command = self.command(program, args)?;
        command.output().with_context(|| format!("running {command:?} in {}", self.name))
    }

    /// Runs a program here that has to succeed, and returns what it says.
    ///
    /// # Errors
    /// Where it does not, with what it says of that.
    pub fn run<A: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = A>,
    ) -> Result<String> {
        let mut command = self.command(program, args)?;
        let output = command.output().with_context(|| format!("running {command:?} in {}", self.name))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{command:?} in {}: {}: {said}", self.name, output.status);
        String::from_utf8(output.stdout).with_context(|| format!("what {command:?} says"))
    }

    /// Starts a program here that is killed when the guard is dropped; its output goes to files.
    pub fn spawn<A: AsRef<OsStr>>(
        &self,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = A>,
    ) -> Result<Process> {
        let command = self.command(program, args)?;
        Process::start(command, &self.name, &self.logs)
    }

    pub(crate) fn ip(&self, lines: &str) -> Result<()> {
        self.netns.ip(&self.cgroup, lines)
    }

    pub(crate) fn nft(&self, script: &str) -> Result<()> {
        self.netns.nft(&self.cgroup, script)
    }
}
