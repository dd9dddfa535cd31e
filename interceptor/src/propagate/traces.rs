//! Which space the requests with a trace id have: while they are in the workload, and for some time after.
//!
//! An id that requests of different spaces have is ambiguous until it has been forgotten. Ids in use are never forgotten;
//! of the others those go first whose requests ended first. Every step is O(1), some of them taken later.

use std::collections::{HashMap, VecDeque};

use tokio::time::Instant;

use super::Space;
use crate::headers::{TraceId, TraceIds};

/// What is remembered of a workload's traces.
#[derive(Debug, Default)]
pub(super) struct Traces {
    /// The standard hasher, with random keys: callers choose the ids.
    known: HashMap<TraceId, Trace>,
    /// Ids of which all requests have ended, and until when they are remembered; each once at most.
    ended: VecDeque<(Instant, TraceId)>,
}

#[derive(Debug)]
struct Trace {
    space: Space,
    /// Requests of another space have the id.
    ambiguous: bool,
    in_flight: u32,
    /// When it is to be forgotten, once nothing is in flight.
    until: Instant,
    /// Whether it is among `ended`.
    queued: bool,
}

/// What some ids tell.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// None is known.
    Unknown,
    /// The space of the requests that have them, or that these have none.
    Known(Space),
    /// Different spaces.
    Ambiguous,
}

impl Traces {
    /// How many ids are remembered.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// A request with that id comes; false where there is no room for it.
    pub(super) fn enter(&mut self, id: TraceId, space: &Space, now: Instant, max: usize) -> bool {
        self.forget(now);
        if let Some(trace) = self.known.get_mut(&id) {
            // What is past its time would be gone, had it been at the front of the queue.
            if trace.in_flight == 0 && trace.until <= now {
                (trace.space, trace.ambiguous) = (space.clone(), false);
            }
            trace.ambiguous |= trace.space != *space;
            trace.in_flight += 1;
            return true;
        }
        while self.known.len() >= max {
            if !self.forget_first() {
                return false;
            }
        }
        let trace = Trace { space: space.clone(), ambiguous: false, in_flight: 1, until: now, queued: false };
        self.known.insert(id, trace);
        true
    }

    /// A request with that id has ended; the id is remembered until then.
    pub(super) fn leave(&mut self, id: TraceId, until: Instant) {
        let Some(trace) = self.known.get_mut(&id) else { return };
        trace.in_flight -= 1;
        trace.until = trace.until.max(until);
        if trace.in_flight == 0 && !trace.queued {
            trace.queued = true;
            self.ended.push_back((trace.until, id));
        }
    }

    /// What these ids tell of a request: all that are known must agree.
    pub(super) fn recall(&mut self, ids: &TraceIds, now: Instant) -> Answer {
        self.forget(now);
        let mut answer = Answer::Unknown;
        for trace in ids.iter().filter_map(|id| self.known.get(&id)) {
            if trace.in_flight == 0 && trace.until <= now {
                continue;
            }
            match &answer {
                _ if trace.ambiguous => return Answer::Ambiguous,
                Answer::Known(space) if *space != trace.space => return Answer::Ambiguous,
                _ => answer = Answer::Known(trace.space.clone()),
            }
        }
        answer
    }

    /// Forgets what is past its time.
    fn forget(&mut self, now: Instant) {
        while self.ended.front().is_some_and(|(until, _)| *until <= now) {
            self.settle_first(Some(now));
        }
    }

    /// Forgets the id whose requests ended first; false where all are in use.
    fn forget_first(&mut self) -> bool {
        let before = self.known.len();
        while self.known.len() == before {
            if self.ended.is_empty() {
                return false;
            }
            self.settle_first(None);
        }
        true
    }

    /// Takes the first of the queue off it: it is forgotten, in use again, or (at a time) to be remembered for longer.
    fn settle_first(&mut self, at: Option<Instant>) {
        let Some((_, id)) = self.ended.pop_front() else { return };
        let Some(trace) = self.known.get_mut(&id) else { return };
        trace.queued = false;
        if trace.in_flight > 0 {
            return;
        }
        if at.is_some_and(|now| trace.until > now) {
            trace.queued = true;
            self.ended.push_back((trace.until, id));
            return;
        }
        self.known.remove(&id);
    }
}
