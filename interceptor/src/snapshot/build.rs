//! Builds a snapshot from what a source lists. Total: what is at fault is left out by a written rule, never an error.
//!
//! - A space whose tree is broken (see [`space_faults`]) stays visible with its fault; its services are not captured and
//!   its workloads have no space.
//! - A service or workload in a space that nobody declared is left out, or has no space.
//! - The first of two services with the same name and space wins.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::{Destination, DestinationKind, Port, Service, Snapshot, Space, SpaceId, Workload};
use crate::config::tree::space_faults;
use crate::config::{EndpointSpec, PortSpec, Routing, ServiceSpec, SpaceSpec, Topology};

impl Snapshot {
    /// A snapshot of that version.
    pub fn build(topology: &Topology, routing: &Routing, version: u64) -> Self {
        let spaces = spaces(&topology.spaces);
        let space_ids = ids(&spaces);
        let usable = |name: &str| space_ids.get(name).copied().filter(|id| spaces[id.index()].fault.is_none());

        let mut names: HashMap<Arc<str>, u32> = HashMap::new();
        let mut services = Vec::with_capacity(topology.services.len());
        let mut copies = HashMap::with_capacity(topology.services.len());
        let mut destinations = HashMap::new();
        for spec in &topology.services {
            let Some(space) = usable(&spec.space) else { continue };
            let next = u32::try_from(names.len()).unwrap_or(u32::MAX);
            let (name, name_id) = match names.get_key_value(spec.name.as_str()) {
                Some((name, id)) => (Arc::clone(name), *id),
                None => {
                    let name: Arc<str> = Arc::from(spec.name.as_str());
                    names.insert(Arc::clone(&name), next);
                    (name, next)
                }
            };
            if copies.contains_key(&(name_id, space)) {
                continue;
            }
            let space_name = Arc::clone(&spaces[space.index()].name);
            let service = Arc::new(service(spec, name, name_id, space, space_name));
            add_destinations(&mut destinations, spec, &service);
            copies.insert((name_id, space), Arc::clone(&service));
            services.push(service);
        }

        let mut workloads = HashMap::with_capacity(topology.workloads.len());
        for spec in &topology.workloads {
            let name: Arc<str> = Arc::from(spec.name.as_str());
            let workload = Workload {
                name: Arc::clone(&name),
                space: spec.space.as_deref().and_then(usable),
                space_name: spec.space.as_deref().map(Arc::from),
                netns: spec.netns.clone(),
                cgroup: spec.cgroup.clone(),
                addresses: spec.addresses.iter().map(IpAddr::to_canonical).collect(),
            };
            workloads.entry(name).or_insert(workload);
        }
        let route_headers = routing.route_headers.iter().map(|name| Arc::from(name.as_str())).collect();
        Self {
            version,
            routing: routing.clone(),
            route_headers,
            spaces,
            space_ids,
            services,
            copies,
            destinations,
            workloads,
        }
    }
}

fn spaces(specs: &[SpaceSpec]) -> Vec<Space> {
    let mut spaces: Vec<Space> = specs
        .iter()
        .map(|spec| Space {
            name: Arc::from(spec.name.as_str()),
            parent: spec.parent.as_deref().map(Arc::from),
            chain: Vec::new(),
            fault: None,
        })
        .collect();
    for (index, fault) in space_faults(specs) {
        if let Some(space) = spaces.get_mut(index) {
            space.fault = Some(fault);
        }
    }
    let ids = ids(&spaces);
    for index in 0..spaces.len() {
        if spaces[index].fault.is_some() {
            continue;
        }
        let mut chain = Vec::new();
        let mut next = ids.get(&spaces[index].name).copied();
        while let Some(id) = next {
            chain.push(id);
            next = spaces[id.index()].parent.as_ref().and_then(|parent| ids.get(parent)).copied();
        }
        spaces[index].chain = chain;
    }
    spaces
}

/// The first space of each name.
fn ids(spaces: &[Space]) -> HashMap<Arc<str>, SpaceId> {
    let mut ids = HashMap::with_capacity(spaces.len());
    for (space, id) in spaces.iter().zip(0..) {
        ids.entry(Arc::clone(&space.name)).or_insert(SpaceId(id));
    }
    ids
}

fn service(spec: &ServiceSpec, name: Arc<str>, name_id: u32, space: SpaceId, space_name: Arc<str>) -> Service {
    let ports = spec
        .ports
        .iter()
        .map(|port| {
            let ready = spec.endpoints.iter().filter(|e| e.ready).map(|e| target(port, e));
            let (ready_v4, ready_v6) = ready.partition(SocketAddr::is_ipv4);
            Port {
                name: Arc::from(port.name.as_str()),
                port: port.port,
                app_protocol: port.app_protocol.as_deref().map(Arc::from),
                ready_v4,
                ready_v6,
            }
        })
        .collect();
    let addresses = spec.addresses.iter().map(IpAddr::to_canonical).collect();
    Service { name, name_id, space, space_name, addresses, ports, endpoints: spec.endpoints.len() }
}

/// Where an endpoint serves a port.
fn target(port: &PortSpec, endpoint: &EndpointSpec) -> SocketAddr {
    let own = endpoint.ports.iter().find(|(name, _)| *name == port.name).map(|(_, number)| *number);
    SocketAddr::new(endpoint.address.to_canonical(), own.unwrap_or(port.target_port))
}

fn add_destinations(destinations: &mut HashMap<SocketAddr, Destination>, spec: &ServiceSpec, service: &Arc<Service>) {
    for (index, port) in spec.ports.iter().enumerate() {
        let mut add = |addr: SocketAddr, kind| {
            let entry = destinations.entry(addr).or_insert_with(|| Destination { kind, services: Vec::new() });
            entry.services.push((Arc::clone(service), index));
        };
        for ip in &service.addresses {
            add(SocketAddr::new(*ip, port.port), DestinationKind::Virtual);
        }
        for endpoint in &spec.endpoints {
            add(target(port, endpoint), DestinationKind::Endpoint);
        }
    }
}
