//! Which destination a host name means: what cluster DNS would answer, looked up in the snapshot.
//!
//! Outbound, a name leads to a service's first virtual address, or to an endpoint of a headless one. Inbound, the
//! destination is the workload itself. Names are compared without case, as DNS does.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::url::Url;
use super::words::{self, NotRouted};
use crate::route::{self, Direction};
use crate::snapshot::{Behind, Destination, Port, Service, Snapshot, SpaceId, Workload};

/// Where a host name leads.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) destination: SocketAddr,
    pub(super) note: Option<String>,
}

/// A host name that leads nowhere.
#[derive(Debug)]
pub(super) struct Unresolved {
    pub(super) reason: NotRouted,
    pub(super) text: String,
}

/// Inbound where the host is an ingress host of a service that the workload is behind, else outbound.
pub(super) fn direction(snapshot: &Snapshot, workload: &Workload, host: &str) -> Direction {
    let suffixes = &snapshot.routing.ingress_suffixes;
    let Some(labels) = route::parse_ingress_host(host.as_bytes(), suffixes) else { return Direction::Outbound };
    let behind = own_destinations(snapshot, workload)
        .flat_map(|(_, destination)| destination.services())
        .any(|behind| behind.service.id.name.as_bytes().eq_ignore_ascii_case(labels.service));
    if behind { Direction::Inbound } else { Direction::Outbound }
}

/// The destination of a call of the workload.
pub(super) fn outbound(snapshot: &Snapshot, workload: &Workload, url: &Url) -> Result<Resolved, Unresolved> {
    if let Ok(ip) = url.host.parse::<IpAddr>() {
        return Ok(Resolved { destination: SocketAddr::new(ip.to_canonical(), url.port), note: None });
    }
    let (service, note) = find_service(snapshot, workload, &url.host)
        .ok_or_else(|| Unresolved { reason: NotRouted::UnknownHost, text: words::unknown_host(workload, &url.host) })?;
    let destination = service_address(service, url.port)
        .ok_or_else(|| Unresolved { reason: NotRouted::NoSuchPort, text: words::no_such_port(service, url.port) })?;
    Ok(Resolved { destination, note })
}

/// The destination of a call to the workload: its own address and the port of the service that the host names.
pub(super) fn inbound(snapshot: &Snapshot, workload: &Workload, url: &Url) -> Result<Resolved, Unresolved> {
    let name = match route::parse_ingress_host(url.host.as_bytes(), &snapshot.routing.ingress_suffixes) {
        Some(labels) => labels.service,
        None => url.host.split('.').next().unwrap_or_default().as_bytes(),
    };
    let is_named = |behind: Behind<'_>| behind.service.id.name.as_bytes().eq_ignore_ascii_case(name);
    // IPv4 first, then by number: the same answer every time.
    let mut own: Vec<(SocketAddr, Destination<'_>)> = own_destinations(snapshot, workload).collect();
    own.sort_by_key(|(address, _)| *address);
    let rank = |(address, destination): &(SocketAddr, Destination<'_>)| {
        let named = destination.services().any(is_named);
        let port = address.port() == url.port || destination.services().any(|behind| behind.port.port == url.port);
        (!named, !port)
    };
    let best = own
        .into_iter()
        .min_by_key(rank)
        .ok_or_else(|| Unresolved { reason: NotRouted::NoSuchPort, text: words::behind_no_service(workload) })?;
    Ok(Resolved { destination: best.0, note: None })
}

fn own_destinations<'s>(
    snapshot: &'s Snapshot,
    workload: &'s Workload,
) -> impl Iterator<Item = (SocketAddr, Destination<'s>)> {
    let all = workload.addresses.iter().flat_map(|ip| snapshot.destinations_at(*ip));
    all.filter(|(_, destination)| destination.is_endpoint())
}

/// The service that a host name means to a workload, and how it was found where that is not plain.
fn find_service<'s>(
    snapshot: &'s Snapshot,
    workload: &Workload,
    host: &str,
) -> Option<(&'s Arc<Service>, Option<String>)> {
    let host = host.strip_suffix('.').unwrap_or(host);
    if let Some(labels) = route::parse_ingress_host(host.as_bytes(), &snapshot.routing.ingress_suffixes) {
        let space = route::find_space(snapshot, labels.space.unwrap_or(labels.root))?;
        let name = std::str::from_utf8(labels.service).ok()?;
        let service = by_short_name(snapshot, space, name)?;
        return Some((service, Some(format!("the ingress host {host} leads to {}", service.id))));
    }
    if let Some(service) = workload.space.and_then(|space| by_short_name(snapshot, space, host)) {
        let own = workload.space.is_some_and(|space| service.space == space);
        let note = format!("the short name {host} is not in the workload's own space and is looked up in its parents'");
        return Some((service, (!own).then_some(note)));
    }
    // `name.space`, `name.space.svc`, `name.space.svc.cluster.local`; names and spaces may hold dots themselves.
    let host = match host.to_ascii_lowercase().find(".svc") {
        Some(at) if matches!(host.as_bytes().get(at + 4), None | Some(b'.')) => host.get(..at)?,
        _ => host,
    };
    let mut splits = host.match_indices('.').filter_map(|(at, _)| Some((host.get(..at)?, host.get(at + 1..)?)));
    let service = splits.find_map(|(name, space)| {
        let space = route::find_space(snapshot, space.as_bytes())?;
        in_space(snapshot, space, name)
    })?;
    Some((service, None))
}

/// The service that a short name means in a space: its own copy, or that of the nearest parent that has one.
pub(crate) fn by_short_name<'s>(snapshot: &'s Snapshot, space: SpaceId, name: &str) -> Option<&'s Arc<Service>> {
    snapshot.space(space).chain.iter().find_map(|&space| in_space(snapshot, space, name))
}

fn in_space<'s>(snapshot: &'s Snapshot, space: SpaceId, name: &str) -> Option<&'s Arc<Service>> {
    // The slow way is for a name written in another case than the service's.
    snapshot.service_named(space, name).or_else(|| {
        let same = |service: &&Arc<Service>| service.space == space && service.id.name.eq_ignore_ascii_case(name);
        snapshot.services().filter(same).min_by(|a, b| a.id.name.cmp(&b.id.name))
    })
}

/// The address that a client of a service's port connects to.
pub(crate) fn address_of(service: &Service, port: &Port) -> Option<SocketAddr> {
    match service.addresses.first() {
        Some(ip) => Some(SocketAddr::new(*ip, port.port)),
        None => port.ready().next(),
    }
}

fn service_address(service: &Service, number: u16) -> Option<SocketAddr> {
    if !service.addresses.is_empty() {
        return address_of(service, service.ports.iter().find(|port| port.port == number)?);
    }
    // A headless service's name is the pods' addresses: the port is the pods' own.
    service.ports.iter().flat_map(Port::ready).find(|address| address.port() == number)
}
