//! Times that several threads of a client measured, and what is told of them.

use std::thread::ScopedJoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};

use crate::stats::percentile;

/// What one thread measured, nanoseconds each.
pub(super) type Nanos = Result<Vec<u32>>;

/// All of it, in order.
#[derive(Debug)]
pub(super) struct Latencies(Vec<u32>);

impl Latencies {
    /// Waits for the threads; the first failure is that of all.
    pub(super) fn of(threads: Vec<ScopedJoinHandle<'_, Nanos>>) -> Result<Latencies> {
        let join = |thread: ScopedJoinHandle<'_, Nanos>| thread.join().map_err(|_| anyhow!("a thread panicked"))?;
        let all: Vec<Vec<u32>> = threads.into_iter().map(join).collect::<Result<_>>()?;
        let mut nanos = all.concat();
        ensure!(!nanos.is_empty(), "nothing was answered");
        nanos.sort_unstable();
        Ok(Latencies(nanos))
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// How many a second, over that time.
    pub(super) fn rate(&self, time: Duration) -> f64 {
        self.count() as f64 / time.as_secs_f64()
    }

    /// What that share of them stays below, microseconds.
    pub(super) fn micros(&self, share: f64) -> f64 {
        f64::from(percentile(&self.0, share).unwrap_or_default()) / 1e3
    }
}
