//! Waiting for something to become true, with a deadline and a message that says what did not.
//!
//! Everything in this crate that polls goes through here, so that no test hangs and none sleeps longer than it must.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Calls `probe` until it gives a value; fails after `limit` with `what` and the probe's last explanation.
///
/// The probe answers `Err(explanation)` for "not yet": the last one is part of the error.
pub fn until<T>(limit: Duration, what: &str, mut probe: impl FnMut() -> Result<T>) -> Result<T> {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        match probe() {
            Ok(value) => return Ok(value),
            Err(why) if Instant::now() >= end => bail!("waited {limit:?} for {what}: {why:#}"),
            Err(_) => sleep(pause),
        }
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}
