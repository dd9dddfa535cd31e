//! A service of one space with its ports and the endpoints that are ready.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::SpaceId;

/// A service of a usable space.
#[derive(Debug)]
pub struct Service {
    /// Its name.
    pub name: Arc<str>,
    pub(super) name_id: u32,
    /// The space that it lives in.
    pub space: SpaceId,
    /// That space's name.
    pub space_name: Arc<str>,
    /// Its virtual addresses.
    pub addresses: Vec<IpAddr>,
    /// Its ports.
    pub ports: Vec<Port>,
    /// All its endpoints, ready or not.
    pub endpoints: usize,
}

/// One port of a service.
#[derive(Debug)]
pub struct Port {
    /// Its name; may be empty.
    pub name: Arc<str>,
    /// The port of the virtual addresses.
    pub port: u16,
    /// What the service's owner declares of the protocol.
    pub app_protocol: Option<Arc<str>>,
    /// Addresses of ready endpoints, IPv4.
    pub ready_v4: Vec<SocketAddr>,
    /// Addresses of ready endpoints, IPv6.
    pub ready_v6: Vec<SocketAddr>,
}

impl Service {
    /// The port of this service that stands for `port` of a copy: the same name, or the same number where either is
    /// unnamed.
    pub fn port_like(&self, port: &Port) -> Option<&Port> {
        let by_name = self.ports.iter().find(|p| !p.name.is_empty() && p.name == port.name);
        by_name
            .or_else(|| self.ports.iter().find(|p| p.port == port.port && (p.name.is_empty() || port.name.is_empty())))
    }
}

impl Port {
    /// Whether any endpoint is ready.
    pub fn is_ready(&self) -> bool {
        !self.ready_v4.is_empty() || !self.ready_v6.is_empty()
    }

    /// A ready endpoint: of the family of `like` if there is one, spread by `turn`.
    pub fn choose(&self, like: SocketAddr, turn: usize) -> Option<SocketAddr> {
        let (same, other) =
            if like.is_ipv4() { (&self.ready_v4, &self.ready_v6) } else { (&self.ready_v6, &self.ready_v4) };
        let list = if same.is_empty() { other } else { same };
        list.get(turn.checked_rem(list.len())?).copied()
    }
}
