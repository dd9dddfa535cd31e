//! The agent's configuration file, built by tests. JSON is YAML, so that is what is written.
//!
//! [`Agent`](crate::Agent) writes it, [`Lab::expose`](crate::Lab::expose) makes the node agree with its services. It
//! never validates: tests of refused configurations need to write bad ones.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::cluster_ip::ClusterIp;
use crate::lab::Lab;
use crate::pod::Pod;

/// A configuration under construction.
#[derive(Debug, Clone)]
pub struct Config {
    root: Map<String, Value>,
    socket: PathBuf,
}

impl Config {
    /// Captures the laboratory's pods; the admin socket lies in its temporary directory. No spaces, services, workloads.
    pub fn new(lab: &Lab) -> Config {
        let socket = lab.temp().join("admin.sock");
        let mut config = Config { root: Map::new(), socket: socket.clone() };
        for list in ["spaces", "services", "workloads"] {
            config.root.insert(list.to_owned(), json!([]));
        }
        config.set("capture", "cgroup", json!(lab.pods_cgroup()));
        config.set("admin", "socket", json!(socket));
        // Machines that run tests are busy ones.
        config.set("capture", "heartbeat_timeout", "5s");
        config
    }

    /// Where the agent's admin socket will be.
    pub fn admin_socket(&self) -> &PathBuf {
        &self.socket
    }

    /// Adds a space.
    pub fn space(&mut self, name: &str, parent: Option<&str>) -> &mut Config {
        let space = match parent {
            Some(parent) => json!({ "name": name, "parent": parent }),
            None => json!({ "name": name }),
        };
        self.push("spaces", space)
    }

    /// Removes a space by name.
    pub fn remove_space(&mut self, name: &str) -> &mut Config {
        self.retain("spaces", |item| item["name"] != name)
    }

    /// Adds a service, or replaces the one of the same name and space.
    pub fn service(&mut self, service: &Service) -> &mut Config {
        self.remove_service(&service.space, &service.name);
        self.push("services", service.to_json())
    }

    /// Removes a service.
    pub fn remove_service(&mut self, space: &str, name: &str) -> &mut Config {
        self.retain("services", |item| item["name"] != name || item["space"] != space)
    }

    /// Adds a captured pod; a pod outside all trees has no space.
    pub fn workload(&mut self, pod: &Pod, space: Option<&str>) -> &mut Config {
        let mut workload = json!({
            "name": pod.name(),
            "netns": pod.netns().path(),
            "addresses": pod.addresses(),
        });
        if let Some(space) = space {
            workload["space"] = json!(space);
        }
        self.push("workloads", workload)
    }

    /// Says how the requests of a captured pod find their space again.
    pub fn propagate(&mut self, workload: &str, mode: &str) -> &mut Config {
        let all = self.root.get_mut("workloads").and_then(Value::as_array_mut);
        for item in all.into_iter().flatten().filter(|item| item["name"] == workload) {
            item["propagate"] = json!(mode);
        }
        self
    }

    /// Removes a captured pod by name.
    pub fn remove_workload(&mut self, name: &str) -> &mut Config {
        self.retain("workloads", |item| item["name"] != name)
    }

    /// Adds an item to a list as it is, valid or not.
    pub fn item(&mut self, list: &str, item: Value) -> &mut Config {
        self.push(list, item)
    }

    /// Sets one key of the items of that name in a list.
    pub fn amend(&mut self, list: &str, name: &str, key: &str, value: impl Into<Value>) -> &mut Config {
        let value = value.into();
        if let Some(Value::Array(items)) = self.root.get_mut(list) {
            items.iter_mut().filter(|item| item["name"] == name).for_each(|item| item[key] = value.clone());
        }
        self
    }

    /// Sets one key of a section (`routing`, `capture`, `proxy`, `admin`, `metrics`, `flows`).
    pub fn set(&mut self, section: &str, key: &str, value: impl Into<Value>) -> &mut Config {
        let section = self.root.entry(section).or_insert_with(|| json!({}));
        section[key] = value.into();
        self
    }

    /// Leaves one key of a section out.
    pub fn unset(&mut self, section: &str, key: &str) -> &mut Config {
        if let Some(Value::Object(section)) = self.root.get_mut(section) {
            section.remove(key);
        }
        self
    }

    /// The file's text.
    pub fn to_text(&self) -> String {
        format!("{:#}\n", Value::Object(self.root.clone()))
    }

    fn push(&mut self, list: &str, item: Value) -> &mut Config {
        if let Some(Value::Array(items)) = self.root.get_mut(list) {
            items.push(item);
        }
        self
    }

    fn retain(&mut self, list: &str, keep: impl Fn(&Value) -> bool) -> &mut Config {
        if let Some(Value::Array(items)) = self.root.get_mut(list) {
            items.retain(keep);
        }
        self
    }
}

/// A service, for the agent's configuration and for the node's ClusterIPs.
#[derive(Debug, Clone)]
pub struct Service {
    name: String,
    space: String,
    addresses: Vec<IpAddr>,
    ports: Vec<Port>,
    endpoints: Vec<(IpAddr, bool)>,
}

#[derive(Debug, Clone)]
struct Port {
    name: String,
    port: u16,
    target_port: u16,
    app_protocol: Option<String>,
}

impl Service {
    /// A service without addresses, ports and endpoints.
    pub fn new(name: &str, space: &str) -> Service {
        let (name, space) = (name.to_owned(), space.to_owned());
        Service { name, space, addresses: Vec::new(), ports: Vec::new(), endpoints: Vec::new() }
    }

    /// Adds a ClusterIP.
    #[must_use]
    pub fn address(mut self, address: impl Into<IpAddr>) -> Service {
        self.addresses.push(address.into());
        self
    }

    /// Adds a port, without a name if `name` is empty; `app_protocol` is what the owner declares (`http`, `tcp`, …).
    #[must_use]
    pub fn port(mut self, name: &str, port: u16, target_port: u16, app_protocol: Option<&str>) -> Service {
        let app_protocol = app_protocol.map(str::to_owned);
        self.ports.push(Port { name: name.to_owned(), port, target_port, app_protocol });
        self
    }

    /// Adds a pod behind it, with both addresses.
    #[must_use]
    pub fn endpoint(self, pod: &Pod) -> Service {
        pod.addresses().into_iter().fold(self, |service, address| service.endpoint_at(address, true))
    }

    /// Adds one address of a pod behind it.
    #[must_use]
    pub fn endpoint_at(mut self, address: IpAddr, ready: bool) -> Service {
        self.endpoints.push((address, ready));
        self
    }

    /// Its first ClusterIP and the first port, where a client would connect; `None` for a headless service.
    pub fn first_address(&self) -> Option<SocketAddr> {
        Some((*self.addresses.first()?, self.ports.first()?.port).into())
    }

    /// What the node translates: every ClusterIP and port, with the ready endpoints' target port.
    pub(crate) fn cluster_ips(&self) -> Vec<ClusterIp> {
        let mut all = Vec::new();
        for port in &self.ports {
            let ready = self.endpoints.iter().filter(|(_, ready)| *ready);
            let endpoints: Vec<_> = ready.map(|(address, _)| (*address, port.target_port)).collect();
            let one = |address: &IpAddr| ClusterIp { address: *address, port: port.port, endpoints: endpoints.clone() };
            all.extend(self.addresses.iter().map(one));
        }
        all
    }

    fn to_json(&self) -> Value {
        let ports: Vec<Value> = self.ports.iter().map(Port::to_json).collect();
        let endpoints: Vec<Value> =
            self.endpoints.iter().map(|(address, ready)| json!({ "address": address, "ready": ready })).collect();
        json!({
            "name": self.name,
            "space": self.space,
            "addresses": self.addresses,
            "ports": ports,
            "endpoints": endpoints,
        })
    }
}

impl Port {
    fn to_json(&self) -> Value {
        let mut port = json!({ "port": self.port, "target_port": self.target_port });
        if !self.name.is_empty() {
            port["name"] = json!(self.name);
        }
        if let Some(protocol) = &self.app_protocol {
            port["app_protocol"] = json!(protocol);
        }
        port
    }
}
