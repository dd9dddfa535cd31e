//! What a snapshot shows, as plain ordered values, and the same read straight from a topology: slow, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::super::{Delta, Service, Snapshot};
use crate::config::tree::space_faults;
use crate::config::{PropagateMode, ServiceSpec, SpaceSpec, Topology};

/// A service: its space and name.
type Id = (String, String);

/// A space's parent, its chain, its fault.
type Place = (Option<String>, Vec<String>, Option<String>);

/// A workload's usable space, the one that it names, its addresses.
type Pod = (Option<String>, Option<String>, Vec<IpAddr>);

/// Everything that a snapshot tells, without what may differ between equal ones (identifiers, version).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Picture {
    spaces: BTreeMap<String, Place>,
    services: BTreeMap<Id, Vec<String>>,
    /// Which services, their port and whether it is an endpoint's address; in the order that they are told.
    destinations: BTreeMap<SocketAddr, Vec<(Id, u16, bool)>>,
    workloads: BTreeMap<String, Pod>,
    /// How their requests find their space again. What is captured is brought to it at every change, told or not.
    modes: BTreeMap<String, PropagateMode>,
}

impl Picture {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let name = |id| snapshot.space(id).name.to_string();
        let id = |service: &Service| (service.id.space.to_string(), service.id.name.to_string());
        let mut picture = Self::default();
        for space in snapshot.spaces() {
            let chain: Vec<String> = space.chain.iter().map(|id| name(*id)).collect();
            assert!(chain.iter().map(String::as_str).eq(space.chain_names.iter().map(|name| &**name)));
            let parent = space.parent.as_deref().map(str::to_owned);
            let fault = space.fault.as_ref().map(ToString::to_string);
            picture.spaces.insert(space.name.to_string(), (parent, chain, fault));
        }
        for service in snapshot.services() {
            assert_eq!(name(service.space), *service.id.space);
            assert_eq!(snapshot.copy(service, service.space).map(|copy| &copy.id), Some(&service.id));
            let ports = service.ports.iter().map(|port| {
                let v4: SocketAddr = "0.0.0.0:0".parse().unwrap();
                let ready: Vec<SocketAddr> = port.ready().collect();
                let turns: Vec<_> = (0..ready.len()).map(|turn| port.choose(v4, turn).unwrap()).collect();
                assert!(turns.iter().all(|one| ready.contains(one)), "{turns:?} of {ready:?}");
                format!("{} {} {:?} {ready:?}", port.name, port.port, port.app_protocol)
            });
            let head = format!("{:?} {}", service.addresses, service.endpoints);
            let known = picture.services.insert(id(service), std::iter::once(head).chain(ports).collect());
            assert_eq!(known, None, "{} is there once", service.id);
        }
        assert_eq!(snapshot.service_count(), picture.services.len());
        assert_eq!(snapshot.services_in_order().len(), picture.services.len());
        for (addr, destination) in snapshot.destinations() {
            let kind = super::super::DestinationKind::Endpoint;
            let behind = destination.services().map(|one| (id(one.service), one.port.port, one.kind == kind));
            picture.destinations.insert(addr, behind.collect());
            assert!(snapshot.destination(addr).is_some());
            assert!(snapshot.destinations_at(addr.ip()).any(|(one, _)| one == addr));
        }
        for workload in snapshot.workloads() {
            let named = workload.space_name.as_deref().map(str::to_owned);
            let state = (workload.space.map(name), named, workload.addresses.clone());
            picture.workloads.insert(workload.name.to_string(), state);
            picture.modes.insert(workload.name.to_string(), snapshot.propagate_mode(workload));
        }
        picture
    }

    /// What differs in what capture depends on without being told in the delta.
    pub(super) fn changed_for_capture(&self, after: &Self, delta: &Delta) -> Vec<String> {
        let told: BTreeSet<SocketAddr> = delta.destinations.iter().copied().collect();
        let all: BTreeSet<&SocketAddr> = self.destinations.keys().chain(after.destinations.keys()).collect();
        let changed = all.into_iter().filter(|addr| self.matters(addr) != after.matters(addr));
        let missed = changed.filter(|addr| !told.contains(addr)).map(ToString::to_string);
        let names: BTreeSet<&String> = self.workloads.keys().chain(after.workloads.keys()).collect();
        let changed = names.into_iter().filter(|name| self.workloads.get(*name) != after.workloads.get(*name));
        let untold = changed.filter(|name| !delta.workloads.iter().any(|told| **told == ***name)).cloned();
        missed.chain(untold).collect()
    }

    /// What is behind an address, and the copies of that in its tree.
    fn matters(&self, addr: &SocketAddr) -> Option<Vec<(&Id, bool, Vec<&str>)>> {
        let root = |space: &str| self.spaces.get(space).and_then(|(_, chain, _)| chain.last());
        let behind = self.destinations.get(addr)?.iter().map(|(id, _, endpoint)| {
            let same_tree = |other: &&Id| other.1 == id.1 && root(&other.0) == root(&id.0);
            (id, *endpoint, self.services.keys().filter(same_tree).map(|other| &*other.0).collect())
        });
        Some(behind.collect())
    }
}

/// The picture of a topology by the rules as they are written.
pub(super) fn picture(topology: &Topology) -> Picture {
    let mut picture = Picture::default();
    let mut specs: Vec<SpaceSpec> = Vec::new();
    for spec in &topology.spaces {
        if !specs.iter().any(|known| known.name == spec.name) {
            specs.push(spec.clone());
        }
    }
    let faults: BTreeMap<usize, String> =
        space_faults(&specs).into_iter().map(|(index, fault)| (index, fault.to_string())).collect();
    for (index, spec) in specs.iter().enumerate() {
        let mut chain = Vec::new();
        let mut next = Some(spec).filter(|_| !faults.contains_key(&index));
        while let Some(space) = next {
            chain.push(space.name.clone());
            next = space.parent.as_ref().and_then(|parent| specs.iter().find(|one| one.name == *parent));
        }
        picture.spaces.insert(spec.name.clone(), (spec.parent.clone(), chain, faults.get(&index).cloned()));
    }
    let usable = |name: &str| picture.spaces.get(name).is_some_and(|(_, _, fault)| fault.is_none());
    let mut seen = BTreeSet::new();
    for spec in &topology.services {
        let id = (spec.space.clone(), spec.name.clone());
        if usable(&spec.space) && seen.insert(id.clone()) {
            picture.services.insert(id.clone(), service(spec));
            for (addr, port, endpoint) in members(spec) {
                picture.destinations.entry(addr).or_default().push((id.clone(), port, endpoint));
            }
        }
    }
    for (addr, behind) in &mut picture.destinations {
        // By space and name; of one service by the order of its ports, which the numbers below keep.
        let place = |id: &Id, port: u16| {
            let spec = topology.services.iter().find(|spec| spec.space == id.0 && spec.name == id.1).unwrap();
            spec.ports.iter().position(|one| one.port == port)
        };
        behind.sort_by_key(|(id, port, endpoint)| (id.clone(), place(id, *port), *endpoint));
        behind.dedup();
        assert!(!behind.is_empty(), "{addr}");
    }
    for spec in &topology.workloads {
        let space = spec.space.clone().filter(|space| usable(space));
        let addresses = spec.addresses.iter().map(IpAddr::to_canonical).collect();
        let declared = topology.spaces.iter().find(|declared| Some(&declared.name) == space.as_ref());
        let mode = spec.propagate.or(declared.and_then(|space| space.propagate)).unwrap_or(PropagateMode::Trace);
        picture.modes.entry(spec.name.clone()).or_insert(mode);
        picture.workloads.entry(spec.name.clone()).or_insert((space, spec.space.clone(), addresses));
    }
    picture
}

fn service(spec: &ServiceSpec) -> Vec<String> {
    let addresses: Vec<IpAddr> = spec.addresses.iter().map(IpAddr::to_canonical).collect();
    let ports = spec.ports.iter().map(|port| {
        let targets = spec.endpoints.iter().filter(|one| one.ready).map(|one| {
            let own = one.ports.iter().find(|(name, _)| *name == port.name);
            SocketAddr::new(one.address.to_canonical(), own.map_or(port.target_port, |(_, number)| *number))
        });
        let targets = targets.filter(|target| target.port() != 0);
        let (v4, v6): (Vec<SocketAddr>, Vec<SocketAddr>) = targets.partition(SocketAddr::is_ipv4);
        format!("{} {} {:?} {:?}", port.name, port.port, port.app_protocol, [v4, v6].concat())
    });
    std::iter::once(format!("{addresses:?} {}", spec.endpoints.len())).chain(ports).collect()
}

fn members(spec: &ServiceSpec) -> Vec<(SocketAddr, u16, bool)> {
    let mut members = Vec::new();
    for port in &spec.ports {
        for ip in &spec.addresses {
            members.push((SocketAddr::new(ip.to_canonical(), port.port), port.port, false));
        }
        for one in spec.endpoints.iter().filter(|_| spec.endpoints_are_destinations) {
            let own = one.ports.iter().find(|(name, _)| *name == port.name);
            let number = own.map_or(port.target_port, |(_, number)| *number);
            if number != 0 {
                members.push((SocketAddr::new(one.address.to_canonical(), number), port.port, true));
            }
        }
    }
    members
}
