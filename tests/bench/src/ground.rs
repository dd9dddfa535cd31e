//! What the scenarios with an upstream stand on: a node, two pods to call from, and a service with a copy in a space.
//!
//! ```text
//!  pod `captured`  the agent's only workload: its cgroup has the hooks, its namespace the listeners
//!  pod `plain`     no agent: the direct connection, and the peers on its loopback address
//!  pod `upstream.default`, pod `upstream.azureuser`   nginx and the opaque server, each behind a ClusterIP
//! ```
//!
//! All ways lead to azureuser's copy: ours and the peers' by the route header of a call to default's, the direct one by
//! its own ClusterIP. What is not being measured runs but has nothing to do.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use interceptor_tests::{Agent, Config, Lab, Pod, Process, Service};
use serde_json::json;

use crate::upstream;

/// What normally takes milliseconds may take this long on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);
/// The route header that leads to azureuser's copy.
pub(crate) const ROUTE: &str = "azds-route-as: azureuser";
/// The port of the HTTP service.
pub(crate) const HTTP: u16 = 80;
/// The port of the opaque service, which is declared as such.
pub(crate) const OPAQUE: u16 = 9000;
/// The port of the HTTP/2 service.
pub(crate) const HTTP2: u16 = 82;
/// The port of an HTTP service of which nothing is declared.
pub(crate) const UNDECLARED: u16 = 81;
/// The root space and the one that derives from it.
pub(crate) const SPACES: [&str; 2] = ["default", "azureuser"];

/// A node with callers and upstreams, no agent yet.
#[derive(Debug)]
pub(crate) struct Ground {
    // First: programs end before what they run in.
    processes: Vec<Process>,
    /// The agent's configuration; [`Ground::agent`] starts with it as it stands.
    pub(crate) config: Config,
    pub(crate) captured: Pod,
    pub(crate) plain: Pod,
    /// Of [`SPACES`], in that order.
    pub(crate) upstreams: [Pod; 2],
    pub(crate) lab: Lab,
}

impl Ground {
    /// Lays it out; `name` tells it from others in listings.
    pub(crate) fn new(name: &str) -> Result<Ground> {
        let lab = Lab::new(&format!("bench-{name}"))?;
        let (captured, plain) = (lab.pod("captured")?, lab.pod("plain")?);
        let upstreams = [lab.pod("upstream.default")?, lab.pod("upstream.azureuser")?];
        for pod in [&captured, &plain] {
            widen_ports(pod)?;
        }
        let mut config = Config::new(&lab);
        // Only this pod's: nothing that the agent does is on the way of the others.
        config.set("capture", "cgroup", json!(captured.cgroup()));
        config.set("metrics", "address", "off");
        // The default is for a pod; here one pod makes what a whole node may have.
        config.set("proxy", "max_connections", 100_000);
        config.space("default", None).space("azureuser", Some("default"));
        config.workload(&captured, Some("default"));
        let mut ground = Ground { processes: Vec::new(), config, captured, plain, upstreams, lab };
        for n in 0..SPACES.len() {
            let service = ground.service_of(n)?;
            ground.lab.expose(&service)?;
            ground.config.service(&service);
        }
        for n in 0..SPACES.len() {
            let process = upstream::nginx(&ground.lab, ground.upstream(n)?)?;
            ground.processes.push(process);
        }
        Ok(ground)
    }

    /// Starts the agent with the configuration as it stands.
    pub(crate) fn agent(&self) -> Result<Agent> {
        Agent::start_deployed(&self.lab, &self.config).context("starting the agent")
    }

    /// Keeps a program running until the end.
    pub(crate) fn keep(&mut self, process: Process) {
        self.processes.push(process);
    }

    /// The pod with the copy of a space, by its place in [`SPACES`].
    pub(crate) fn upstream(&self, n: usize) -> Result<&Pod> {
        self.upstreams.get(n).context("there are two spaces")
    }

    /// The service of a space's copy, by its place in [`SPACES`].
    pub(crate) fn service_of(&self, n: usize) -> Result<Service> {
        let space = SPACES.get(n).context("there are two spaces")?;
        let [http, opaque, undeclared] = [upstream::HTTP, upstream::OPAQUE, upstream::HTTP];
        let http2 = upstream::HTTP2;
        Ok(Service::new("upstream", space)
            .address(cluster_ip(n))
            .port("http", HTTP, http, Some("http"))
            .port("opaque", OPAQUE, opaque, Some("tcp"))
            .port("http2", HTTP2, http2, Some("kubernetes.io/h2c"))
            .port("undeclared", UNDECLARED, undeclared, None)
            .endpoint(self.upstream(n)?))
    }
}

/// A port of the ClusterIP of a space's copy, by its place in [`SPACES`].
pub(crate) fn service(n: usize, port: u16) -> SocketAddr {
    (cluster_ip(n), port).into()
}

fn cluster_ip(n: usize) -> IpAddr {
    let last = u8::try_from(n).map_or(u8::MAX, |n| n.saturating_add(11));
    Ipv4Addr::new(10, 96, 0, last).into()
}

/// Room for many thousands of connections to one address, for every subject the same: more ports, and those that wait out
/// a connection can be used again after a second.
fn widen_ports(pod: &Pod) -> Result<()> {
    pod.netns().run(|| {
        for (name, value) in [("ip_local_port_range", "20000 65535"), ("tcp_tw_reuse", "1")] {
            let path = format!("/proc/sys/net/ipv4/{name}");
            fs::write(&path, value).with_context(|| format!("writing {path}"))?;
        }
        Ok(())
    })
}
