//! Spaces, services and workloads, item by item.
//!
//! [`parse`](super::parse) calls [`topology`] once. Every item of a list yields a spec, also one that is wrong: it then
//! holds an empty value ([`Unreadable`]) that no file can hold, so that indices stay those of the file and the cross
//! checks still see all the rest. Such a topology is never handed out, its error has been reported.

use std::net::{IpAddr, Ipv4Addr};

use super::cursor::{Cursor, Entry, Fields};
use super::defaults::PID_BOUNDS;
use super::error::Kind;
use super::settings::propagate_mode;
use super::{EndpointSpec, NetnsRef, PortSpec, ServiceSpec, SpaceSpec, Topology, WorkloadSpec};

/// What stands for a value that could not be read; the readers accept none of these from a file.
pub(super) trait Unreadable: PartialEq + Sized {
    /// The stand-in.
    const UNREADABLE: Self;

    /// Whether the file gave this value.
    fn is_readable(&self) -> bool {
        *self != Self::UNREADABLE
    }
}

impl Unreadable for String {
    const UNREADABLE: Self = String::new();
}

impl Unreadable for u16 {
    const UNREADABLE: Self = 0;
}

impl Unreadable for IpAddr {
    const UNREADABLE: Self = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
}

impl Unreadable for NetnsRef {
    const UNREADABLE: Self = NetnsRef::Pid(0);
}

fn readable<T: Unreadable>(value: Option<T>) -> T {
    value.unwrap_or(T::UNREADABLE)
}

/// The keys that give a workload's network namespace: exactly one of them.
pub(super) const NETNS_KEYS: [&str; 3] = ["netns", "pid", "pod_uid"];

/// Reads the three lists.
pub(super) fn topology(root: &Fields<'_>) -> Topology {
    Topology {
        spaces: root.list("spaces", |item| space(&item)),
        services: root.list("services", |item| service(&item)),
        workloads: root.list("workloads", |item| workload(&item)),
    }
}

fn space(item: &Cursor<'_>) -> SpaceSpec {
    let fields = item.fields();
    let (name, parent) = (name(&fields), optional_name(&fields, "parent"));
    let propagate = fields.get("propagate").and_then(|word| propagate_mode(&word));
    let spec = SpaceSpec { name, parent, propagate };
    fields.finish();
    spec
}

fn service(item: &Cursor<'_>) -> ServiceSpec {
    let fields = item.fields();
    let spec = ServiceSpec {
        name: name(&fields),
        space: readable(fields.required("space").and_then(|space| space.name())),
        addresses: fields.list("addresses", |item| readable(item.address())),
        ports: at_least_one(&fields, "ports", |item| port(&item)),
        endpoints: fields.list("endpoints", |item| endpoint(&item)),
        endpoints_are_destinations: true,
    };
    fields.finish();
    spec
}

fn port(item: &Cursor<'_>) -> PortSpec {
    let fields = item.fields();
    let port = readable(fields.required("port").and_then(|port| port.port()));
    let spec = PortSpec {
        name: optional_name(&fields, "name").unwrap_or_default(),
        port,
        target_port: fields.get("target_port").map_or(port, |port| readable(port.port())),
        app_protocol: fields.get("app_protocol").and_then(|text| text.non_empty()),
    };
    fields.finish();
    spec
}

fn endpoint(item: &Cursor<'_>) -> EndpointSpec {
    let fields = item.fields();
    let mut spec = EndpointSpec {
        address: readable(fields.required("address").and_then(|address| address.address())),
        ready: true,
        ports: Vec::new(),
    };
    fields.set("ready", &mut spec.ready, Cursor::boolean);
    if let Some(ports) = fields.get("ports").filter(|ports| !ports.node.is_null()) {
        let port = |entry: Entry<'_>| (entry.name.to_owned(), readable(entry.value.port()));
        spec.ports = ports.entries().into_iter().map(port).collect();
    }
    fields.finish();
    spec
}

fn workload(item: &Cursor<'_>) -> WorkloadSpec {
    let fields = item.fields();
    let spec = WorkloadSpec {
        name: name(&fields),
        space: optional_name(&fields, "space"),
        netns: readable(netns(&fields)),
        cgroup: fields.get("cgroup").map(|path| path.absolute_path().unwrap_or_default()),
        addresses: at_least_one(&fields, "addresses", |item| readable(item.address())),
        propagate: fields.get("propagate").and_then(|word| propagate_mode(&word)),
    };
    fields.finish();
    spec
}

fn netns(fields: &Fields<'_>) -> Option<NetnsRef> {
    let given: Vec<_> = NETNS_KEYS.iter().filter_map(|key| Some((*key, fields.get(key)?))).collect();
    match given.as_slice() {
        [("netns", path)] => path.absolute_path().map(NetnsRef::Path),
        [("pid", pid)] => pid.number(PID_BOUNDS).map(NetnsRef::Pid),
        [(_, uid)] => uid.pod_uid().map(NetnsRef::Pod),
        [(first, _), more @ ..] => {
            for (_, other) in more {
                let hint = Some("remove one of the two".to_owned());
                other.error(Kind::Key, format!("the network namespace is given by \"{first}\" already"), hint);
            }
            None
        }
        [] => {
            fields.missing("one of the keys \"netns\", \"pid\" and \"pod_uid\" is missing");
            None
        }
    }
}

fn name(fields: &Fields<'_>) -> String {
    readable(fields.required("name").and_then(|name| name.name()))
}

fn optional_name(fields: &Fields<'_>, key: &str) -> Option<String> {
    fields.get(key).map(|name| readable(name.name()))
}

fn at_least_one<T>(fields: &Fields<'_>, key: &str, read: impl FnMut(Cursor<'_>) -> T) -> Vec<T> {
    if let Some(list) = fields.required(key).filter(Cursor::is_empty_list) {
        list.error(Kind::Value, "at least one is needed".to_owned(), None);
    }
    fields.list(key, read)
}
