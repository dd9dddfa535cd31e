//! Where every space leads a workload's calls: one row per service, port and space, decided by the code that routes.

use std::collections::HashSet;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::explain::{NotRouted, TargetView, address_of, by_short_name};
use crate::route::{Direction, Query, Step, Target, decide};
use crate::snapshot::{Port, Service, Snapshot, Workload};
use crate::wanted::Wanted;

/// Where a call of a workload goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteView {
    /// The workload.
    pub workload: String,
    /// The service that it calls, `name.space`: what its short name means to this workload.
    pub service: String,
    /// That service's port.
    pub port: u16,
    /// The address that it calls.
    pub destination: SocketAddr,
    /// The space that the route header names; `None` for a request without one.
    pub space: Option<String>,
    /// Where the request goes.
    pub target: TargetView,
    /// The spaces that were tried.
    pub chain: Vec<Step>,
    /// Why.
    pub reason: String,
}

/// The routes of a workload: first without a header, then with each space of the service's tree. Services without any
/// address are left out: nobody can call them. Those that are not captured are reached as they are called, whatever the
/// header says.
///
/// `None` where there is no such workload.
pub fn routes(snapshot: &Snapshot, wanted: &Wanted<'_>, workload: &str) -> Option<Vec<RouteView>> {
    let workload = snapshot.workload(workload)?;
    let mut seen = HashSet::new();
    let mut views = Vec::new();
    for service in snapshot.services_in_order() {
        let own = workload.space.and_then(|space| by_short_name(snapshot, space, &service.id.name));
        let root = |service: &Service| snapshot.space(service.space).root();
        let called = own.filter(|own| root(own) == root(service)).unwrap_or(service);
        if !seen.insert((root(called), &called.id.name)) {
            continue;
        }
        for port in &called.ports {
            rows(snapshot, wanted, workload, called, port, &mut views);
        }
    }
    Some(views)
}

fn rows(
    snapshot: &Snapshot,
    wanted: &Wanted<'_>,
    workload: &Workload,
    service: &Service,
    port: &Port,
    views: &mut Vec<RouteView>,
) {
    let Some(destination) = address_of(service, port) else { return };
    let is_captured = snapshot.destination(destination).is_some_and(|behind| wanted.outbound(workload, &behind));
    let root = snapshot.space(service.space).root();
    let spaces = snapshot.spaces().filter(|space| space.root().is_some() && space.root() == root);
    let host = service.id.to_string();
    for header in std::iter::once(None).chain(spaces.map(|space| Some(&space.name))) {
        let query = Query {
            direction: Direction::Outbound,
            workload: &workload.name,
            destination,
            header: header.map(|name| name.as_bytes()),
            host: Some(host.as_bytes()),
            recalled: None,
            turn: 0,
        };
        let mut decision = decide(snapshot, &query);
        let reason = if is_captured { decision.reason.as_str() } else { NotRouted::OnlyCopy.as_str() };
        if !is_captured {
            decision.target = Target::Original;
        }
        views.push(RouteView {
            workload: workload.name.as_ref().to_owned(),
            service: host.clone(),
            port: port.port,
            destination,
            space: header.map(|name| name.as_ref().to_owned()),
            target: TargetView::new(&decision, Direction::Outbound, destination),
            chain: if is_captured { decision.chain().iter().collect() } else { Vec::new() },
            reason: reason.to_owned(),
        });
    }
}
