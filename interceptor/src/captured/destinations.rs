//! Which destination has which index: the agent's half of the kernel's capture map.
//!
//! An index stays with its destination for as long as possible, also after it left every space tree: connections that
//! were redirected before still ask for it. It is given to another destination only when the index space runs out, and not
//! before whatever was redirected to it has been accepted: a connection must never end up at another destination.
//! [`Destinations::get`] is on every connection's way and takes no lock; everything else is the control thread's.

mod slots;

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher as _;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use interceptor_common::names::CAPTURE_CAPACITY;
use interceptor_common::policy::{FIRST_INDEX, loopback};
use interceptor_common::{Endpoint, NetPort};

use self::slots::Slots;

/// How long an index rests: what waits at a listener is accepted within this time, or its worker hangs and the agent ends.
const REST: Duration = Duration::from_secs(15);

/// Original destinations by index, shared between the control thread (writes) and the workers (read at accept).
#[derive(Debug)]
pub struct Destinations {
    slots: Slots,
    table: Mutex<Table>,
    hasher: RandomState,
    outbound_port: u16,
    /// How long an index rests before another destination may have it.
    rest: Duration,
}

#[derive(Debug, Default)]
struct Table {
    /// Indexes by the destination in their slot, which is held nowhere else.
    by_address: HashTable<u32>,
    /// Indexes whose destination is captured no longer, in the order in which that came about, and since when.
    retired: BTreeMap<u64, (u32, Instant)>,
    /// Their places in that order.
    retired_at: HashMap<u32, u64>,
    retirements: u64,
    used: u32,
}

/// What changed in the table for one destination.
#[derive(Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The index.
    pub index: u32,
    /// The destination that had it before, which must not be shown for it any longer.
    pub replaced: Option<SocketAddr>,
}

impl Destinations {
    /// An empty table for listeners on that port.
    pub fn new(outbound_port: u16) -> Self {
        Self::with_capacity(outbound_port, CAPTURE_CAPACITY)
    }

    fn with_capacity(outbound_port: u16, capacity: u32) -> Self {
        let (table, hasher) = (Mutex::default(), RandomState::default());
        Self { slots: Slots::new(capacity), table, hasher, outbound_port, rest: REST }
    }

    /// The same with indexes that rest for another time.
    #[must_use]
    pub fn resting(self, rest: Duration) -> Self {
        Self { rest, ..self }
    }

    /// The destination behind an index.
    pub fn get(&self, index: u32) -> Option<SocketAddr> {
        self.slots.get(index.checked_sub(FIRST_INDEX)?).map(SocketAddr::from)
    }

    /// The loopback address and port that stand for a destination.
    pub fn loopback(&self, destination: SocketAddr) -> Option<Endpoint> {
        let index = self.find(&self.table(), destination)?;
        Some(Endpoint::new(loopback(index), NetPort::from_host(self.outbound_port)))
    }

    /// Whether a destination has an index and is not retired.
    pub fn holds(&self, destination: SocketAddr) -> bool {
        let table = self.table();
        self.find(&table, destination).is_some_and(|index| !table.retired_at.contains_key(&index))
    }

    /// How many destinations have an index and are not retired.
    pub fn held(&self) -> usize {
        let table = self.table();
        (table.used as usize).saturating_sub(table.retired.len())
    }

    /// Whether a destination without an index can get one.
    pub fn has_room(&self) -> bool {
        let table = self.table();
        table.used < self.slots.capacity() || self.rested(&table).is_some()
    }

    /// The index that has rested longest, and long enough.
    fn rested(&self, table: &Table) -> Option<u32> {
        let (_, (index, since)) = table.retired.first_key_value()?;
        (since.elapsed() >= self.rest).then_some(*index)
    }

    /// The index of a destination, a new one if it has none; `None` when the table is full of captured destinations, and of
    /// those that were captured until just now.
    pub fn assign(&self, destination: SocketAddr) -> Option<Assigned> {
        let mut table = self.table();
        if let Some(index) = self.find(&table, destination) {
            table.revive(index);
            return Some(Assigned { index, replaced: None });
        }
        let (index, replaced) = if table.used < self.slots.capacity() {
            table.used += 1;
            (FIRST_INDEX + table.used - 1, None)
        } else {
            let index = self.rested(&table)?;
            table.revive(index);
            let replaced = self.get(index);
            if let Some(old) = replaced
                && let Ok(held) = table.by_address.find_entry(self.hash(old), |held| *held == index)
            {
                held.remove();
            }
            (index, replaced)
        };
        self.slots.set(index - FIRST_INDEX, destination.into());
        let rehash = |held: &u32| self.get(*held).map(|held| self.hash(held)).unwrap_or_default();
        table.by_address.insert_unique(self.hash(destination), index, rehash);
        Some(Assigned { index, replaced })
    }

    /// Takes over what the agent before had given out: the destination behind an index.
    pub fn adopt(&self, index: u32, destination: SocketAddr) {
        let mut table = self.table();
        let Some(number) = index.checked_sub(FIRST_INDEX).filter(|number| *number < self.slots.capacity()) else {
            return;
        };
        if self.find(&table, destination).is_some() || self.get(index).is_some() {
            return;
        }
        table.used = table.used.max(number + 1);
        self.slots.set(number, destination.into());
        let rehash = |held: &u32| self.get(*held).map(|held| self.hash(held)).unwrap_or_default();
        table.by_address.insert_unique(self.hash(destination), index, rehash);
    }

    /// Marks a destination as no longer captured.
    pub fn retire(&self, destination: SocketAddr) {
        let mut table = self.table();
        if let Some(index) = self.find(&table, destination) {
            table.revive(index);
            table.retirements += 1;
            let now = table.retirements;
            table.retired.insert(now, (index, Instant::now()));
            table.retired_at.insert(index, now);
        }
    }

    fn find(&self, table: &Table, destination: SocketAddr) -> Option<u32> {
        let same = |index: &u32| self.get(*index) == Some(destination);
        table.by_address.find(self.hash(destination), same).copied()
    }

    fn hash(&self, destination: SocketAddr) -> u64 {
        self.hasher.hash_one(Endpoint::from(destination))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn revive(&mut self, index: u32) {
        if let Some(at) = self.retired_at.remove(&index) {
            self.retired.remove(&at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 80))
    }

    #[test]
    fn an_index_stays_with_its_destination() {
        let table = Destinations::new(15001);
        let first = table.assign(addr(1)).unwrap();
        assert_eq!(first, Assigned { index: FIRST_INDEX, replaced: None });
        assert_eq!(table.assign(addr(2)).unwrap().index, FIRST_INDEX + 1);
        table.retire(addr(1));
        assert_eq!(table.get(first.index), Some(addr(1)), "connections under way still ask");
        assert_eq!((table.holds(addr(1)), table.holds(addr(2)), table.holds(addr(3))), (false, true, false));
        assert_eq!(table.assign(addr(1)).unwrap(), first);
        assert!(table.holds(addr(1)));
        assert_eq!(SocketAddr::from(table.loopback(addr(2)).unwrap()), "127.0.1.1:15001".parse().unwrap());
    }

    #[test]
    fn a_full_table_reuses_the_index_that_was_retired_first() {
        let table = Destinations::with_capacity(15001, 3).resting(Duration::ZERO);
        let indexes = [1, 2, 3].map(|last| table.assign(addr(last)).unwrap().index);
        assert_eq!((table.assign(addr(4)), table.has_room()), (None, false));
        for last in [3, 1, 3] {
            table.retire(addr(last));
        }
        assert!(table.has_room());
        assert_eq!(table.assign(addr(4)), Some(Assigned { index: indexes[0], replaced: Some(addr(1)) }));
        assert_eq!((table.loopback(addr(1)), table.get(indexes[0])), (None, Some(addr(4))));
        assert_eq!(table.assign(addr(3)).unwrap().index, indexes[2], "it had not been given away yet");
        assert_eq!(table.assign(addr(1)), None, "nothing is retired any more");
    }

    #[test]
    fn an_index_rests_before_another_destination_has_it() {
        let table = Destinations::with_capacity(15001, 1).resting(Duration::from_millis(50));
        let index = table.assign(addr(1)).unwrap().index;
        table.retire(addr(1));
        // What was redirected to it a moment ago has not been accepted yet.
        assert_eq!((table.assign(addr(2)), table.has_room(), table.get(index)), (None, false, Some(addr(1))));
        assert_eq!(table.assign(addr(1)).unwrap().index, index, "its own destination may have it at any time");
        table.retire(addr(1));
        std::thread::sleep(Duration::from_millis(60));
        assert!(table.has_room());
        assert_eq!(table.assign(addr(2)), Some(Assigned { index, replaced: Some(addr(1)) }));
        // docs/specification.md; longer than a worker may hang before the agent ends itself.
        assert_eq!(Destinations::with_capacity(15001, 1).rest, Duration::from_secs(15));
    }

    #[test]
    fn what_was_given_out_before_stays_as_it_is() {
        let table = Destinations::with_capacity(15001, 4).resting(Duration::ZERO);
        table.adopt(FIRST_INDEX + 2, addr(1));
        table.adopt(FIRST_INDEX, addr(2));
        for out in [0, FIRST_INDEX - 1, FIRST_INDEX + 4, u32::MAX] {
            table.adopt(out, addr(9));
        }
        table.adopt(FIRST_INDEX, addr(3));
        assert_eq!(table.get(FIRST_INDEX), Some(addr(2)), "the first word counts");
        assert_eq!(table.assign(addr(1)).unwrap().index, FIRST_INDEX + 2);
        assert_eq!(table.assign(addr(4)).unwrap().index, FIRST_INDEX + 3, "new ones come after all that were used");
        assert_eq!(table.assign(addr(5)), None);
        table.retire(addr(2));
        assert_eq!(table.assign(addr(5)), Some(Assigned { index: FIRST_INDEX, replaced: Some(addr(2)) }));
    }

    #[test]
    fn what_comes_and_goes_for_ever_leaves_nothing_behind() {
        let table = Destinations::new(15001);
        for _ in 0..1000 {
            table.assign(addr(1)).unwrap();
            table.retire(addr(1));
            table.retire(addr(1));
        }
        let table = table.table();
        assert_eq!((table.by_address.len(), table.retired.len(), table.retired_at.len(), table.used), (1, 1, 1, 1));
    }
}
