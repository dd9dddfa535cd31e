//! The one clock of the soak: CLOCK_MONOTONIC in milliseconds, the same in every process of the machine.
//!
//! What clients tell and what the driver does are laid side by side by it, so it must not jump when somebody sets the time.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Milliseconds since some moment in the past.
pub(crate) fn now() -> u64 {
    // A clock that every kernel has: an error cannot happen.
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
