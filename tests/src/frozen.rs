//! One thread of a program, stopped where it is: what a deadlock, an endless loop or a lost wake-up makes of it.
//!
//! By ptrace(2), as no signal stops a single thread. It goes on when the guard is dropped, or when the test ends.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::wait;

/// A thread that does not run. For the thread that made it only: the kernel ties the two together.
#[derive(Debug)]
pub struct Frozen {
    thread: Pid,
    _not_send: std::marker::PhantomData<*const ()>,
}

impl Frozen {
    /// Stops the thread of that name.
    pub fn thread(process: u32, name: &str) -> Result<Frozen> {
        for entry in fs::read_dir(format!("/proc/{process}/task")).context("listing threads")? {
            let entry = entry?;
            if fs::read_to_string(entry.path().join("comm"))?.trim() == name {
                let id = entry.file_name().to_string_lossy().parse().context("reading a thread's number")?;
                return Frozen::stop(Pid::from_raw(id)).with_context(|| format!("stopping the thread {name}"));
            }
        }
        bail!("process {process} has no thread {name}")
    }

    fn stop(thread: Pid) -> Result<Frozen> {
        ptrace::seize(thread, ptrace::Options::empty())?;
        let frozen = Frozen { thread, _not_send: std::marker::PhantomData };
        ptrace::interrupt(thread)?;
        waitpid(thread, Some(WaitPidFlag::__WALL))?;
        Ok(frozen)
    }
}

impl Frozen {
    /// Waits until the thread is killed, which its process cannot be done with before.
    pub fn wait_killed(&self, limit: Duration) -> Result<()> {
        wait::until(limit, "a stopped thread to be killed", || {
            match waitpid(self.thread, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG))? {
                WaitStatus::Exited(..) | WaitStatus::Signaled(..) => Ok(()),
                other => bail!("it is {other:?}"),
            }
        })
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if ptrace::detach(self.thread, None).is_err() {
            // It was killed meanwhile: nobody else can lay it to rest.
            waitpid(self.thread, Some(WaitPidFlag::__WALL | WaitPidFlag::WNOHANG)).ok();
        }
    }
}
