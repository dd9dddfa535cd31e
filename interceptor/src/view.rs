//! Spaces, services, workloads and routes as the admin API shows them: the serde forms, and how a snapshot becomes them.
//!
//! Pure. The admin socket writes each as a line of JSON, the CLI reads the same types back for its tables. Names are stable.

mod routes;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

pub use routes::{RouteView, routes};

use crate::config::NetnsRef;
use crate::snapshot::{Service, Snapshot, Space, SpaceId};
use crate::status::{StatusBoard, WorkloadState};
use crate::wanted::{Calls, Wanted};

/// A space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceView {
    /// Its name.
    pub name: String,
    /// The space that it derives from.
    pub parent: Option<String>,
    /// The root of its tree; `None` where the space is at fault.
    pub root: Option<String>,
    /// The spaces that a request of it tries, in order.
    pub chain: Vec<String>,
    /// Why it cannot be used.
    pub fault: Option<String>,
    /// Services in it.
    pub services: usize,
    /// Captured workloads in it.
    pub workloads: usize,
}

/// A service of one space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceView {
    /// Its name.
    pub name: String,
    /// The space that it lives in.
    pub space: String,
    /// Its virtual addresses.
    pub addresses: Vec<IpAddr>,
    /// Its ports.
    pub ports: Vec<PortView>,
    /// Its endpoints, ready or not.
    pub endpoints: usize,
    /// Whether every port has a ready endpoint.
    pub ready: bool,
    /// Whose calls to it are captured.
    pub captured_calls: Calls,
}

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortView {
    /// Its name; may be empty.
    pub name: String,
    /// Its number.
    pub port: u16,
    /// The protocol as declared.
    pub app_protocol: Option<String>,
    /// Ready endpoints.
    pub ready: Vec<SocketAddr>,
}

/// A captured pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadView {
    /// Its name.
    pub name: String,
    /// The space that it lives in, as the source says; also where that one is at fault.
    pub space: Option<String>,
    /// Whether that space can be used.
    pub space_usable: bool,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its network namespace: a path, or `pid N`.
    pub netns: String,
    /// Its own cgroup.
    pub cgroup: Option<String>,
    /// How its requests find their space again: `off`, `trace`, `single-flight` or `thread`.
    pub propagate: String,
    /// Whether it is intercepted.
    pub state: WorkloadState,
    /// Why not.
    pub detail: String,
}

/// All spaces: each tree from its root on, those at fault last.
pub fn spaces(snapshot: &Snapshot) -> Vec<SpaceView> {
    let mut services: HashMap<SpaceId, usize> = HashMap::new();
    for service in snapshot.services() {
        *services.entry(service.space).or_default() += 1;
    }
    let count = |space: &Space| snapshot.space_named(&space.name).and_then(|id| services.get(&id)).copied();
    snapshot.spaces().map(|space| space_view(snapshot, space, count(space).unwrap_or_default())).collect()
}

fn space_view(snapshot: &Snapshot, space: &Space, services: usize) -> SpaceView {
    let name = |id| snapshot.space(id).name.as_ref().to_owned();
    let workloads = snapshot.workloads().filter(|workload| workload.space_name.as_ref() == Some(&space.name));
    SpaceView {
        name: space.name.as_ref().to_owned(),
        parent: space.parent.as_deref().map(str::to_owned),
        root: space.root().map(name),
        chain: space.chain.iter().copied().map(name).collect(),
        fault: space.fault.as_ref().map(ToString::to_string),
        services,
        workloads: workloads.count(),
    }
}

/// All services by name, copies of one name together.
pub fn services(snapshot: &Snapshot, wanted: &Wanted<'_>) -> Vec<ServiceView> {
    let services = snapshot.services_in_order().into_iter();
    services.map(|service| service_view(service, wanted.calls(service))).collect()
}

fn service_view(service: &Service, captured_calls: Calls) -> ServiceView {
    let ports = service.ports.iter().map(|port| PortView {
        name: port.name.as_ref().to_owned(),
        port: port.port,
        app_protocol: port.app_protocol.as_deref().map(str::to_owned),
        ready: port.ready().collect(),
    });
    ServiceView {
        name: service.id.name.as_ref().to_owned(),
        space: service.id.space.as_ref().to_owned(),
        addresses: service.addresses.clone(),
        ports: ports.collect(),
        endpoints: service.endpoints,
        ready: service.ports.iter().all(crate::snapshot::Port::is_ready),
        captured_calls,
    }
}

/// All workloads, by name.
pub fn workloads(snapshot: &Snapshot, status: &StatusBoard) -> Vec<WorkloadView> {
    let mut views: Vec<_> = snapshot
        .workloads()
        .map(|workload| {
            let state = status.workload(&workload.name);
            let (state, detail) = state.unwrap_or((WorkloadState::Pending, "not looked at yet".to_owned()));
            WorkloadView {
                name: workload.name.as_ref().to_owned(),
                space: workload.space_name.as_deref().map(str::to_owned),
                space_usable: workload.space.is_some(),
                addresses: workload.addresses.clone(),
                netns: match &workload.netns {
                    NetnsRef::Path(path) => path.display().to_string(),
                    NetnsRef::Pid(pid) => format!("pid {pid}"),
                    NetnsRef::Pod(uid) => format!("pod {uid}"),
                },
                cgroup: workload.cgroup.as_ref().map(|path| path.display().to_string()),
                propagate: snapshot.propagate_mode(workload).as_str().to_owned(),
                state,
                detail,
            }
        })
        .collect();
    views.sort_by(|a, b| a.name.cmp(&b.name));
    views
}

#[cfg(test)]
mod tests;
