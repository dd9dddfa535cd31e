//! Changes at random, over few names and addresses: things repeat, collide, lose their space and get it back.

use std::net::IpAddr;
use std::path::PathBuf;

use super::super::Change;
use crate::config::{EndpointSpec, NetnsRef, PortSpec, PropagateMode, ServiceSpec, SpaceSpec, Topology, WorkloadSpec};

/// A source of numbers that a seed repeats (xorshift64).
pub(super) struct Random(u64);

/// A change that owns what it is about.
#[derive(Debug)]
pub(super) enum Owned {
    Space(SpaceSpec),
    SpaceGone(String),
    Service(ServiceSpec),
    ServiceGone(String, String),
    Workload(WorkloadSpec),
    WorkloadGone(String),
}

impl Owned {
    /// Does the same to a topology, by name.
    pub(super) fn apply(&self, world: &mut Topology) -> Change<'_> {
        match self {
            Self::Space(spec) => {
                world.spaces.retain(|one| one.name != spec.name);
                world.spaces.push(spec.clone());
                Change::Space(spec)
            }
            Self::SpaceGone(name) => {
                world.spaces.retain(|one| one.name != *name);
                Change::SpaceGone(name)
            }
            Self::Service(spec) => {
                world.services.retain(|one| (&one.space, &one.name) != (&spec.space, &spec.name));
                world.services.push(spec.clone());
                Change::Service(spec)
            }
            Self::ServiceGone(space, name) => {
                world.services.retain(|one| (&one.space, &one.name) != (space, name));
                Change::ServiceGone { space, name }
            }
            Self::Workload(spec) => {
                world.workloads.retain(|one| one.name != spec.name);
                world.workloads.push(spec.clone());
                Change::Workload(spec)
            }
            Self::WorkloadGone(name) => {
                world.workloads.retain(|one| one.name != *name);
                Change::WorkloadGone(name)
            }
        }
    }

    /// Adds it at the end of its list, whatever stands there already.
    pub(super) fn append(&self, world: &mut Topology) {
        match self {
            Self::Space(spec) => world.spaces.push(spec.clone()),
            Self::Service(spec) => world.services.push(spec.clone()),
            Self::Workload(spec) => world.workloads.push(spec.clone()),
            Self::SpaceGone(_) | Self::ServiceGone(..) | Self::WorkloadGone(_) => {}
        }
    }
}

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn some<T>(&mut self, most: u64, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| one(self)).collect()
    }

    /// One to four changes.
    pub(super) fn changes(&mut self) -> Vec<Owned> {
        let count = 1 + self.below(4);
        (0..count).map(|_| self.change()).collect()
    }

    fn change(&mut self) -> Owned {
        match self.below(12) {
            0 | 1 => {
                let parent = (self.below(3) > 0).then(|| self.space());
                Owned::Space(SpaceSpec { name: self.space(), parent, propagate: self.mode() })
            }
            2 => Owned::SpaceGone(self.space()),
            3 => Owned::ServiceGone(self.space(), self.service()),
            4 => Owned::Workload(WorkloadSpec {
                name: format!("pod{}", self.below(4)),
                space: (self.below(4) > 0).then(|| self.space()),
                netns: NetnsRef::Path(PathBuf::from(format!("/n/{}", self.below(3)))),
                cgroup: None,
                addresses: vec![self.address()],
                propagate: self.mode(),
            }),
            5 => Owned::WorkloadGone(format!("pod{}", self.below(4))),
            _ => Owned::Service(ServiceSpec {
                name: self.service(),
                space: self.space(),
                addresses: self.some(2, Self::address),
                ports: {
                    let first = self.port(0);
                    let more = (self.below(3) == 0).then(|| self.port(1));
                    std::iter::once(first).chain(more).collect()
                },
                endpoints: self.some(4, Self::endpoint),
                endpoints_are_destinations: self.below(5) > 0,
            }),
        }
    }

    fn space(&mut self) -> String {
        format!("space{}", self.below(7))
    }

    fn service(&mut self) -> String {
        format!("service{}", self.below(5))
    }

    /// Of both families, and mapped; few enough that pods are behind several services, and at virtual addresses.
    fn mode(&mut self) -> Option<PropagateMode> {
        (self.below(3) == 0).then_some(PropagateMode::SingleFlight)
    }

    fn address(&mut self) -> IpAddr {
        let last = self.below(12);
        let prefix = ["10.0.0.", "fd00::", "::ffff:10.0.0."][usize::try_from(self.below(5) / 2).unwrap()];
        format!("{prefix}{last}").parse().unwrap()
    }

    fn port(&mut self, index: u16) -> PortSpec {
        let number = 80 + index;
        PortSpec {
            name: ["", "http", "grpc"][usize::try_from(self.below(3)).unwrap()].to_owned(),
            port: number,
            target_port: if self.below(2) == 0 { 80 } else { 8080 },
            app_protocol: (self.below(4) == 0).then(|| "http".to_owned()),
        }
    }

    fn endpoint(&mut self) -> EndpointSpec {
        let own = (self.below(4) == 0).then(|| ("http".to_owned(), if self.below(3) == 0 { 0 } else { 9090 }));
        EndpointSpec { address: self.address(), ready: self.below(4) > 0, ports: own.into_iter().collect() }
    }
}
