//! Whether the parts of a file fit together: names that repeat, references to nothing, spaces without a place.
//!
//! [`parse`](super::parse) calls [`check`] after all values have been read, on plain specs; the place of a complaint is looked
//! up by its path. Values that could not be read are skipped, as each has been reported.

use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};
use std::fmt::Display;
use std::hash::Hash;
use std::net::IpAddr;

use super::cursor::Cursor;
use super::error::Kind;
use super::path::{Path, quoted};
use super::suggest::{closest, did_you_mean};
use super::topology::{NETNS_KEYS, Unreadable};
use super::tree::{SpaceFault, space_faults};
use super::{Carrier, Config, ServiceSpec};

/// Reports everything that does not fit.
pub(super) fn check(config: &Config, root: &Cursor<'_>) {
    let spaces = &config.topology.spaces;
    let check = Check {
        config,
        root,
        spaces: spaces.iter().map(|space| space.name.as_str()).collect(),
        spaces_readable: spaces.iter().all(|s| s.name.is_readable() && s.parent.iter().all(String::is_readable)),
    };
    check.spaces();
    check.services();
    check.workloads();
    check.injected();
}

struct Check<'a> {
    config: &'a Config,
    root: &'a Cursor<'a>,
    spaces: HashSet<&'a str>,
    /// Otherwise nothing can be said about what a space's name refers to.
    spaces_readable: bool,
}

/// Values that may be there once, and where each was first.
struct Once<'c, T> {
    check: &'c Check<'c>,
    first: HashMap<T, Path>,
}

impl<T: Eq + Hash> Once<'_, T> {
    /// Reports `path` if `value` was there before; `what` names the value.
    fn add(&mut self, value: T, path: Path, what: impl Display) {
        match self.first.entry(value) {
            Entry::Occupied(first) => {
                let line = self.check.root.node.position(first.get()).line;
                self.check.error(&path, format!("{what} is there already: {} in line {line}", first.get()), None);
            }
            Entry::Vacant(place) => {
                place.insert(path);
            }
        }
    }
}

impl<'a> Check<'a> {
    fn once<T>(&'a self) -> Once<'a, T> {
        Once { check: self, first: HashMap::new() }
    }

    fn list(&self, name: &str) -> Path {
        self.root.path.key(name)
    }

    fn error(&self, path: &Path, message: String, hint: Option<String>) {
        self.root.report.error(Kind::Reference, self.root.node.position(path), path, message, hint);
    }

    fn spaces(&self) {
        let spaces = &self.config.topology.spaces;
        let mut names = self.once();
        for (index, space) in spaces.iter().enumerate().filter(|(_, space)| space.name.is_readable()) {
            names.add(
                &space.name,
                self.list("spaces").index(index).key("name"),
                format_args!("space {}", quoted(&space.name)),
            );
        }
        if !self.spaces_readable {
            return;
        }
        for (index, fault) in space_faults(spaces) {
            let path = self.list("spaces").index(index).key("parent");
            let message = format!("space {} cannot be used: {fault}", quoted(&spaces[index].name));
            let hint = match &fault {
                SpaceFault::UnknownParent { parent, .. } => self.similar_space(parent),
                _ => None,
            };
            let at = self.root.node.position(&path);
            self.root.report.warning(Kind::Space, at, &path, message, hint);
        }
    }

    fn services(&self) {
        let mut names = self.once();
        let mut virtuals = self.once();
        for (index, service) in self.config.topology.services.iter().enumerate() {
            let path = self.list("services").index(index);
            if service.name.is_readable() && service.space.is_readable() {
                let what = format!("service {} of space {}", quoted(&service.name), quoted(&service.space));
                names.add((&service.name, &service.space), path.key("name"), what);
            }
            self.known_space(&service.space, &path.key("space"));
            self.ports(service, &path);
            self.virtual_addresses(service, &path, &mut virtuals);
        }
    }

    fn ports(&self, service: &ServiceSpec, path: &Path) {
        let (mut names, mut numbers) = (self.once(), self.once());
        for (index, port) in service.ports.iter().enumerate() {
            let path = path.key("ports").index(index);
            if port.name.is_readable() {
                names.add(&port.name, path.key("name"), format_args!("port name {}", quoted(&port.name)));
            } else if service.ports.len() > 1 && self.lacks(&path.key("name")) {
                let message = "a port needs a name when its service has several".to_owned();
                self.error(&path, message, None);
            }
            if port.port.is_readable() {
                numbers.add(port.port, path.key("port"), format_args!("port {}", port.port));
            }
        }
        let known = || service.ports.iter().map(|port| port.name.as_str());
        for (index, endpoint) in service.endpoints.iter().enumerate() {
            for (name, _) in endpoint.ports.iter().filter(|(name, _)| !known().any(|port| port == name)) {
                let path = path.key("endpoints").index(index).key("ports").key(name);
                let message = format!("the service has no port with the name {}", quoted(name));
                self.error(&path, message, closest(name, known()).map(did_you_mean));
            }
        }
    }

    fn virtual_addresses(&self, service: &ServiceSpec, path: &Path, virtuals: &mut Once<'_, (IpAddr, u16)>) {
        let mut own = self.once();
        for (index, &address) in service.addresses.iter().enumerate().filter(|(_, address)| address.is_readable()) {
            let path = path.key("addresses").index(index);
            // A repeated address or port is reported as such, not once more for each pair that it is part of.
            if own.first.contains_key(&address) {
                own.add(address, path, format_args!("address {address}"));
                continue;
            }
            own.add(address, path.clone(), "");
            let mut numbers: Vec<u16> =
                service.ports.iter().map(|port| port.port).filter(Unreadable::is_readable).collect();
            numbers.sort_unstable();
            numbers.dedup();
            for port in numbers {
                let what = format!("address {address} with port {port}");
                virtuals.add((address, port), path.clone(), what);
            }
        }
    }

    fn workloads(&self) {
        let (mut names, mut addresses, mut namespaces) = (self.once(), self.once(), self.once());
        for (index, workload) in self.config.topology.workloads.iter().enumerate() {
            let path = self.list("workloads").index(index);
            if workload.name.is_readable() {
                names.add(&workload.name, path.key("name"), format_args!("workload {}", quoted(&workload.name)));
            }
            if let Some(space) = &workload.space {
                self.known_space(space, &path.key("space"));
            }
            if workload.netns.is_readable() {
                let key = NETNS_KEYS.into_iter().find(|key| !self.lacks(&path.key(key))).unwrap_or("netns");
                namespaces.add(&workload.netns, path.key(key), "this network namespace");
            }
            for (index, &address) in workload.addresses.iter().enumerate().filter(|(_, a)| a.is_readable()) {
                addresses.add(address, path.key("addresses").index(index), format_args!("address {address}"));
            }
            // A pod's cgroup is found together with its namespace.
            if workload.cgroup.is_none()
                && self.lacks(&path.key("pod_uid"))
                && self.config.capture.cgroup.is_none()
                && self.lacks(&self.list("capture").key("cgroup"))
            {
                let message =
                    "the workload has no \"cgroup\", and there is no \"capture.cgroup\" above all workloads".to_owned();
                self.error(&path, message, None);
            }
        }
    }

    /// What is added has to be read by the next agent, and found missing by this one.
    fn injected(&self) {
        let routing = &self.config.routing;
        for (index, carrier) in routing.inject.iter().flatten().enumerate() {
            let path = self.list("routing").key("inject").index(index);
            if matches!(carrier, Carrier::Tracestate(_)) {
                let message = format!("{carrier} cannot be added: tracestate belongs to the tracers that write it");
                self.error(&path, message, Some("add a header or a baggage member".to_owned()));
            } else if !routing.route_headers.contains(carrier) {
                let message = format!("{carrier} is added, but not read: it is not among routing.route_headers");
                self.error(&path, message, Some("add it there".to_owned()));
            }
        }
    }

    fn known_space(&self, space: &String, path: &Path) {
        // With a space whose own name could not be read, that may be the one that was meant.
        if space.is_readable() && self.spaces_readable && !self.spaces.contains(space.as_str()) {
            let message = format!("there is no space {}", quoted(space));
            self.error(path, message, self.similar_space(space));
        }
    }

    fn similar_space(&self, name: &str) -> Option<String> {
        closest(name, self.config.topology.spaces.iter().map(|space| space.name.as_str())).map(did_you_mean)
    }

    /// Whether the text has no such key, as opposed to one whose value could not be read.
    fn lacks(&self, path: &Path) -> bool {
        !self.root.node.has(path)
    }
}
