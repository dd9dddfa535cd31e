//! How long requests may take, and how long to wait after one that failed.
//!
//! A thousand agents lose the API server in the same moment: waits double and are spread, and a server that says when to
//! come back is believed. Owned by [`watch`](super::watch).

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// Deadlines and waits of a watch.
#[derive(Debug, Clone)]
pub struct Pace {
    /// For the answer to a page of a list, and for the beginning of a watch's answer. The API server's own is a minute.
    pub deadline: Duration,
    /// What the server is asked to end a watch after, which makes it known that it is still there. Spread downwards.
    pub watch: Duration,
    /// After the first failure; doubled with each further one.
    pub wait: Duration,
    /// At most.
    pub wait_max: Duration,
    /// A watch that brought nothing and ended sooner than this has failed.
    pub short_watch: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(60),
            // kube refuses 295 s and more, as proxies on the way end what is silent for five minutes.
            watch: Duration::from_secs(290),
            wait: Duration::from_millis(250),
            wait_max: Duration::from_secs(30),
            short_watch: Duration::from_secs(1),
        }
    }
}

/// The waits between attempts.
#[derive(Debug)]
pub(super) struct BackOff {
    wait: Duration,
    max: Duration,
    next: Duration,
}

impl BackOff {
    pub(super) fn new(pace: &Pace) -> Self {
        Self { wait: pace.wait, max: pace.wait_max, next: pace.wait }
    }

    /// It works: the next failure is a first one.
    pub(super) fn reset(&mut self) {
        self.next = self.wait;
    }

    /// How long to wait now. What the server asked for counts, within bounds.
    pub(super) fn after_failure(&mut self, asked: Option<Duration>) -> Duration {
        let wait = spread(self.next);
        self.next = (self.next * 2).min(self.max);
        asked.map_or(wait, |asked| asked.min(self.max).max(wait))
    }
}

/// Something between a half and all of it.
pub(super) fn spread(duration: Duration) -> Duration {
    // The keys of std's hash tables are random; this needs no better randomness.
    let random = RandomState::new().hash_one(0_u8) % 1024;
    duration / 2 + duration / 2 * u32::try_from(random).unwrap_or(0) / 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_begin_anew_after_success() {
        let pace = Pace { wait: Duration::from_secs(1), wait_max: Duration::from_secs(5), ..Pace::default() };
        let mut back_off = BackOff::new(&pace);
        for seconds in [1, 2, 4, 5, 5] {
            let wait = back_off.after_failure(None).as_secs_f64();
            assert!((f64::from(seconds) / 2.0..=f64::from(seconds)).contains(&wait), "{wait} instead of {seconds}");
        }
        back_off.reset();
        assert!(back_off.after_failure(None) <= Duration::from_secs(1));
    }

    #[test]
    fn a_server_that_says_when_is_believed_within_bounds() {
        let mut back_off = BackOff::new(&Pace::default());
        assert_eq!(back_off.after_failure(Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert_eq!(back_off.after_failure(Some(Duration::from_secs(7000))), Duration::from_secs(30));
    }
}
