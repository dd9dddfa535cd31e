//! How often a configuration is read because somebody asked (SIGHUP), and how often it is told that one came into force: a
//! file that changes a hundred times a second must fill neither the control thread's time nor the log.
//!
//! Owned by [`Control`](super::control::Control), whose clock it goes by.

use std::time::{Duration, Instant};

/// The shortest time between two readings that were asked for; what comes sooner is done with the next look at the file.
const PAUSE: Duration = Duration::from_millis(50);

/// The shortest time between two lines of the log.
const QUIET: Duration = Duration::from_secs(1);

/// When configurations were read and told of.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    began: Option<Instant>,
    asked: bool,
    told: Option<Instant>,
    /// The version that came into force last, and how many did, since the last line.
    untold: Option<(u64, u32)>,
}

impl Reloads {
    /// Whether the file may be read now, for somebody who asks; if not, [`was_asked`](Self::was_asked) remembers.
    pub(super) fn may_begin(&mut self) -> bool {
        let now = Instant::now();
        self.asked = self.began.is_some_and(|began| now.duration_since(began) < PAUSE);
        if !self.asked {
            self.began = Some(now);
        }
        !self.asked
    }

    /// Whether somebody asked too soon after the one before. Asked only once.
    pub(super) fn was_asked(&mut self) -> bool {
        std::mem::take(&mut self.asked)
    }

    /// A configuration came into force.
    pub(super) fn came(&mut self, version: u64) {
        let before = self.untold.map_or(0, |(_, count)| count);
        self.untold = Some((version, before + 1));
        self.tell();
    }

    /// Tells of what came into force, unless a line was written a moment ago.
    pub(super) fn tell(&mut self) {
        if self.told.is_some_and(|told| told.elapsed() < QUIET) {
            return;
        }
        match self.untold.take() {
            None => return,
            Some((version, 1)) => tracing::info!(version, "configuration in force"),
            Some((version, count)) => {
                tracing::info!(version, count, "configurations in force, the last one with this version")
            }
        }
        self.told = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_too_often_is_served_with_the_next_look() {
        let mut reloads = Reloads::default();
        assert!(reloads.may_begin() && !reloads.was_asked());
        assert!(!reloads.may_begin() && !reloads.may_begin());
        assert!(reloads.was_asked() && !reloads.was_asked(), "once for all that asked");
        std::thread::sleep(PAUSE);
        assert!(reloads.may_begin());
    }

    #[test]
    fn the_last_of_many_is_told() {
        let mut reloads = Reloads::default();
        reloads.came(2);
        assert_eq!(reloads.untold, None);
        reloads.came(3);
        reloads.came(4);
        assert_eq!(reloads.untold, Some((4, 2)));
        reloads.told = Instant::now().checked_sub(QUIET);
        reloads.tell();
        assert_eq!(reloads.untold, None);
    }
}
