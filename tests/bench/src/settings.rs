//! How much is measured, and where progress is told. Every scenario gets one [`Settings`].
//!
//! Progress goes to stderr, as one line that is written over on a terminal and as a line per case elsewhere; stdout holds
//! the result only.

use std::cell::Cell;
use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::ops::RangeInclusive;
use std::time::Duration;

/// How thorough a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Effort {
    /// Everything once, for a moment: shows that it runs, the numbers mean little.
    Smoke,
    /// Numbers that can be trusted to a few percent.
    Quick,
    /// What docs/performance.md shows.
    Full,
}

/// Passed to every scenario.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) effort: Effort,
    case: Option<String>,
    scenario: Cell<&'static str>,
    shown: Cell<bool>,
}

impl Settings {
    /// For that effort; only cases with `case` in their names.
    pub(crate) fn new(effort: Effort, case: Option<String>) -> Settings {
        Settings { effort, case, scenario: Cell::new(""), shown: Cell::new(false) }
    }

    /// The numbers of the rounds of a case; none where other cases were asked for.
    pub(crate) fn rounds_of(&self, case: &str) -> RangeInclusive<usize> {
        let wanted = self.case.as_ref().is_none_or(|text| case.contains(text.as_str()));
        1..=if wanted { self.rounds() } else { 0 }
    }

    /// How often everything is measured.
    pub(crate) fn rounds(&self) -> usize {
        self.pick(1, 3, 5)
    }

    /// How long one measurement takes, seconds. Machines are noisy over seconds: more rounds tell more than longer ones.
    pub(crate) fn seconds(&self) -> u32 {
        1
    }

    /// The same for our own programs, which do not count in seconds only.
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_millis(self.pick(200, 700, 1000))
    }

    /// One of three values, by effort.
    pub(crate) fn pick<T>(&self, smoke: T, quick: T, full: T) -> T {
        match self.effort {
            Effort::Smoke => smoke,
            Effort::Quick => quick,
            Effort::Full => full,
        }
    }

    /// What is told from now on is about this scenario.
    pub(crate) fn begin(&self, scenario: &'static str) {
        self.scenario.set(scenario);
    }

    /// Tells what is being measured.
    pub(crate) fn progress(&self, what: impl fmt::Display) {
        let scenario = self.scenario.get();
        let mut stderr = io::stderr().lock();
        let terminal = stderr.is_terminal();
        // A terminal that is gone must not end the run.
        let told = if terminal {
            write!(stderr, "\r\x1b[K{scenario}: {what}")
        } else {
            writeln!(stderr, "{scenario}: {what}")
        };
        told.and_then(|()| stderr.flush()).ok();
        self.shown.set(terminal);
    }

    /// Clears the line of progress, before something is to stay.
    pub(crate) fn settle(&self) {
        if self.shown.replace(false) {
            write!(io::stderr().lock(), "\r\x1b[K").ok();
        }
    }
}
