//! How many connections the agent takes at a time, over all workers, and whose turn it is where there are too many.
//!
//! Asked once a connection, by `proxy` when it was accepted. A workload gets as many connections as are left for all
//! others, so that none can take the last one from another (docs/decisions/0018). Refuses nothing itself.

mod limits;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub use limits::{Limits, Machine};

/// Places for connections.
#[derive(Debug)]
pub struct Room {
    limits: Limits,
    open: AtomicUsize,
}

/// Why a connection gets no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The workload has as many as it may have in any case (`proxy.max_connections`).
    Workload,
    /// The workload has as many as the agent has places left.
    Agent,
}

impl Refused {
    /// Every reason.
    pub const ALL: [Self; 2] = [Self::Workload, Self::Agent];

    /// The stable word for records and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Workload => "too_many_connections",
            Self::Agent => "agent_full",
        }
    }
}

/// One connection's place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    room: Arc<Room>,
    own: Arc<AtomicUsize>,
}

impl Room {
    /// Room for that many.
    pub fn new(limits: Limits) -> Self {
        Self { limits, open: AtomicUsize::new(0) }
    }

    /// A place for one more connection of the workload that has `own`.
    ///
    /// # Errors
    /// Where it has as many as it may have, at most `most`.
    pub fn admit(self: &Arc<Self>, own: &Arc<AtomicUsize>, most: usize) -> Result<Place, Refused> {
        // Counted first: of several that come at once for the last place none gets it rather than all.
        let mine = own.fetch_add(1, Ordering::Relaxed) + 1;
        let all = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        let place = Place { room: Arc::clone(self), own: Arc::clone(own) };
        if mine > most {
            return Err(Refused::Workload);
        }
        if mine > self.limits.connections.saturating_sub(all) {
            return Err(Refused::Agent);
        }
        Ok(place)
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// What it was made for.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.own.fetch_sub(1, Ordering::Relaxed);
        self.room.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(connections: usize) -> Arc<Room> {
        Arc::new(Room::new(Limits { connections, ..Limits::default() }))
    }

    /// All that it can get.
    fn take_all(room: &Arc<Room>, own: &Arc<AtomicUsize>) -> Vec<Place> {
        std::iter::from_fn(|| room.admit(own, usize::MAX).ok()).collect()
    }

    #[test]
    fn one_workload_gets_no_more_than_it_leaves_and_the_next_one_as_much_of_the_rest() {
        let room = room(1200);
        let workloads: Vec<Arc<AtomicUsize>> = (0..4).map(|_| Arc::default()).collect();
        let first = take_all(&room, &workloads[0]);
        assert_eq!(first.len(), 600);
        assert_eq!(room.admit(&workloads[0], usize::MAX).unwrap_err(), Refused::Agent);
        let second = take_all(&room, &workloads[1]);
        assert_eq!(second.len(), 300);
        // The first has more than its share now, and gets nothing until it has less.
        let mut third = take_all(&room, &workloads[2]);
        assert_eq!(third.len(), 150);
        assert!(room.admit(&workloads[0], usize::MAX).is_err());
        third.truncate(1);
        drop(first);
        assert_eq!(room.open(), 301);
        assert_eq!(take_all(&room, &workloads[3]).len(), 449);
    }

    #[test]
    fn workloads_that_take_turns_get_equal_shares_and_leave_another() {
        let room = room(1000);
        let workloads: Vec<Arc<AtomicUsize>> = (0..4).map(|_| Arc::default()).collect();
        let mut places = Vec::new();
        for _ in 0..1000 {
            places.extend(workloads.iter().filter_map(|own| room.admit(own, usize::MAX).ok()));
        }
        let counts: Vec<usize> = workloads.iter().map(|own| own.load(Ordering::Relaxed)).collect();
        assert!(counts.iter().all(|count| (199..=201).contains(count)), "{counts:?}");
        let late = Arc::default();
        assert!(room.admit(&late, usize::MAX).is_ok(), "a fifth always finds room");
        drop(places);
        assert_eq!(room.open(), 0);
    }

    #[test]
    fn a_workloads_own_bound_comes_first_and_a_refusal_takes_no_place() {
        let room = room(100);
        let own = Arc::default();
        let held: Vec<_> = (0..3).map(|_| room.admit(&own, 3).unwrap()).collect();
        assert_eq!(room.admit(&own, 3).unwrap_err(), Refused::Workload);
        assert_eq!((room.open(), own.load(Ordering::Relaxed)), (3, 3));
        drop(held);
        assert_eq!((room.open(), own.load(Ordering::Relaxed)), (0, 0));
    }
}
