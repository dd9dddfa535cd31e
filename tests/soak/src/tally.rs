//! Counts what clients and servers tell: verdicts by kind and cause, latencies, and that nothing was executed twice.

use std::collections::{BTreeMap, HashSet};

use crate::judge::Verdict;
use crate::told::{Outcome, Told};

/// So many wrong or unexplained ones are kept in words; the rest is counted.
const KEPT: usize = 50;

/// What became of one kind of requests.
#[derive(Debug, Default)]
pub(crate) struct Kind {
    pub(crate) right: u64,
    pub(crate) direct: u64,
    pub(crate) explained: u64,
    pub(crate) wrong: u64,
    pub(crate) unexplained: u64,
    /// Of what was answered.
    pub(crate) micros: Vec<u32>,
}

/// All that was told.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) kinds: BTreeMap<String, Kind>,
    pub(crate) direct: BTreeMap<String, u64>,
    pub(crate) explained: BTreeMap<String, u64>,
    /// In words, the first of them.
    pub(crate) wrong: Vec<String>,
    pub(crate) unexplained: Vec<String>,
    executed: HashSet<u64>,
    /// Answered, and nobody has told yet to have executed it.
    awaited: HashSet<u64>,
}

impl Tally {
    /// A server has executed a request that is not idempotent.
    pub(crate) fn executed(&mut self, id: u64) {
        if !self.executed.insert(id) {
            keep(&mut self.wrong, format!("request {id} was executed twice"));
        }
        self.awaited.remove(&id);
    }

    /// A client has told something, and it was judged.
    pub(crate) fn add(&mut self, who: &str, told: &Told, verdict: Verdict) {
        let kind = self.kinds.entry(told.kind.clone()).or_default();
        if matches!(told.outcome, Outcome::Answered { .. }) {
            kind.micros.push(u32::try_from(told.micros).unwrap_or(u32::MAX));
            if told.once && !self.executed.contains(&told.id) {
                self.awaited.insert(told.id);
            }
        }
        match verdict {
            Verdict::Right => kind.right += 1,
            Verdict::Direct(cause) => {
                kind.direct += 1;
                *self.direct.entry(cause).or_default() += 1;
            }
            Verdict::Explained(cause) => {
                kind.explained += 1;
                *self.explained.entry(cause).or_default() += 1;
            }
            Verdict::Wrong(what) => {
                kind.wrong += 1;
                keep(&mut self.wrong, words(who, told, &what));
            }
            Verdict::Unexplained(what) => {
                kind.unexplained += 1;
                keep(&mut self.unexplained, words(who, told, &what));
            }
        }
    }

    /// Everything has been told: what was answered must have been executed.
    pub(crate) fn finish(&mut self) {
        for id in std::mem::take(&mut self.awaited) {
            keep(&mut self.wrong, format!("request {id} was answered, and nobody has executed it"));
        }
    }

    /// How many requests that are not idempotent were executed.
    pub(crate) fn executions(&self) -> usize {
        self.executed.len()
    }

    /// A sum over all kinds.
    pub(crate) fn sum(&self, of: impl Fn(&Kind) -> u64) -> u64 {
        self.kinds.values().map(of).sum()
    }
}

impl Kind {
    /// All of them.
    pub(crate) fn requests(&self) -> u64 {
        self.right + self.direct + self.explained + self.wrong + self.unexplained
    }
}

fn keep(all: &mut Vec<String>, words: String) {
    if all.len() < KEPT {
        all.push(words);
    }
}

fn words(who: &str, told: &Told, what: &str) -> String {
    let Told { kind, id, space, connecting, connected, began, routed, ended, .. } = told;
    let space = space.as_deref().unwrap_or("no space");
    format!(
        "{kind} {id} of {who} for {space}: {what} (connected {connecting}..{connected}, asked {began}, answered {routed}, over {ended})"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(id: u64) -> Told {
        let outcome = Outcome::Answered { copy: "echo.default".to_owned(), added: None };
        let (kind, space) = ("fresh".to_owned(), None);
        let (connecting, connected, began, routed, ended) = (0, 0, 0, 0, 0);
        Told { kind, id, space, once: true, connecting, connected, began, routed, ended, micros: 5, outcome }
    }

    #[test]
    fn what_is_executed_twice_or_never_is_wrong() {
        let mut tally = Tally::default();
        tally.executed(1);
        tally.add("caller", &told(1), Verdict::Right);
        // Servers and clients are heard in any order.
        tally.add("caller", &told(2), Verdict::Right);
        tally.executed(2);
        tally.finish();
        assert!(tally.wrong.is_empty(), "{:?}", tally.wrong);
        tally.executed(2);
        tally.add("caller", &told(3), Verdict::Right);
        tally.finish();
        assert_eq!(tally.wrong.len(), 2, "{:?}", tally.wrong);
    }
}
