//! The cluster that the targets are about: ten trees of ten spaces, of which the roots hold most services and the derived
//! ones copies of some. Derived spaces are one to three levels below their root.

use std::net::{IpAddr, SocketAddr};

use interceptor::config::{EndpointSpec, PortSpec, ServiceSpec, SpaceSpec, Topology};

const TREES: usize = 10;
/// In a tree, its root first.
const SPACES: usize = 10;
/// Services of a root, and copies in each space that derives from it.
const IN_ROOT: usize = 550;
const IN_DERIVED: usize = 50;
const IN_TREE: usize = IN_ROOT + (SPACES - 1) * IN_DERIVED;
/// Of every service.
pub(super) const ENDPOINTS: usize = 10;

const VIRTUAL: u32 = 0x0a60_0000;
const PODS: u32 = 0x0a80_0000;
const MOVED: u32 = 0x0b00_0000;

/// 100 spaces, 10 000 services, 100 000 endpoints.
pub(super) fn topology() -> Topology {
    let mut topology = Topology::default();
    for tree in 0..TREES {
        for space in 0..SPACES {
            let name = |space: usize| format!("tree{tree}-space{space}");
            let parent = (space > 0).then(|| name(space.saturating_sub(3)));
            topology.spaces.push(SpaceSpec { name: name(space), parent, propagate: None });
            for index in 0..if space == 0 { IN_ROOT } else { IN_DERIVED } {
                let number = if space == 0 { index } else { (index * 11 + space * 7) % IN_ROOT };
                let service = service(format!("service{number}-tree{tree}"), name(space), topology.services.len());
                topology.services.push(service);
            }
        }
    }
    topology
}

fn service(name: String, space: String, index: usize) -> ServiceSpec {
    let address = |base: u32, index: usize| IpAddr::from((base + u32::try_from(index).unwrap_or(0)).to_be_bytes());
    let endpoint =
        |one| EndpointSpec { address: address(PODS, index * ENDPOINTS + one), ready: true, ports: Vec::new() };
    ServiceSpec {
        name,
        space,
        addresses: vec![address(VIRTUAL, index)],
        ports: vec![PortSpec { name: "http".to_owned(), port: 80, target_port: 8080, app_protocol: None }],
        endpoints: (0..ENDPOINTS).map(endpoint).collect(),
        endpoints_are_destinations: true,
    }
}

/// Addresses of pods that come later.
pub(super) fn moved(count: u32) -> u32 {
    MOVED + count
}

/// A service's virtual address and those of its pods.
pub(super) fn destinations(service: &ServiceSpec) -> impl Iterator<Item = SocketAddr> {
    let own = service.addresses.iter().map(|ip| SocketAddr::new(*ip, 80));
    own.chain(service.endpoints.iter().map(|endpoint| SocketAddr::new(endpoint.address, 8080)))
}

/// A space that a request to the service with that index names: mostly one of its tree, sometimes any.
pub(super) fn space(service: usize, random: &mut Random) -> usize {
    let tree = if random.below(10) == 0 { random.below(TREES) } else { service / IN_TREE };
    tree * SPACES + random.below(SPACES)
}

/// Numbers at random, the same in every run (xorshift64).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new() -> Random {
        Random(0x9e37_79b9_7f4a_7c15)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let limit = u64::try_from(limit.max(1)).unwrap_or(1);
        usize::try_from(self.0 % limit).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn it_has_the_size_that_the_targets_name() {
        let topology = topology();
        let endpoints: usize = topology.services.iter().map(|service| service.endpoints.len()).sum();
        assert_eq!((topology.spaces.len(), topology.services.len(), endpoints), (100, 10_000, 100_000));
        let names: HashSet<_> = topology.services.iter().map(|one| (&one.space, &one.name)).collect();
        let addresses: HashSet<_> = topology.services.iter().flat_map(destinations).collect();
        assert_eq!((names.len(), addresses.len()), (10_000, 110_000), "each is there once");
        let last = topology.services.last().unwrap();
        assert!(last.space.starts_with("tree9-") && space(9999, &mut Random::new()) < 100);
    }
}
