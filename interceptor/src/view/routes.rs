//! Where every space leads a workload's calls: one row per service, port and space, decided by the code that routes.

use std::collections::HashSet;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::explain::{TargetView, address_of, by_short_name};
use crate::route::{Direction, Query, Step, decide};
use crate::snapshot::{Port, Service, Snapshot};

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
/// address are left out: nobody can call them.
///
/// `None` where there is no such workload.
pub fn routes(snapshot: &Snapshot, workload: &str) -> Option<Vec<RouteView>> {
    let space = snapshot.workload(workload)?.space;
    let mut seen = HashSet::new();
    let mut views = Vec::new();
    for service in snapshot.services_in_order() {
        let own = space.and_then(|space| by_short_name(snapshot, space, &service.id.name));
        let root = |service: &Service| snapshot.space(service.space).root();
        let called = own.filter(|own| root(own) == root(service)).unwrap_or(service);
        if !seen.insert((root(called), &called.id.name)) {
            continue;
        }
        for port in &called.ports {
            rows(snapshot, workload, called, port, &mut views);
        }
    }
    Some(views)
}

fn rows(snapshot: &Snapshot, workload: &str, service: &Service, port: &Port, views: &mut Vec<RouteView>) {
    let Some(destination) = address_of(service, port) else { return };
    let root = snapshot.space(service.space).root();
    let spaces = snapshot.spaces().filter(|space| space.root().is_some() && space.root() == root);
    let host = service.id.to_string();
    for header in std::iter::once(None).chain(spaces.map(|space| Some(&space.name))) {
        let query = Query {
            direction: Direction::Outbound,
            workload,
            destination,
            header: header.map(|name| name.as_bytes()),
            host: Some(host.as_bytes()),
            turn: 0,
        };
        let decision = decide(snapshot, &query);
        views.push(RouteView {
            workload: workload.to_owned(),
            service: host.clone(),
            port: port.port,
            destination,
            space: header.map(|name| name.as_ref().to_owned()),
            target: TargetView::new(&decision, Direction::Outbound, destination),
            chain: decision.chain().iter().collect(),
            reason: decision.reason.as_str().to_owned(),
        });
    }
}
