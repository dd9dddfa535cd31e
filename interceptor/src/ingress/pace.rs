//! How fast the manager writes: a bucket of tokens for all writes, and a growing pause for what fails.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Between two writes in the long run: fifty a second, as controllers of a cluster do. Ten thousand services that are
/// exposed for the first time take some minutes.
const INTERVAL: Duration = Duration::from_millis(20);
/// Writes at once after a pause: a new space has its URLs in a moment.
const BURST: u32 = 100;
/// The first pause of what failed, doubled every time.
const FIRST: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST: Duration = Duration::from_secs(60);

/// Spaces writes out.
#[derive(Debug)]
pub(super) struct Pace {
    /// When all tokens are spent, the time of the next; before it, the bucket fills.
    next: Instant,
}

impl Default for Pace {
    fn default() -> Self {
        Self { next: Instant::now() }
    }
}

impl Pace {
    /// Returns when the next write may be made.
    pub(super) async fn wait(&mut self) {
        let now = Instant::now();
        let full = INTERVAL * BURST;
        self.next = self.next.max(now) + INTERVAL;
        let ahead = self.next.saturating_duration_since(now);
        if ahead > full {
            sleep_until(self.next - full).await;
        }
    }
}

/// When something that failed is tried again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Backoff {
    times: u32,
    until: Option<Instant>,
}

impl Backoff {
    /// After one more failure.
    pub(super) fn later(self, now: Instant) -> Self {
        let pause = FIRST.saturating_mul(2u32.saturating_pow(self.times)).min(LONGEST);
        Self { times: self.times.saturating_add(1), until: Some(now + pause) }
    }

    /// How long it is still to wait.
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.until.map(|until| until.saturating_duration_since(now)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_at_once_and_the_rest_at_an_even_pace() {
        let mut pace = Pace::default();
        let start = Instant::now();
        for _ in 0..BURST {
            pace.wait().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        for _ in 0..50 {
            pace.wait().await;
        }
        let took = start.elapsed();
        assert!((INTERVAL * 49..=INTERVAL * 51).contains(&took), "{took:?}");
        tokio::time::advance(Duration::from_secs(60)).await;
        let later = Instant::now();
        for _ in 0..BURST {
            pace.wait().await;
        }
        assert_eq!(later.elapsed(), Duration::ZERO, "the bucket is full again, and not fuller");
        pace.wait().await;
        assert!(!later.elapsed().is_zero());
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        assert!(backoff.left(now).is_zero());
        let mut pauses = Vec::new();
        for _ in 0..9 {
            backoff = backoff.later(now);
            pauses.push(backoff.left(now).as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert!(backoff.left(now + LONGEST).is_zero());
    }
}
