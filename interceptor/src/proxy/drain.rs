//! An agent that is about to end, as its connections see it: they end where it hurts least, each in its protocol's way.
//!
//! The worker moves the phase on; a stage asks for it, or is woken by it once it has [joined](Drain::join). Asking costs one
//! load from the worker's own memory. Of one worker, without locks.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::Context;

/// How far a drain has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// There is none.
    #[default]
    Off,
    /// The agent is to end: whoever can tells its peer that this is the last exchange.
    Last,
    /// Whoever waits for a peer that may never ask again ends the connection.
    Idle,
    /// Whatever is left ends now, and shows that it is broken.
    Over,
}

/// The drain of one worker's connections.
#[derive(Debug, Default)]
pub struct Drain {
    phase: Cell<Phase>,
    tasks: RefCell<Tasks>,
}

#[derive(Debug, Default)]
struct Tasks {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Drain {
    /// How far it has come.
    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Moves it on, never back, and wakes all that have joined.
    pub fn advance(&self, phase: Phase) {
        if phase > self.phase.get() {
            self.phase.set(phase);
            self.tasks.borrow().wakers.iter().flatten().for_each(Waker::wake_by_ref);
        }
    }

    /// Has the current task woken at each phase, as long as what this gives lives.
    pub async fn join(context: &Rc<Context>) -> Joined {
        let waker = std::future::poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let at = context.drain.tasks.borrow_mut().add(waker);
        Joined { context: Rc::clone(context), at }
    }
}

impl Tasks {
    fn add(&mut self, waker: Waker) -> usize {
        let at = self.free.pop().unwrap_or(self.wakers.len());
        match self.wakers.get_mut(at) {
            Some(slot) => *slot = Some(waker),
            None => self.wakers.push(Some(waker)),
        }
        at
    }

    fn remove(&mut self, at: usize) {
        if let Some(slot) = self.wakers.get_mut(at) {
            *slot = None;
            self.free.push(at);
        }
    }
}

/// A task's place among those that are woken.
pub struct Joined {
    context: Rc<Context>,
    at: usize,
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.context.drain.tasks.borrow_mut().remove(self.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_goes_only_forward() {
        let drain = Drain::default();
        assert_eq!(drain.phase(), Phase::Off);
        for (to, is) in [(Phase::Idle, Phase::Idle), (Phase::Last, Phase::Idle), (Phase::Over, Phase::Over)] {
            drain.advance(to);
            assert_eq!(drain.phase(), is);
        }
    }

    #[test]
    fn places_of_tasks_that_ended_are_used_again() {
        let mut tasks = Tasks::default();
        let noop = || Waker::noop().clone();
        assert_eq!([tasks.add(noop()), tasks.add(noop()), tasks.add(noop())], [0, 1, 2]);
        tasks.remove(1);
        tasks.remove(0);
        assert_eq!([tasks.add(noop()), tasks.add(noop()), tasks.add(noop())], [0, 1, 3]);
    }
}
