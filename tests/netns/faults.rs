//! Faults of the network, of upstreams and of what the agent stands on (docs/specification.md).
//!
//! `link`: packets that are late, lost or in the wrong order. `upstream`: servers that misbehave. `endpoints`: copies of
//! which a part is dead. `resources`: nothing is left of something. `clock` and `log`: what every program takes for granted.

mod clock;
mod endpoints;
mod link;
mod log;
mod resources;
mod upstream;

use interceptor_tests::{Pod, Service};
use serde_json::Value;

use crate::crash::OK;
use crate::wire::{UNDECLARED, Wire};

/// A request to the original destination, and one to the copy of the space `azureuser`.
const GET: &str = "GET /plain HTTP/1.1\r\nHost: peer\r\n\r\n";
const GET_COPY: &str = "GET /copy HTTP/1.1\r\nHost: peer\r\nazds-route-as: azureuser\r\n\r\n";

/// The copy of `peer` in `azureuser`, without endpoints.
fn copy() -> Service {
    Service::new("peer", "azureuser").port("any", UNDECLARED.0, UNDECLARED.1, None)
}

/// A wire with a second pod, behind the copy of `peer` in `azureuser`.
fn with_copy(name: &str, settings: &[(&str, &str, Value)]) -> (Wire, Pod) {
    let mut pod = None;
    let wire = Wire::with_lab(name, |lab, config| {
        let other = lab.pod("copy").unwrap();
        config.space("azureuser", Some("default")).service(&copy().endpoint(&other));
        for (section, key, value) in settings {
            config.set(section, key, value.clone());
        }
        pod = Some(other);
    });
    (wire, pod.unwrap())
}

/// The records of requests, the latest last.
fn requests(wire: &Wire) -> Vec<Value> {
    wire.agent.flows(&["--kind", "request"]).unwrap()
}
