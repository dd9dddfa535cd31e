//! What is deployed, as the agent's configuration has it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use interceptor_tests::{Config, Service};

use crate::scene::{PORTS, SUFFIX, Scene};
use crate::truth::Truth;

/// `proxy.drain_timeout` and `capture.heartbeat_timeout` of the agent.
pub(crate) const DRAIN: Duration = Duration::from_secs(6);
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(2);

/// How a copy is taken out of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absence {
    /// Its endpoints are not ready.
    Unready,
    /// It has no endpoints.
    Empty,
    /// There is no such service.
    Gone,
}

/// What is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deployed {
    pub(crate) truth: Truth,
    /// How alice's and bob's copies are not there, when they are not.
    pub(crate) absence: Absence,
    pub(crate) visitor: bool,
}

impl Deployed {
    /// The configuration for it.
    pub(crate) fn config(&self, scene: &Scene) -> Config {
        let mut config = Config::new(&scene.lab);
        config.set("capture", "heartbeat_timeout", format!("{}s", HEARTBEAT.as_secs()));
        config.set("proxy", "drain_timeout", format!("{}s", DRAIN.as_secs()));
        config.set("routing", "ingress_suffixes", vec![SUFFIX]);
        // Full within seconds, so that what grows afterwards is a leak.
        config.set("flows", "capacity", 500);
        config.set("propagate", "grace", "2s");
        config.space("default", None).space("alice", Some("default")).space("bob", Some("alice"));
        config.space("dave", Some("default")).space("shop", None);
        if self.truth.carol {
            config.space("carol", Some("default"));
        }
        for (space, pod) in &scene.copies {
            let there = match *space {
                "alice" => self.truth.alice,
                "bob" => self.truth.bob,
                // Nothing of a space that is not there.
                "carol" if !self.truth.carol => continue,
                _ => true,
            };
            config.workload(pod, Some(space));
            let service = service("echo", space);
            match (there, self.absence) {
                (true, _) => _ = config.service(&service.endpoint(pod)),
                (false, Absence::Gone) => {}
                (false, Absence::Empty) => _ = config.service(&service),
                (false, Absence::Unready) => {
                    let unready = pod.addresses().into_iter().fold(service, |all, one| all.endpoint_at(one, false));
                    config.service(&unready);
                }
            }
        }
        if self.truth.dave {
            config.workload(&scene.dave, Some("dave")).service(&service("echo", "dave").endpoint(&scene.dave));
        }
        config.workload(&scene.front, Some("default"));
        config.service(&service("front", "default").endpoint(&scene.front));
        for (pod, space) in &scene.callers {
            config.workload(pod, *space);
        }
        if self.visitor {
            config.workload(&scene.visitor, Some("alice"));
        }
        config
    }
}

/// A service with its ClusterIPs and ports, without endpoints.
pub(crate) fn service(name: &str, space: &str) -> Service {
    let [v4, v6] = addresses(name, space);
    let service = Service::new(name, space).address(v4).address(v6);
    PORTS.into_iter().fold(service, |all, (name, port, target, protocol)| all.port(name, port, target, protocol))
}

/// The ClusterIPs of a service.
pub(crate) fn addresses(name: &str, space: &str) -> [IpAddr; 2] {
    let number = match (name, space) {
        ("front", _) => 20,
        (_, "alice") => 11,
        (_, "bob") => 12,
        (_, "carol") => 13,
        (_, "dave") => 14,
        _ => 10,
    };
    [Ipv4Addr::new(10, 96, 0, number).into(), Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, number.into()).into()]
}
