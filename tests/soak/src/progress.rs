//! A line now and then on stderr: how far the soak is, and whether anything is wrong so far.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use crate::soak::Done;
use crate::tally::Tally;

/// Between two lines where they are kept, as in a log; on a terminal each replaces the one before.
const EVERY: Duration = Duration::from_secs(10);

/// What is told of it.
pub(crate) struct Progress {
    started: Instant,
    length: Duration,
    stage: &'static str,
    said: Option<Instant>,
    terminal: bool,
}

impl Progress {
    pub(crate) fn new(length: Duration) -> Progress {
        let terminal = io::stderr().is_terminal();
        Progress { started: Instant::now(), length, stage: "", said: None, terminal }
    }

    /// Something else begins.
    pub(crate) fn stage(&mut self, stage: &'static str) {
        self.stage = stage;
        self.said = None;
    }

    /// Says how it stands, if it is time.
    pub(crate) fn tick(&mut self, tally: &Tally, done: &Done) {
        if !self.terminal && self.said.is_some_and(|said| said.elapsed() < EVERY) {
            return;
        }
        self.said = Some(Instant::now());
        let Done { upgrades, kills, hangs, stops, changes, pods, .. } = done;
        let wrong = tally.sum(|kind| kind.wrong) + tally.sum(|kind| kind.unexplained);
        let line = format!(
            "{} of {} {:<12} {} requests, {wrong} wrong or failed, {} direct, {} reset as announced; \
             {upgrades} upgrades, {kills} kills, {hangs} hangs, {stops} stops, {changes} changes, {pods} pods",
            minutes(self.started.elapsed()),
            minutes(self.length),
            self.stage,
            tally.sum(crate::tally::Kind::requests),
            tally.sum(|kind| kind.direct),
            tally.sum(|kind| kind.explained),
        );
        let (before, after) = if self.terminal { ("\r\x1b[K", "") } else { ("", "\n") };
        write!(io::stderr(), "{before}{line}{after}").ok();
    }

    /// The next output is somebody else's.
    pub(crate) fn end(&self) {
        if self.terminal {
            writeln!(io::stderr()).ok();
        }
    }
}

fn minutes(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}
