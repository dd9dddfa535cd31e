//! What is captured, as the data path sees it: the workloads and what an index stands for.
//!
//! Written by `capture`, read by workers and `proxy`.

mod destinations;
mod threads;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, OnceLock};

pub use destinations::{Assigned, Destinations};
pub use threads::Threads;

use crate::metrics::RefusedConnections;
use crate::net::netns::Netns;
use crate::propagate::Memory;

/// A workload that is captured, as the data path needs it.
#[derive(Debug)]
pub struct Captured {
    /// Its name.
    pub name: Arc<str>,
    /// Its network namespace.
    pub netns: Netns,
    /// That namespace's cookie.
    pub cookie: u64,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// A cgroup with its processes, where one is known.
    pub cgroup: Option<PathBuf>,
    /// Its connections under way, over all workers.
    pub open: Arc<AtomicUsize>,
    /// Its connections that found no place are counted there, from the first one on.
    pub turned_away: OnceLock<RefusedConnections>,
    /// What its threads are found by.
    pub threads: Threads,
    /// Whether its application has refused a connection since `capture` last looked.
    pub refused: AtomicBool,
    /// What its requests left behind.
    pub memory: Arc<Memory>,
}

impl Captured {
    /// Whether the hooks know it by this address: they hold the first one of each family.
    pub fn is_known_to_hooks_at(&self, address: IpAddr) -> bool {
        self.addresses.iter().find(|own| own.is_ipv4() == address.is_ipv4()) == Some(&address)
    }
}
