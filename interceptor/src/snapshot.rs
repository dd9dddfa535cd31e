//! The immutable picture of spaces, services and workloads that every request is routed by.
//!
//! A source makes the next one with [`Snapshot::update`] from what has changed, or with [`Snapshot::replaced`] from all
//! that there is, and it is published whole; a request in flight keeps the one it began with. What did not change is shared
//! between them. Read by [`route`](crate::route) per request and by capture, admin and CLI for what to redirect and show.
//! No I/O, no clock; nothing changes after it was made, and nothing in it depends on the order or the way in which it came
//! about.

mod destinations;
mod families;
mod service;
mod sharded;
mod space;
#[cfg(test)]
mod tests;
mod update;
mod workload;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub use destinations::{Behind, Destination, DestinationKind};
pub use service::{Port, Service, ServiceName, ServiceRef};
pub use space::{Space, SpaceId};
pub use update::{Change, Delta};
pub use workload::Workload;

use self::destinations::Destinations;
use self::families::Families;
use self::sharded::Sharded;
use self::space::Spaces;
use self::workload::Workloads;
use crate::config::{PropagateMode, Routing};
use crate::headers::Reader;

/// The picture that requests are routed by.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Grows by one with every picture that was put into force.
    pub version: u64,
    /// Which requests go where.
    pub routing: Arc<Routing>,
    /// The names of `routing.route_headers`, shared with every record that mentions one.
    route_headers: Arc<[Arc<str>]>,
    reader: Arc<Reader>,
    spaces: Arc<Spaces>,
    families: Families,
    destinations: Destinations,
    /// Services of spaces that are at fault or not declared, by name: they wait for their space.
    parked: Sharded<ServiceRef, Arc<Service>>,
    workloads: Arc<Workloads>,
}

impl Snapshot {
    /// The route header at a place of the configured order.
    pub fn route_header(&self, place: usize) -> Option<&Arc<str>> {
        self.route_headers.get(place)
    }

    /// Reads what the header fields of a request say.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// How a workload's requests find their space again: what is said of it, of its space, or in general.
    pub fn propagate_mode(&self, workload: &Workload) -> PropagateMode {
        let of_space = || self.space(workload.space?).propagate;
        workload.propagate.or_else(of_space).unwrap_or(self.routing.propagate.mode)
    }

    /// All spaces: each tree from its root on, those at fault last.
    pub fn spaces(&self) -> impl ExactSizeIterator<Item = &Space> {
        self.spaces.iter().map(|(_, space)| space)
    }

    /// A space by its identifier in this snapshot.
    pub fn space(&self, id: SpaceId) -> &Space {
        self.spaces.get(id)
    }

    /// The space of that name, also one at fault.
    pub fn space_named(&self, name: &str) -> Option<SpaceId> {
        self.spaces.named(name)
    }

    /// All services of usable spaces, in no order.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.families.iter().flat_map(families::Family::copies)
    }

    /// The same by name, and copies of one name in the order of their spaces: how people look at them.
    pub fn services_in_order(&self) -> Vec<&Arc<Service>> {
        let ranks: HashMap<SpaceId, usize> = self.spaces.iter().map(|(id, _)| id).zip(0..).collect();
        let mut services: Vec<&Arc<Service>> = self.services().collect();
        services.sort_unstable_by(|a, b| (&a.id.name, ranks.get(&a.space)).cmp(&(&b.id.name, ranks.get(&b.space))));
        services
    }

    /// How many services there are in usable spaces.
    pub fn service_count(&self) -> usize {
        self.families.services
    }

    /// The service of that name in a space.
    pub fn service_named(&self, space: SpaceId, name: &str) -> Option<&Arc<Service>> {
        self.families.get(self.families.named(name)?)?.copy(space)
    }

    /// The name of a service, written as in any space, that is this one when compared without case.
    pub fn service_name_like(&self, name: &str) -> Option<&Arc<str>> {
        // Kubernetes' names are lower case; the slow way is for static configurations with other ones.
        let known = |name: &str| self.families.get(self.families.named(name)?).map(|family| &family.name);
        let lower = known(&name.to_ascii_lowercase()).or_else(|| known(name));
        lower.or_else(|| self.families.iter().map(|family| &family.name).find(|known| known.eq_ignore_ascii_case(name)))
    }

    /// The copy of a service in a space.
    pub fn copy(&self, service: &Service, space: SpaceId) -> Option<&Arc<Service>> {
        self.families.get(service.family)?.copy(space)
    }

    /// The services of that one's name in all usable spaces, itself included.
    pub fn copies(&self, service: &Service) -> impl Iterator<Item = &Arc<Service>> {
        self.families.get(service.family).into_iter().flat_map(families::Family::copies)
    }

    /// What stands behind an address; `None` for one in no space tree (rule R11).
    pub fn destination(&self, addr: SocketAddr) -> Option<Destination<'_>> {
        Destination::new(self, self.destinations.get(addr))
    }

    /// Every address and port that belongs to a space tree.
    pub fn destinations(&self) -> impl Iterator<Item = (SocketAddr, Destination<'_>)> {
        self.destinations.iter().flat_map(|(ip, members)| self.by_port(ip, members))
    }

    /// Those of an IP address.
    pub fn destinations_at(&self, ip: IpAddr) -> impl Iterator<Item = (SocketAddr, Destination<'_>)> {
        self.by_port(ip, self.destinations.at(ip))
    }

    /// A captured pod by name.
    pub fn workload(&self, name: &str) -> Option<&Workload> {
        self.workloads.get(name).map(Arc::as_ref)
    }

    /// All captured pods, in no order.
    pub fn workloads(&self) -> impl Iterator<Item = &Workload> {
        self.workloads.values().map(Arc::as_ref)
    }

    fn by_port<'s>(
        &'s self,
        ip: IpAddr,
        members: &'s [destinations::Member],
    ) -> impl Iterator<Item = (SocketAddr, Destination<'s>)> {
        let addresses = members.chunk_by(|a, b| a.number == b.number);
        addresses.filter_map(move |of_port| {
            let number = of_port.first()?.number;
            Some((SocketAddr::new(ip, number), Destination::new(self, of_port)?))
        })
    }
}
