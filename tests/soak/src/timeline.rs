//! What was done to the agent and when: it explains answers that would be wrong otherwise, and says which copies are right.
//!
//! The driver writes it, the judge reads it between two events, when all that has begun has ended. Milliseconds of
//! [`clock`](crate::clock).

use std::fmt;

use crate::truth::Truth;

/// What can be done to an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum What {
    Upgrade,
    Kill,
    Hang,
    /// SIGTERM without a successor, then another start.
    Stop,
    /// The agent says that it did not show itself for too long; nobody did that, the machine was busy.
    Lapse,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            What::Upgrade => "upgrade",
            What::Kill => "kill",
            What::Hang => "hang",
            What::Stop => "stop",
            What::Lapse => "lapse",
        })
    }
}

/// An event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) what: What,
    pub(crate) began: u64,
    /// When the process was gone, of a kill.
    pub(crate) gone: u64,
    /// When an agent was ready again.
    pub(crate) ended: u64,
}

/// A change of the configuration: which of both is in force is not known in between.
#[derive(Debug, Clone, Copy)]
struct Change {
    began: u64,
    ended: u64,
    after: Truth,
}

/// All of a soak.
#[derive(Debug)]
pub(crate) struct Timeline {
    first: Truth,
    changes: Vec<Change>,
    windows: Vec<Window>,
    notes: Vec<(u64, String)>,
}

impl Timeline {
    pub(crate) fn new(first: Truth) -> Timeline {
        Timeline { first, changes: Vec::new(), windows: Vec::new(), notes: Vec::new() }
    }

    pub(crate) fn changed(&mut self, began: u64, ended: u64, after: Truth) {
        self.note(began, format!("change, in force by {ended}: {after:?}"));
        self.changes.push(Change { began, ended, after });
    }

    pub(crate) fn happened(&mut self, window: Window) {
        let Window { what, began, gone, ended } = window;
        self.note(began, format!("{what}, gone by {gone}, over by {ended}"));
        self.windows.push(window);
    }

    /// Something that is told and explains nothing.
    pub(crate) fn note(&mut self, at: u64, what: String) {
        self.notes.push((at, what));
    }

    /// All in words, in the order of its beginning.
    pub(crate) fn words(&self) -> Vec<String> {
        let mut notes = self.notes.clone();
        notes.sort();
        notes.iter().map(|(at, what)| format!("{at} {what}")).collect()
    }

    /// What may have been deployed at some moment of a period.
    pub(crate) fn truths(&self, from: u64, to: u64) -> Vec<Truth> {
        let before = self.changes.iter().rev().find(|change| change.ended < from);
        let mut all = vec![before.map_or(self.first, |change| change.after)];
        all.extend(
            self.changes.iter().filter(|change| change.ended >= from && change.began <= to).map(|change| change.after),
        );
        all
    }

    /// Why a connection made in this period may have passed the agent by.
    pub(crate) fn direct(&self, from: u64, to: u64) -> Option<What> {
        self.overlapping(from, to).map(|window| window.what).find(|what| *what != What::Upgrade)
    }

    /// Whether one agent gave way to another one, or `margin` milliseconds before, in this period.
    pub(crate) fn replaced(&self, from: u64, to: u64, margin: u64) -> Option<What> {
        let all = self.overlapping(from.saturating_sub(margin), to).map(|window| window.what);
        all.filter(|what| matches!(what, What::Upgrade | What::Kill | What::Stop)).last()
    }

    /// Whether a connection from that time is one of an agent that had been told to make way by then.
    pub(crate) fn draining(&self, connected: u64, at: u64) -> Option<What> {
        let made_way = |window: &&Window| matches!(window.what, What::Upgrade | What::Stop) && window.began <= at;
        self.windows.iter().filter(made_way).find(|window| connected <= window.ended).map(|window| window.what)
    }

    /// Events of a kind, the latest first.
    pub(crate) fn of(&self, what: What) -> impl Iterator<Item = &Window> {
        self.windows.iter().rev().filter(move |window| window.what == what)
    }

    fn overlapping(&self, from: u64, to: u64) -> impl Iterator<Item = &Window> {
        self.windows.iter().filter(move |window| window.began <= to && from <= window.ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Truth = Truth { alice: false, bob: false, carol: false, dave: false };
    const ALICE: Truth = Truth { alice: true, ..NONE };

    #[test]
    fn while_a_change_is_under_way_both_are_right() {
        let mut timeline = Timeline::new(NONE);
        timeline.changed(100, 120, ALICE);
        timeline.changed(200, 210, NONE);
        assert_eq!(timeline.truths(50, 99), [NONE]);
        assert_eq!(timeline.truths(90, 100), [NONE, ALICE]);
        assert_eq!(timeline.truths(121, 199), [ALICE]);
        assert_eq!(timeline.truths(121, 205), [ALICE, NONE]);
        assert_eq!(timeline.truths(211, 300), [NONE]);
    }

    #[test]
    fn an_upgrade_explains_no_direct_connection() {
        let mut timeline = Timeline::new(NONE);
        timeline.happened(Window { what: What::Upgrade, began: 10, gone: 20, ended: 20 });
        timeline.happened(Window { what: What::Kill, began: 30, gone: 31, ended: 40 });
        assert_eq!(timeline.direct(10, 20), None);
        assert_eq!(timeline.direct(25, 30), Some(What::Kill));
        assert_eq!(timeline.direct(41, 50), None);
        assert_eq!(timeline.replaced(21, 22, 5), Some(What::Upgrade));
    }
}
