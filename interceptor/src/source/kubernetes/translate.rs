//! From objects of the API to what a snapshot is made of. Pure: the same objects always give the same specs.
//!
//! [`world`](super::world) calls it for what has changed. The rules are those that kube-proxy and the API's own
//! documentation go by; where an object says something that cannot be used, the answer is a [`Trouble`] and nothing of it
//! is captured.

use std::net::IpAddr;

use super::objects::{Endpoint, Namespace, Pod, Service, ServicePort, Slice};
use crate::config::{EndpointSpec, NetnsRef, PodUid, PortSpec, PropagateMode, ServiceSpec, SpaceSpec, WorkloadSpec};
use crate::discovery::{PodFacts, Skip, Verdict, decide};

/// Something that people should mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// A label that says neither yes nor no.
    #[error("namespace {namespace}: the label azds.io/space is {value:?}; write \"true\" to make it a space")]
    SpaceLabel {
        /// The namespace.
        namespace: Box<str>,
        /// What the label says.
        value: Box<str>,
    },
    /// A parent, but no space.
    #[error(
        "namespace {namespace} has the label azds.io/parent-space, but is no space; \
         add the label azds.io/space: \"true\""
    )]
    ParentOnly {
        /// The namespace.
        namespace: Box<str>,
    },
    /// An annotation that is none of the words.
    #[error(
        "service {service}.{space}: the annotation interceptor.azds.io/headless is {value:?}; write \"route\" or remove it"
    )]
    HeadlessAnnotation {
        /// The service.
        service: Box<str>,
        /// Its space.
        space: Box<str>,
        /// What the annotation says.
        value: Box<str>,
    },
    /// Another annotation that is none of the words.
    #[error(
        "{what}: the annotation interceptor.azds.io/propagate is {value:?}; \
         write \"off\", \"trace\", \"single-flight\" or \"thread\", or remove it"
    )]
    PropagateAnnotation {
        /// The namespace or pod.
        what: Box<str>,
        /// What the annotation says.
        value: Box<str>,
    },
    /// Endpoints that have no address.
    #[error("service {service}.{space}: {count} endpoints have no IP address of a machine and are left out")]
    Addressless {
        /// The service.
        service: Box<str>,
        /// Its space.
        space: Box<str>,
        /// How many.
        count: u32,
    },
    /// A pod that should be captured and cannot be.
    #[error("pod {pod}: not captured: {skip}")]
    Pod {
        /// The pod, with its namespace.
        pod: Box<str>,
        /// Why.
        skip: Skip,
    },
}

/// The space that a namespace is.
pub(super) fn space(namespace: &Namespace) -> (Option<SpaceSpec>, Option<Trouble>) {
    let name = || namespace.name.clone();
    match namespace.space.as_deref() {
        Some("true") => {
            let parent = namespace.parent.as_deref().map(str::to_owned);
            let (mode, trouble) = propagate(namespace.propagate.as_deref(), || format!("namespace {}", namespace.name));
            (Some(SpaceSpec { name: namespace.name.to_string(), parent, propagate: mode }), trouble)
        }
        None if namespace.parent.is_some() => (None, Some(Trouble::ParentOnly { namespace: name() })),
        None | Some("false") => (None, None),
        Some(value) => (None, Some(Trouble::SpaceLabel { namespace: name(), value: value.into() })),
    }
}

/// What an annotation says of how requests find their space again. One that is no word says nothing.
fn propagate(word: Option<&str>, whose: impl FnOnce() -> String) -> (Option<PropagateMode>, Option<Trouble>) {
    let Some(word) = word else { return (None, None) };
    let mode = PropagateMode::from_word(word);
    let trouble = || Trouble::PropagateAnnotation { what: whose().into(), value: word.into() };
    (mode, mode.is_none().then(trouble))
}

/// What is wrong with a captured pod's annotations.
pub(super) fn pod_trouble(pod: &Pod) -> Option<Trouble> {
    propagate(pod.propagate.as_deref(), || format!("pod {}", workload_name(pod))).1
}

/// A service with its endpoints. One that has nothing to route (ExternalName, no TCP port) keeps its name only.
pub(super) fn service<'s>(
    service: &Service,
    slices: impl Iterator<Item = &'s Slice> + Clone,
) -> (ServiceSpec, Vec<Trouble>) {
    let mut troubles = Vec::new();
    if service.external || service.ports.is_empty() {
        // Nothing to route to, but its name is taken: DNS must not answer with an ancestor's service in its place.
        let spec = ServiceSpec {
            name: service.key.name.to_string(),
            space: service.key.namespace.to_string(),
            addresses: Vec::new(),
            ports: Vec::new(),
            endpoints: Vec::new(),
            endpoints_are_destinations: false,
        };
        return (spec, troubles);
    }
    let whose = || (service.key.name.clone(), service.key.namespace.clone());
    let endpoints_are_destinations = match service.headless.as_deref() {
        // A headless service's clients dial its pods by address, often as members of a cluster that must not be mixed up.
        None => !service.addresses.is_empty(),
        Some("route") => true,
        Some(value) => {
            let (service, space) = whose();
            troubles.push(Trouble::HeadlessAnnotation { service, space, value: value.into() });
            false
        }
    };
    let count = slices.clone().fold(0, |sum: u32, slice| sum.saturating_add(slice.unusable));
    if count > 0 {
        let (service, space) = whose();
        troubles.push(Trouble::Addressless { service, space, count });
    }
    let ports: Vec<PortSpec> = service.ports.iter().map(|port| port_spec(port, slices.clone())).collect();
    let spec = ServiceSpec {
        name: service.key.name.to_string(),
        space: service.key.namespace.to_string(),
        addresses: service.addresses.to_vec(),
        endpoints: endpoints(&ports, slices),
        ports,
        endpoints_are_destinations,
    };
    (spec, troubles)
}

fn port_spec<'s>(port: &ServicePort, mut slices: impl Iterator<Item = &'s Slice>) -> PortSpec {
    // What most endpoints have; those that differ say so themselves.
    let of_slices = slices.find_map(|slice| number(slice, &port.name));
    PortSpec {
        name: port.name.to_string(),
        port: port.port,
        target_port: of_slices.or(port.target).unwrap_or(port.port),
        app_protocol: port.app_protocol.as_deref().map(str::to_owned),
    }
}

fn number(slice: &Slice, name: &str) -> Option<u16> {
    slice.ports.iter().find(|(own, _)| **own == *name).map(|(_, number)| *number)
}

fn endpoints<'s>(ports: &[PortSpec], slices: impl Iterator<Item = &'s Slice>) -> Vec<EndpointSpec> {
    let mut found: Vec<(Endpoint, Vec<(String, u16)>)> = Vec::new();
    for slice in slices.filter(|slice| !slice.endpoints.is_empty()) {
        // 0 where the endpoints of this slice do not have the port.
        let differing = ports.iter().filter_map(|port| {
            let own = number(slice, &port.name).unwrap_or(0);
            (own != port.target_port).then(|| (port.name.clone(), own))
        });
        let differing: Vec<(String, u16)> = differing.collect();
        found.extend(slice.endpoints.iter().map(|endpoint| (*endpoint, differing.clone())));
    }
    // While an endpoint moves from one slice to another it is in both: the one that is ready counts.
    found.sort_by(|(a, own), (b, other)| {
        let order = |endpoint: &Endpoint| (!endpoint.ready, !endpoint.last_resort);
        (a.address, own, order(a)).cmp(&(b.address, other, order(b)))
    });
    found.dedup_by(|(a, own), (b, other)| a.address == b.address && own == other);
    // As kube-proxy does it: rather one that is ending than none.
    let any_ready = found.iter().any(|(endpoint, _)| endpoint.ready);
    let spec = |(endpoint, ports): (Endpoint, Vec<(String, u16)>)| EndpointSpec {
        address: endpoint.address,
        ready: endpoint.ready || (!any_ready && endpoint.last_resort),
        ports,
    };
    found.into_iter().map(spec).collect()
}

/// The workload that a pod of this node is; its name is `namespace/name`.
pub(super) fn workload(pod: &Pod, in_space: bool) -> Result<WorkloadSpec, Skip> {
    let facts = PodFacts {
        uid: &pod.uid,
        config_hash: pod.config_hash.as_deref(),
        in_space,
        annotation: pod.capture.as_deref(),
        host_network: pod.host_network,
        phase: &pod.phase,
        addresses: &pod.addresses,
    };
    match decide(&facts) {
        Verdict::Capture(uid) => Ok(spec(pod, in_space, uid)),
        Verdict::Skip(skip) => Err(skip),
    }
}

fn spec(pod: &Pod, in_space: bool, uid: PodUid) -> WorkloadSpec {
    let addresses: Vec<IpAddr> = pod.addresses.to_vec();
    WorkloadSpec {
        name: workload_name(pod),
        space: in_space.then(|| pod.key.namespace.to_string()),
        netns: NetnsRef::Pod(uid),
        cgroup: None,
        addresses,
        propagate: propagate(pod.propagate.as_deref(), || workload_name(pod)).0,
    }
}

/// What the workload of a pod is called.
pub(super) fn workload_name(pod: &Pod) -> String {
    format!("{}/{}", pod.key.namespace, pod.key.name)
}

/// Whether a skipped pod is worth a person's time: one that asked, or whose annotation is no word.
pub(super) fn is_trouble(skip: &Skip) -> bool {
    match skip {
        Skip::Annotation(_) | Skip::HostNetwork | Skip::Uid(_) => true,
        Skip::Outside | Skip::Forbidden | Skip::Ended(_) | Skip::NoAddress => false,
    }
}
