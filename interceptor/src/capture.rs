//! What is redirected and where it arrives: destinations, workloads, listeners, links.
//!
//! The control thread owns the [`Controller`] and gives it every new snapshot; it brings the kernel's maps, the links and
//! the listeners to that state by difference, never by clearing. Workers see only [`Captured`] and [`Destinations`].

mod attach;
mod controller;
mod destinations;
mod heartbeat;
mod inbound;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

pub use controller::{Controller, ControllerParts};
pub use destinations::Destinations;
pub use heartbeat::Heartbeat;

use crate::net::netns::Netns;

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
    /// Its connections under way, over all workers.
    pub open: AtomicUsize,
}
