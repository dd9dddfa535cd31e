//! What stands behind an address: the table that every connection and request begins with.
//!
//! By IP address, so that one question answers both "what is behind this destination" and "what is behind this pod". An
//! entry names its services by their places in [`Families`](super::families::Families) and stays as it is when one of
//! them changes.

use std::cmp::Ordering;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use interceptor_common::Address;

use super::Snapshot;
use super::families::FamilyId;
use super::service::{Port, Service};
use super::sharded::Sharded;
use super::space::SpaceId;

/// What kind of address a destination is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DestinationKind {
    /// A service's virtual address.
    Virtual,
    /// An endpoint's own address.
    Endpoint,
}

/// One port of an address and the service that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Member {
    /// The port of the address.
    pub(super) number: u16,
    /// The service's port, as an index.
    pub(super) port: u16,
    pub(super) kind: DestinationKind,
    pub(super) family: FamilyId,
    pub(super) space: SpaceId,
}

/// What is behind one IP address. Most addresses are one port of one service.
#[derive(Debug, Clone)]
enum Held {
    One(Member),
    /// By port, then in the order that [`Destinations::insert`] was given.
    Many(Arc<Vec<Member>>),
}

impl Held {
    fn members(&self) -> &[Member] {
        match self {
            Self::One(member) => std::slice::from_ref(member),
            Self::Many(members) => members,
        }
    }
}

/// All addresses that belong to a space tree.
#[derive(Debug, Clone, Default)]
pub(super) struct Destinations {
    by_ip: Sharded<Address, Held>,
}

impl Destinations {
    /// What is behind an IP address, by port.
    pub(super) fn at(&self, ip: IpAddr) -> &[Member] {
        self.by_ip.get(&Address::from(ip)).map(Held::members).unwrap_or_default()
    }

    /// What is behind an address and port.
    pub(super) fn get(&self, addr: SocketAddr) -> &[Member] {
        let all = self.at(addr.ip());
        let of_port = |members: &[Member]| members.first().is_some_and(|member| member.number == addr.port());
        all.chunk_by(|a, b| a.number == b.number).find(|members| of_port(members)).unwrap_or_default()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (IpAddr, &[Member])> {
        self.by_ip.iter().map(|(address, held)| (IpAddr::from(*address), held.members()))
    }

    /// Adds a member, among those of the same port where `order` says.
    pub(super) fn insert(&mut self, ip: IpAddr, new: Member, order: impl Fn(&Member, &Member) -> Ordering) {
        let by_port = |a: &Member, b: &Member| a.number.cmp(&b.number).then_with(|| order(a, b));
        let add = |held: &mut Held| {
            let mut members = match held {
                Held::One(member) => Arc::new(vec![*member]),
                Held::Many(members) => std::mem::take(members),
            };
            if let Err(at) = members.binary_search_by(|member| by_port(member, &new)) {
                Arc::make_mut(&mut members).insert(at, new);
            }
            *held = match members.as_slice() {
                [one] => Held::One(*one),
                _ => Held::Many(members),
            };
        };
        self.by_ip.upsert(ip.into(), || Held::One(new), add);
    }

    /// Removes a member.
    pub(super) fn remove(&mut self, ip: IpAddr, gone: &Member) {
        self.by_ip.change(&Address::from(ip), |held| {
            let members: Vec<Member> = held.members().iter().filter(|member| *member != gone).copied().collect();
            let keep = !members.is_empty();
            *held = match members.as_slice() {
                [one] => Held::One(*one),
                _ => Held::Many(Arc::new(members)),
            };
            keep
        });
    }
}

/// What stands behind an address and port that belong to a space tree.
#[derive(Debug, Clone, Copy)]
pub struct Destination<'s> {
    snapshot: &'s Snapshot,
    members: &'s [Member],
}

/// A service that a destination belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Behind<'s> {
    /// The service.
    pub service: &'s Arc<Service>,
    /// The space that it lives in.
    pub space: SpaceId,
    /// Its port.
    pub port: &'s Port,
    /// What the address is to that service.
    pub kind: DestinationKind,
}

impl<'s> Destination<'s> {
    /// `None` where nothing is behind it.
    pub(super) fn new(snapshot: &'s Snapshot, members: &'s [Member]) -> Option<Self> {
        (!members.is_empty()).then_some(Self { snapshot, members })
    }

    /// The services that the address belongs to, by space and name. More than one for a pod behind several.
    pub fn services(&self) -> impl Iterator<Item = Behind<'s>> + use<'s> {
        let snapshot = self.snapshot;
        self.members.iter().filter_map(move |member| {
            let service = snapshot.families.get(member.family)?.copy(member.space)?;
            let port = service.ports.get(usize::from(member.port))?;
            Some(Behind { service, space: member.space, port, kind: member.kind })
        })
    }

    /// The first of [`Destination::services`].
    pub fn first(&self) -> Option<Behind<'s>> {
        self.services().next()
    }

    /// Whether it is the address of an endpoint of any service.
    pub fn is_endpoint(&self) -> bool {
        self.members.iter().any(|member| member.kind == DestinationKind::Endpoint)
    }
}
