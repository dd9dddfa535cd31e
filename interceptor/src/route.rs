//! Where a request goes and why: a pure function of the snapshot and what the request says.
//!
//! Called per request by `proxy`, and by `explain` with the same inputs, so that what is explained is what happens. No
//! I/O, no clock, no randomness (the caller gives `turn`). Rules R1 to R7 of the project's mission are decided here and
//! nowhere else.

mod decision;
mod host;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

pub use decision::{Chain, Decision, Outcome, Reason, SpaceFrom, Step, Target};
pub(crate) use host::{find_space, parse as parse_ingress_host};

pub use crate::snapshot::ServiceRef;

use crate::config::{DefaultSpace, SameSpace};
use crate::snapshot::{Behind, Destination, DestinationKind, Port, Service, Snapshot, SpaceId};

/// Which way a connection crosses the workload's border.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The workload called.
    Outbound,
    /// The workload was called.
    Inbound,
}

/// What routing needs to know of a request.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// Which way it goes.
    pub direction: Direction,
    /// The name of the workload at whose border it is.
    pub workload: &'a str,
    /// The destination that the caller asked for.
    pub destination: SocketAddr,
    /// What the first configured carrier of a space says that the request has.
    pub header: Option<&'a [u8]>,
    /// The request's Host (or the authority of its target).
    pub host: Option<&'a [u8]>,
    /// The space that was found again for a request that names none, and how; see `propagate`.
    pub recalled: Option<(&'a str, SpaceFrom)>,
    /// Spreads requests over endpoints.
    pub turn: usize,
}

/// The space that a request names, before it is checked against the destination.
enum Named {
    Space(SpaceId, SpaceFrom),
    Unusable(Reason, SpaceFrom),
    Nothing,
}

/// Decides where a request goes.
pub fn decide<'s>(snapshot: &'s Snapshot, query: &Query<'_>) -> Decision<'s> {
    let named = name_space(snapshot, query);
    let Some(destination) = snapshot.destination(query.destination) else {
        return keep(snapshot, None, &named, Reason::NotCaptured);
    };
    let Some(called) = pick_service(destination, query.host) else {
        return keep(snapshot, None, &named, Reason::AmbiguousService);
    };
    let service = called.service;
    let (space, from) = match named {
        Named::Space(space, from) => (space, from),
        Named::Unusable(reason, _) => return keep(snapshot, Some(service), &named, reason),
        Named::Nothing => {
            let caller = || Some((default_space(snapshot, query, called.space)?, SpaceFrom::Caller));
            match recalled_space(snapshot, query, called.space).or_else(caller) {
                Some(found) => found,
                None => return keep(snapshot, Some(service), &named, Reason::NoSpaceNamed),
            }
        }
    };
    if snapshot.space(space).root() != snapshot.space(called.space).root() {
        return keep(snapshot, Some(service), &named, Reason::OtherTree);
    }
    let mut decision = walk(snapshot, query, called, space);
    decision.space_from = from;
    decision.inject = from != SpaceFrom::Header;
    decision
}

/// What the request itself says: the route header (R2: whatever it holds, it stands), else the Host (R1).
fn name_space(snapshot: &Snapshot, query: &Query<'_>) -> Named {
    if let Some(value) = query.header {
        let known = std::str::from_utf8(value).ok().and_then(|name| snapshot.space_named(name.trim_ascii()));
        return usable(snapshot, known, SpaceFrom::Header);
    }
    let Some(labels) = query.host.and_then(|host| host::parse(host, &snapshot.routing.ingress_suffixes)) else {
        return Named::Nothing;
    };
    let space = find_space(snapshot, labels.space.unwrap_or(labels.root));
    let root = find_space(snapshot, labels.root);
    match usable(snapshot, space, SpaceFrom::Host) {
        Named::Space(id, _) if snapshot.space(id).root() != root => {
            Named::Unusable(Reason::UnknownSpace, SpaceFrom::Host)
        }
        named => named,
    }
}

fn usable(snapshot: &Snapshot, space: Option<SpaceId>, from: SpaceFrom) -> Named {
    match space {
        Some(id) if snapshot.space(id).fault.is_none() => Named::Space(id, from),
        Some(_) => Named::Unusable(Reason::FaultySpace, from),
        None => Named::Unusable(Reason::UnknownSpace, from),
    }
}

/// The space that was found again, if it still is one of the destination's tree: nothing is carried over into another.
fn recalled_space(snapshot: &Snapshot, query: &Query<'_>, called: SpaceId) -> Option<(SpaceId, SpaceFrom)> {
    let (name, from) = query.recalled?;
    let space = snapshot.space_named(name)?;
    let root = snapshot.space(space).root()?;
    (Some(root) == snapshot.space(called).root()).then_some((space, from))
}

/// Rule R4: the caller's own space, if it is in the destination's tree.
fn default_space(snapshot: &Snapshot, query: &Query<'_>, called: SpaceId) -> Option<SpaceId> {
    if query.direction == Direction::Inbound || snapshot.routing.default_space == DefaultSpace::None {
        return None;
    }
    let space = snapshot.workload(query.workload)?.space?;
    (snapshot.space(space).root() == snapshot.space(called).root()).then_some(space)
}

/// The one service that a destination stands for. A pod behind several is told apart by the Host's first label.
fn pick_service<'s>(destination: Destination<'s>, host: Option<&[u8]>) -> Option<Behind<'s>> {
    let mut services = destination.services();
    let first = services.next()?;
    if services.all(|other| Arc::ptr_eq(other.service, first.service)) {
        return Some(first);
    }
    let name = host::service_label(host?)?;
    let mut named = destination.services().filter(|b| b.service.id.name.as_bytes().eq_ignore_ascii_case(name));
    let named_first = named.next()?;
    named.all(|other| Arc::ptr_eq(other.service, named_first.service)).then_some(named_first)
}

/// Rule R3: the first space of the chain in which the service has an address.
fn walk<'s>(snapshot: &'s Snapshot, query: &Query<'_>, called: Behind<'s>, space: SpaceId) -> Decision<'s> {
    let space = snapshot.space(space);
    let mut decision = Decision::original(Reason::NoCopy);
    decision.space = Some(space);
    decision.service = Some(&called.service.id);
    for (&step, found) in space.chain.iter().zip(&mut decision.outcomes) {
        let (outcome, target) = try_space(snapshot, query, called, step);
        *found = Some(outcome);
        if let Some((target, reason)) = target {
            (decision.target, decision.reason) = (target, reason);
            break;
        }
    }
    decision
}

fn try_space<'s>(
    snapshot: &'s Snapshot,
    query: &Query<'_>,
    Behind { service, space: own, port, kind }: Behind<'s>,
    space: SpaceId,
) -> (Outcome, Option<(Target<'s>, Reason)>) {
    if space == own {
        // A pod that was called itself, or dialled by its own address, is its space's answer whether it is ready or not.
        if query.direction == Direction::Inbound || kind == DestinationKind::Endpoint {
            return (Outcome::Taken, Some((Target::Original, Reason::SameSpace)));
        }
        if !port.is_ready() {
            return (Outcome::NoReadyEndpoint, None);
        }
        let target = match snapshot.routing.same_space {
            SameSpace::Original => Some(Target::Original),
            SameSpace::Endpoint => endpoint(service, port, query),
        };
        return (Outcome::Taken, target.map(|target| (target, Reason::SameSpace)));
    }
    let Some(copy) = snapshot.copy(service, space) else { return (Outcome::NoService, None) };
    let Some(port) = copy.port_like(port) else { return (Outcome::NoPort, None) };
    match endpoint(copy, port, query) {
        Some(target) => (Outcome::Taken, Some((target, Reason::Routed))),
        None => (Outcome::NoReadyEndpoint, None),
    }
}

fn endpoint<'s>(service: &'s Service, port: &Port, query: &Query<'_>) -> Option<Target<'s>> {
    let address = port.choose(query.destination, query.turn)?;
    Some(Target::Endpoint { address, service: &service.id })
}

fn keep<'s>(snapshot: &'s Snapshot, service: Option<&'s Service>, named: &Named, reason: Reason) -> Decision<'s> {
    let mut decision = Decision::original(reason);
    decision.service = service.map(|service| &service.id);
    match named {
        Named::Space(space, from) => {
            decision.space = Some(snapshot.space(*space));
            decision.space_from = *from;
        }
        Named::Unusable(_, from) => decision.space_from = *from,
        Named::Nothing => {}
    }
    decision
}
