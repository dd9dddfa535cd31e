//! Which destination has which index: the agent's half of the kernel's capture map.
//!
//! An index stays with its destination for as long as possible, also after it left every space tree: connections that
//! were redirected before still ask for it. It is given to another destination only when the index space runs out.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{PoisonError, RwLock};

use interceptor_common::NetPort;
use interceptor_common::names::CAPTURE_CAPACITY;
use interceptor_common::policy::{FIRST_INDEX, loopback};

/// Original destinations by index, shared between the control thread (writes) and the workers (read at accept).
#[derive(Debug)]
pub struct Destinations {
    table: RwLock<Table>,
    capacity: usize,
    outbound_port: u16,
}

#[derive(Debug, Default)]
struct Table {
    by_index: HashMap<u32, SocketAddr>,
    by_address: HashMap<SocketAddr, u32>,
    /// Indexes whose destination is no longer captured, the longest first.
    retired: VecDeque<u32>,
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
        Self { table: RwLock::default(), capacity: CAPTURE_CAPACITY as usize, outbound_port }
    }

    /// The destination behind an index.
    pub fn get(&self, index: u32) -> Option<SocketAddr> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).by_index.get(&index).copied()
    }

    /// The loopback address and port that stand for a destination.
    pub fn loopback(&self, destination: SocketAddr) -> Option<interceptor_common::Endpoint> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let index = *table.by_address.get(&destination)?;
        Some(interceptor_common::Endpoint::new(loopback(index), NetPort::from_host(self.outbound_port)))
    }

    /// The index of a destination, a new one if it has none; `None` when the table is full of captured destinations.
    pub fn assign(&self, destination: SocketAddr) -> Option<Assigned> {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(&index) = table.by_address.get(&destination) {
            table.retired.retain(|retired| *retired != index);
            return Some(Assigned { index, replaced: None });
        }
        let (index, replaced) = if table.by_index.len() < self.capacity {
            table.used += 1;
            (FIRST_INDEX + table.used - 1, None)
        } else {
            let index = table.retired.pop_front()?;
            let replaced = table.by_index.get(&index).copied();
            if let Some(old) = replaced {
                table.by_address.remove(&old);
            }
            (index, replaced)
        };
        table.by_index.insert(index, destination);
        table.by_address.insert(destination, index);
        Some(Assigned { index, replaced })
    }

    /// Marks a destination as no longer captured.
    pub fn retire(&self, destination: SocketAddr) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(&index) = table.by_address.get(&destination) {
            table.retired.push_back(index);
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
        assert_eq!(table.assign(addr(1)).unwrap(), first);
        assert_eq!(SocketAddr::from(table.loopback(addr(2)).unwrap()), "127.0.1.1:15001".parse().unwrap());
    }

    #[test]
    fn a_full_table_reuses_the_index_that_was_retired_first() {
        let table = Destinations { capacity: 2, ..Destinations::new(15001) };
        let first = table.assign(addr(1)).unwrap().index;
        table.assign(addr(2)).unwrap();
        assert_eq!(table.assign(addr(3)), None);
        table.retire(addr(1));
        assert_eq!(table.assign(addr(3)), Some(Assigned { index: first, replaced: Some(addr(1)) }));
        assert_eq!(table.loopback(addr(1)), None);
        assert_eq!(table.assign(addr(1)), None, "nothing is retired any more");
    }
}
