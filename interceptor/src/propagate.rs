//! Finds the space of a request again that its application did not pass on (section `propagate` of the configuration).
//!
//! Every captured workload has a [`Memory`]. `proxy` tells it of each request that comes into the workload
//! ([`Memory::enter`], until the guard is dropped) and asks it about each that goes out without a carrier of a space
//! ([`Memory::recall`]). [`Neighbours`] finds the memories of pods that a request goes to. Nothing is guessed: what two
//! requests of different spaces could have caused has no answer. Does no I/O; a lock is held for one table look-up.

mod flights;
mod neighbours;
mod traces;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

pub use neighbours::Neighbours;

use self::flights::Flights;
use self::traces::Traces;
use crate::config::{Propagate, PropagateMode};
use crate::headers::TraceIds;
use crate::route::SpaceFrom;

/// The name of a request's space; `None` for a request that has none.
type Space = Option<Arc<str>>;

/// What a workload's requests leave behind, shared by all workers.
#[derive(Debug)]
pub struct Memory {
    mode: AtomicU8,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    traces: Traces,
    flights: Flights,
}

/// What is known of a request that went out without a carrier of a space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recalled {
    /// Nothing.
    Unknown,
    /// Its space, and how that is known.
    Space(Arc<str>, SpaceFrom),
    /// Requests of different spaces could have caused it; how that is known.
    Ambiguous(SpaceFrom),
}

impl Recalled {
    /// What routing makes of it.
    pub fn space(&self) -> Option<(&str, SpaceFrom)> {
        match self {
            Self::Space(space, from) => Some((space, *from)),
            Self::Unknown | Self::Ambiguous(_) => None,
        }
    }
}

impl Memory {
    /// The memory of a workload that nothing has come to.
    pub fn new(mode: PropagateMode) -> Arc<Self> {
        Arc::new(Self { mode: AtomicU8::new(mode as u8), state: Mutex::default() })
    }

    /// By what spaces are found again.
    pub fn mode(&self) -> PropagateMode {
        let mode = usize::from(self.mode.load(Ordering::Relaxed));
        PropagateMode::ALL.get(mode).copied().unwrap_or(PropagateMode::Off)
    }

    /// Changes that; requests under way are forgotten as they end.
    pub fn set_mode(&self, mode: PropagateMode) {
        self.mode.store(mode as u8, Ordering::Relaxed);
    }

    /// A request of that space and with these ids comes into the workload, and is there until the guard is dropped.
    pub fn enter(self: &Arc<Self>, space: Option<&Arc<str>>, ids: TraceIds, settings: &Propagate) -> Entered {
        let mut entered = Entered::default();
        let mode = self.mode();
        let counted = mode.needs_all();
        if mode != PropagateMode::Off && (counted || !ids.is_empty()) {
            entered.add(Arc::clone(self), space, ids, counted, settings);
        }
        entered
    }

    /// A request that the workload sends with these ids, and without a carrier of a space.
    pub fn recall(&self, ids: &TraceIds) -> Recalled {
        let mode = self.mode();
        if mode == PropagateMode::Off || (ids.is_empty() && mode != PropagateMode::SingleFlight) {
            return Recalled::Unknown;
        }
        let now = Instant::now();
        self.with(|state| match state.traces.recall(ids, now) {
            traces::Answer::Known(Some(space)) => Recalled::Space(space, SpaceFrom::Trace),
            // The request that it belongs to has no space.
            traces::Answer::Known(None) => Recalled::Unknown,
            traces::Answer::Ambiguous => Recalled::Ambiguous(SpaceFrom::Trace),
            traces::Answer::Unknown if mode == PropagateMode::SingleFlight => match state.flights.only() {
                flights::Answer::One(space) => Recalled::Space(space, SpaceFrom::Flight),
                flights::Answer::None => Recalled::Unknown,
                flights::Answer::Several => Recalled::Ambiguous(SpaceFrom::Flight),
            },
            traces::Answer::Unknown => Recalled::Unknown,
        })
    }

    /// Ids that are remembered now.
    pub fn traces(&self) -> usize {
        self.with(|state| state.traces.len())
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        // A worker that panicked in between leaves a table that is whole: no step of it can stop halfway.
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A request that is in a workload, or on its way to one that may get it; dropped when it is answered.
#[derive(Debug, Default)]
pub struct Entered {
    stays: Vec<Stay>,
}

#[derive(Debug)]
struct Stay {
    memory: Arc<Memory>,
    space: Space,
    /// Those that found room.
    ids: TraceIds,
    /// Whether it counts as in the workload.
    counted: bool,
    grace: std::time::Duration,
    full: bool,
}

impl Entered {
    /// The request is expected at another workload, too, which may know it by its ids.
    pub fn expect(&mut self, memory: &Arc<Memory>, space: Option<&Arc<str>>, ids: TraceIds, settings: &Propagate) {
        // A workload whose requests are all intercepted sees this one when it arrives.
        if memory.mode() == PropagateMode::Trace && !ids.is_empty() {
            self.add(Arc::clone(memory), space, ids, false, settings);
        }
    }

    /// Whether some memory was full, so that the request may not be found again.
    pub fn found_no_room(&self) -> bool {
        self.stays.iter().any(|stay| stay.full)
    }

    fn add(
        &mut self,
        memory: Arc<Memory>,
        space: Option<&Arc<str>>,
        ids: TraceIds,
        counted: bool,
        settings: &Propagate,
    ) {
        let space = space.cloned();
        let now = Instant::now();
        let remembered = memory.with(|state| {
            if counted {
                state.flights.enter(&space);
            }
            let entered = |id: &_| state.traces.enter(*id, &space, now, settings.max_traces);
            ids.iter().filter(entered).collect::<TraceIds>()
        });
        let full = remembered != ids;
        self.stays.push(Stay { memory, space, ids: remembered, counted, grace: settings.grace, full });
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        if self.ids.is_empty() && !self.counted {
            return;
        }
        let until = Instant::now() + self.grace;
        self.memory.with(|state| {
            self.ids.iter().for_each(|id| state.traces.leave(id, until));
            if self.counted {
                state.flights.leave(&self.space);
            }
        });
    }
}
