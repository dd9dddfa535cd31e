//! A service of one space with its ports and the endpoints that are ready.

use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ops::Deref;
use std::sync::Arc;

use smallvec::SmallVec;

use super::destinations::{DestinationKind, Member};
use super::families::FamilyId;
use super::space::SpaceId;
use crate::config::{EndpointSpec, PortSpec, ServiceSpec};

/// A service by name and space. One pointer, as every record carries it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServiceRef(Arc<ServiceName>);

/// What a [`ServiceRef`] refers to.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ServiceName {
    /// The service's name.
    pub name: Arc<str>,
    /// The name of the space that it lives in.
    pub space: Arc<str>,
}

impl ServiceRef {
    /// The service of that name in that space.
    pub fn new(name: Arc<str>, space: Arc<str>) -> Self {
        Self(Arc::new(ServiceName { name, space }))
    }
}

impl Deref for ServiceRef {
    type Target = ServiceName;

    fn deref(&self) -> &ServiceName {
        &self.0
    }
}

impl std::fmt::Display for ServiceRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.name, self.space)
    }
}

/// A service of a usable space.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its name and that of its space.
    pub id: ServiceRef,
    /// The space that it lives in.
    pub space: SpaceId,
    pub(super) family: FamilyId,
    /// Its ports.
    pub ports: SmallVec<[Port; 1]>,
    /// Its virtual addresses.
    pub addresses: Vec<IpAddr>,
    /// All its endpoints, ready or not.
    pub endpoints: usize,
    /// Whether connections to its endpoints' own addresses are routed, too.
    pub endpoints_are_destinations: bool,
}

/// One port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name; may be empty.
    pub name: Arc<str>,
    /// The port of the virtual addresses.
    pub port: u16,
    /// What the service's owner declares of the protocol.
    pub app_protocol: Option<Arc<str>>,
    // One list a family: a request looks at one of them, and half as many bytes.
    ready_v4: Box<[SocketAddrV4]>,
    ready_v6: Box<[SocketAddrV6]>,
    not_ready: Box<[SocketAddr]>,
}

impl Service {
    /// A service that has no place yet.
    pub(super) fn new(spec: &ServiceSpec, id: ServiceRef) -> Self {
        Self {
            id,
            space: SpaceId::NONE,
            family: FamilyId::NONE,
            ports: spec.ports.iter().map(|port| Port::new(port, &spec.endpoints)).collect(),
            addresses: spec.addresses.iter().map(IpAddr::to_canonical).collect(),
            endpoints: spec.endpoints.len(),
            endpoints_are_destinations: spec.endpoints_are_destinations,
        }
    }

    /// Whether both are the same service in the same state.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.id == other.id
            && self.endpoints == other.endpoints
            && self.endpoints_are_destinations == other.endpoints_are_destinations
            && self.addresses == other.addresses
            && self.ports == other.ports
    }

    /// Takes over the names of ports that a copy has as well.
    pub(super) fn share_names(&mut self, copy: &Self) {
        for port in &mut self.ports {
            if let Some(like) = copy.ports.iter().find(|like| like.name == port.name) {
                port.name = Arc::clone(&like.name);
            }
        }
    }

    /// Every address that stands for the service, each once, in order.
    pub(super) fn members(&self) -> Vec<(IpAddr, Member)> {
        let mut members = Vec::with_capacity(self.ports.len() * (self.addresses.len() + self.endpoints));
        for (port, index) in self.ports.iter().zip(0_u16..) {
            let member = |number, kind| Member { family: self.family, space: self.space, number, port: index, kind };
            members.extend(self.addresses.iter().map(|ip| (*ip, member(port.port, DestinationKind::Virtual))));
            if !self.endpoints_are_destinations {
                continue;
            }
            let all = port.ready().chain(port.not_ready.iter().copied());
            members.extend(all.map(|at| (at.ip(), member(at.port(), DestinationKind::Endpoint))));
        }
        members.sort_unstable();
        members.dedup();
        members
    }

    /// The port of this service that stands for `port` of a copy: the same name, or the same number where either is
    /// unnamed.
    pub fn port_like(&self, port: &Port) -> Option<&Port> {
        // Copies share the names of their ports, so that the texts themselves are rarely looked at.
        let same = |name: &Arc<str>| Arc::ptr_eq(name, &port.name) || *name == port.name;
        let by_name = self.ports.iter().find(|p| !p.name.is_empty() && same(&p.name));
        by_name
            .or_else(|| self.ports.iter().find(|p| p.port == port.port && (p.name.is_empty() || port.name.is_empty())))
    }
}

impl Port {
    fn new(spec: &PortSpec, endpoints: &[EndpointSpec]) -> Self {
        let (mut ready_v4, mut ready_v6, mut not_ready) = (Vec::new(), Vec::new(), Vec::new());
        for endpoint in endpoints {
            match target(spec, endpoint) {
                // It does not have that port.
                at if at.port() == 0 => {}
                at if !endpoint.ready => not_ready.push(at),
                SocketAddr::V4(at) => ready_v4.push(at),
                SocketAddr::V6(at) => ready_v6.push(at),
            }
        }
        Self {
            name: Arc::from(spec.name.as_str()),
            port: spec.port,
            app_protocol: spec.app_protocol.as_deref().map(Arc::from),
            ready_v4: ready_v4.into(),
            ready_v6: ready_v6.into(),
            not_ready: not_ready.into(),
        }
    }

    /// Whether any endpoint is ready.
    pub fn is_ready(&self) -> bool {
        !self.ready_v4.is_empty() || !self.ready_v6.is_empty()
    }

    /// The ready endpoints, IPv4 first.
    pub fn ready(&self) -> impl Iterator<Item = SocketAddr> {
        self.ready_v4.iter().copied().map(SocketAddr::V4).chain(self.ready_v6.iter().copied().map(SocketAddr::V6))
    }

    /// Whether that is one of its endpoints, ready or not.
    pub fn has_endpoint(&self, at: SocketAddr) -> bool {
        self.ready().chain(self.not_ready.iter().copied()).any(|endpoint| endpoint == at)
    }

    /// A ready endpoint: of the family of `like` if there is one, spread by `turn`.
    pub fn choose(&self, like: SocketAddr, turn: usize) -> Option<SocketAddr> {
        let v4 = || self.ready_v4.get(turn.checked_rem(self.ready_v4.len())?).copied().map(SocketAddr::V4);
        let v6 = || self.ready_v6.get(turn.checked_rem(self.ready_v6.len())?).copied().map(SocketAddr::V6);
        if like.is_ipv4() { v4().or_else(v6) } else { v6().or_else(v4) }
    }
}

/// Where an endpoint serves a port.
fn target(port: &PortSpec, endpoint: &EndpointSpec) -> SocketAddr {
    let own = endpoint.ports.iter().find(|(name, _)| *name == port.name).map(|(_, number)| *number);
    SocketAddr::new(endpoint.address.to_canonical(), own.unwrap_or(port.target_port))
}
