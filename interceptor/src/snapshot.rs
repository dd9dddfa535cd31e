//! The immutable picture of spaces, services and workloads that every request is routed by.
//!
//! A source builds one with [`Snapshot::build`] and publishes it whole; a request in flight keeps the one it began with.
//! Read by [`route`](crate::route) per request and by capture, admin and CLI for what to redirect and show. No I/O, no
//! clock; nothing changes after it was built.

mod build;
mod service;
mod space;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub use service::{Port, Service};
pub use space::{Space, SpaceId};

use crate::config::{NetnsRef, Routing};

/// The picture that requests are routed by.
#[derive(Debug)]
pub struct Snapshot {
    /// Grows by one with every picture that was put into force.
    pub version: u64,
    /// Which requests go where.
    pub routing: Routing,
    /// The names of `routing.route_headers`, shared with every record that mentions one.
    route_headers: Vec<Arc<str>>,
    spaces: Vec<Space>,
    space_ids: HashMap<Arc<str>, SpaceId>,
    services: Vec<Arc<Service>>,
    /// A service by name and space: the step of a chain.
    copies: HashMap<(u32, SpaceId), Arc<Service>>,
    destinations: HashMap<SocketAddr, Destination>,
    workloads: HashMap<Arc<str>, Workload>,
}

/// What stands behind an address and port that belong to a space tree.
#[derive(Debug, Clone)]
pub struct Destination {
    /// Virtual (ClusterIP) or a pod's own.
    pub kind: DestinationKind,
    /// The services that the address belongs to, with the index of their port. More than one for a pod behind several.
    pub services: Vec<(Arc<Service>, usize)>,
}

/// What kind of address a destination is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DestinationKind {
    /// A service's virtual address.
    Virtual,
    /// An endpoint's own address.
    Endpoint,
}

/// A captured pod of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Its name.
    pub name: Arc<str>,
    /// The usable space that it lives in.
    pub space: Option<SpaceId>,
    /// The space's name as the source gave it, also where that space is at fault.
    pub space_name: Option<Arc<str>>,
    /// Its network namespace.
    pub netns: NetnsRef,
    /// Its own cgroup, where the source names one.
    pub cgroup: Option<std::path::PathBuf>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

impl Snapshot {
    /// The route header at a place of the configured order.
    pub fn route_header(&self, place: usize) -> Option<&Arc<str>> {
        self.route_headers.get(place)
    }

    /// All spaces, also those at fault.
    pub fn spaces(&self) -> &[Space] {
        &self.spaces
    }

    /// A space by its identifier in this snapshot.
    pub fn space(&self, id: SpaceId) -> &Space {
        &self.spaces[id.index()]
    }

    /// The space of that name, also one at fault.
    pub fn space_named(&self, name: &str) -> Option<SpaceId> {
        self.space_ids.get(name).copied()
    }

    /// All services of usable spaces.
    pub fn services(&self) -> &[Arc<Service>] {
        &self.services
    }

    /// The copy of a service in a space.
    pub fn copy(&self, service: &Service, space: SpaceId) -> Option<&Arc<Service>> {
        self.copies.get(&(service.name_id, space))
    }

    /// What stands behind an address; `None` for one in no space tree (rule R11).
    pub fn destination(&self, addr: SocketAddr) -> Option<&Destination> {
        self.destinations.get(&addr)
    }

    /// Every address and port that belongs to a space tree: what the kernel captures.
    pub fn destinations(&self) -> impl Iterator<Item = (&SocketAddr, &Destination)> {
        self.destinations.iter()
    }

    /// A captured pod by name.
    pub fn workload(&self, name: &str) -> Option<&Workload> {
        self.workloads.get(name)
    }

    /// All captured pods, in no order.
    pub fn workloads(&self) -> impl Iterator<Item = &Workload> {
        self.workloads.values()
    }
}
