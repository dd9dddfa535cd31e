//! Ctrl-C during the demo: the laboratory is gone before the shell's prompt is back.
//!
//! The guardian would clean up anyway; waiting for it here only makes the order tidy. [`demo::run`](super::run) installs
//! it before any other thread exists, so that every thread has the signals blocked.

use std::process::exit;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result};
use nix::sys::signal::{SigSet, Signal};

use crate::guardian::Guardian;

/// Ends the process, and the laboratory first, on SIGINT, SIGTERM and SIGHUP.
#[derive(Debug)]
pub(crate) struct Interrupt {
    guardian: Arc<Mutex<Option<Arc<Guardian>>>>,
}

impl Interrupt {
    /// Blocks the signals and starts the thread that waits for them.
    pub(crate) fn install() -> Result<Interrupt> {
        let mut signals = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            signals.add(signal);
        }
        signals.thread_block().context("blocking signals")?;
        let guardian: Arc<Mutex<Option<Arc<Guardian>>>> = Arc::default();
        let shared = Arc::clone(&guardian);
        thread::spawn(move || {
            let Ok(signal) = signals.wait() else { return };
            let guardian = shared.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(Err(error)) = guardian.map(|guardian| guardian.finish()) {
                #[expect(clippy::print_stderr, reason = "the last words of the process")]
                {
                    eprintln!("{error:#}");
                }
            }
            // The shell's convention for death by signal.
            exit(128 + signal as i32);
        });
        Ok(Interrupt { guardian })
    }

    /// Names what must be ended first.
    pub(crate) fn guard(&self, guardian: Arc<Guardian>) {
        *self.guardian.lock().unwrap_or_else(PoisonError::into_inner) = Some(guardian);
    }
}
