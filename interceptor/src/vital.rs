//! Threads without which the agent is of no use: a panic in one of them ends the process.
//!
//! Used for workers, the heartbeat and the control thread. The kernel takes a dead agent's hooks away, so that traffic goes
//! directly, and whoever supervises the agent starts another; an agent that lives on in part would do neither. A panic
//! inside the task of one connection is none of this: it ends that connection.

use std::io;
use std::thread::{Builder, JoinHandle, panicking};

/// Dropped while its thread panics, it ends the process.
#[derive(Debug)]
pub struct Vital(());

impl Vital {
    /// Makes the current thread vital for as long as this lives.
    #[must_use]
    pub fn thread() -> Self {
        Self(())
    }
}

impl Drop for Vital {
    fn drop(&mut self) {
        if panicking() {
            tracing::error!("a thread without which nothing works has panicked: the agent ends, traffic goes directly");
            crate::telemetry::flush_before_abort();
            std::process::abort();
        }
    }
}

/// Starts a vital thread.
///
/// # Errors
/// Where the thread cannot be made.
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    Builder::new().name(name.to_owned()).spawn(move || {
        let _vital = Vital::thread();
        work();
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::Command;

    use super::*;

    /// Set in the process that is to die.
    const INSIDE: &str = "INTERCEPTOR_TEST_VITAL";

    #[test]
    fn a_panic_in_a_vital_thread_ends_the_process_and_only_there() {
        if let Ok(vital) = std::env::var(INSIDE) {
            let panic = || panic!("as a bug would");
            let thread = if vital == "yes" { spawn("vital", panic) } else { Builder::new().spawn(panic) };
            drop(thread.unwrap().join());
            return;
        }
        let name = "vital::tests::a_panic_in_a_vital_thread_ends_the_process_and_only_there";
        for (vital, signal) in [("yes", Some(6)), ("no", None)] {
            let mut again = Command::new(std::env::current_exe().unwrap());
            let output = again.args(["--exact", name, "--nocapture"]).env(INSIDE, vital).output().unwrap();
            assert_eq!(output.status.signal(), signal, "{vital}: {output:?}");
        }
    }
}
