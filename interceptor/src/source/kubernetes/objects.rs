//! Objects of the API, cut down to what is kept while they are parsed.
//!
//! What the source does not look at is never in memory. An address that is none (an FQDN slice, a headless service's
//! "None") is left out here and not an error: one odd object must not hold up a list of thousands. Lists and maps may be
//! null, as a real server writes them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Deserializer};

use crate::kubernetes::{Object, names};

/// Where an object lies.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    /// Its namespace; empty for one of the cluster.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
}

impl Key {
    /// The object of that name in a namespace.
    pub(super) fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Raw<Nothing, Nothing>")]
pub(super) struct Namespace {
    /// Its name.
    pub name: Box<str>,
    /// The label that makes it a space.
    pub space: Option<Box<str>>,
    /// The label that names its parent.
    pub parent: Option<Box<str>>,
    /// What its annotation says of how requests find their space again.
    pub propagate: Option<Box<str>>,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Raw<RawService, Nothing>")]
pub(super) struct Service {
    /// Where it lies.
    pub key: Key,
    /// Whether it is but an alias of a name outside.
    pub external: bool,
    /// Its ClusterIPs; none for a headless one.
    pub addresses: Box<[IpAddr]>,
    /// Its TCP ports.
    pub ports: Box<[ServicePort]>,
    /// What its annotation says of headless services.
    pub headless: Option<Box<str>>,
}

/// A TCP port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServicePort {
    /// Its name; empty where there is but one.
    pub name: Box<str>,
    /// Its number.
    pub port: u16,
    /// The number of the pods' port, where the service says one.
    pub target: Option<u16>,
    /// What its owner declares of the protocol.
    pub app_protocol: Option<Box<str>>,
}

/// A part of a service's endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "RawSlice")]
pub(super) struct Slice {
    /// Where it lies.
    pub key: Key,
    /// The service that it is of; empty where no label says so.
    pub service: Box<str>,
    /// The TCP ports of its endpoints, by name.
    pub ports: Box<[(Box<str>, u16)]>,
    /// Its endpoints.
    pub endpoints: Box<[Endpoint]>,
    /// Endpoints that have no usable address.
    pub unusable: u32,
}

/// A pod behind a service, or another address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Its address.
    pub address: IpAddr,
    /// Whether new connections may go there.
    pub ready: bool,
    /// Whether it is ending, but would still answer: it is used where no other is ready.
    pub last_resort: bool,
}

/// A pod of this node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Raw<RawPodSpec, RawPodStatus>")]
pub(super) struct Pod {
    /// Where it lies.
    pub key: Key,
    /// Its UID.
    pub uid: Box<str>,
    /// For a mirror pod: the UID by which the kubelet knows the static pod.
    pub config_hash: Option<Box<str>>,
    /// The annotation that asks for capture or forbids it.
    pub capture: Option<Box<str>>,
    /// What its annotation says of how its requests find their space again.
    pub propagate: Option<Box<str>>,
    /// Whether it shares the node's network.
    pub host_network: bool,
    /// Its phase.
    pub phase: Box<str>,
    /// Its addresses.
    pub addresses: Box<[IpAddr]>,
}

macro_rules! object {
    ($type:ty, $group:literal, $resource:literal, $path:literal) => {
        impl Object for $type {
            const GROUP: &'static str = $group;
            const RESOURCE: &'static str = $resource;
            const PATH: &'static str = $path;
        }
    };
}

object!(Namespace, "", "namespaces", "/api/v1/namespaces");
object!(Service, "", "services", "/api/v1/services");
object!(Slice, "discovery.k8s.io", "endpointslices", "/apis/discovery.k8s.io/v1/endpointslices");
object!(Pod, "", "pods", "/api/v1/pods");

/// An object as the API has it, `S` and `T` its spec and status as far as they are read.
#[derive(Deserialize)]
#[serde(bound = "S: Deserialize<'de> + Default, T: Deserialize<'de> + Default")]
struct Raw<S, T> {
    metadata: RawMeta,
    #[serde(default, deserialize_with = "null_is_default")]
    spec: S,
    #[serde(default, deserialize_with = "null_is_default")]
    status: T,
}

#[derive(Deserialize, Default)]
struct Nothing {}

#[derive(Deserialize)]
struct RawMeta {
    name: Box<str>,
    #[serde(default)]
    namespace: Box<str>,
    #[serde(default)]
    uid: Box<str>,
    #[serde(default, deserialize_with = "kept")]
    labels: BTreeMap<Box<str>, Box<str>>,
    #[serde(default, deserialize_with = "kept")]
    annotations: BTreeMap<Box<str>, Box<str>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct RawService {
    #[serde(default, rename = "type")]
    kind: Box<str>,
    #[serde(default, rename = "clusterIP")]
    cluster_ip: Option<Box<str>>,
    #[serde(default, rename = "clusterIPs")]
    cluster_ips: Option<Vec<Box<str>>>,
    #[serde(default)]
    ports: Option<Vec<RawPort>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPort {
    #[serde(default)]
    name: Option<Box<str>>,
    #[serde(default)]
    protocol: Option<Box<str>>,
    #[serde(default)]
    port: Option<u16>,
    #[serde(default)]
    target_port: Option<RawTarget>,
    #[serde(default)]
    app_protocol: Option<Box<str>>,
}

/// A number, or the name of a container's port.
#[derive(Deserialize)]
#[serde(untagged)]
enum RawTarget {
    Number(u16),
    Other(serde::de::IgnoredAny),
}

#[derive(Deserialize)]
struct RawSlice {
    metadata: RawMeta,
    #[serde(default)]
    ports: Option<Vec<RawPort>>,
    #[serde(default)]
    endpoints: Option<Vec<RawEndpoint>>,
}

#[derive(Deserialize)]
struct RawEndpoint {
    #[serde(default)]
    addresses: Option<Vec<Box<str>>>,
    #[serde(default, deserialize_with = "null_is_default")]
    conditions: RawConditions,
}

#[derive(Deserialize, Default)]
struct RawConditions {
    #[serde(default)]
    ready: Option<bool>,
    #[serde(default)]
    serving: Option<bool>,
    #[serde(default)]
    terminating: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct RawPodSpec {
    #[serde(default)]
    host_network: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct RawPodStatus {
    #[serde(default)]
    phase: Box<str>,
    #[serde(default, rename = "podIP")]
    pod_ip: Option<Box<str>>,
    #[serde(default, rename = "podIPs")]
    pod_ips: Option<Vec<RawPodIp>>,
}

#[derive(Deserialize)]
struct RawPodIp {
    #[serde(default)]
    ip: Box<str>,
}

fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// The labels or annotations that mean something to us.
fn kept<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<Box<str>, Box<str>>, D::Error> {
    let mut all: BTreeMap<Box<str>, Box<str>> = null_is_default(from)?;
    all.retain(|name, _| names::KEPT.iter().any(|kept| name.starts_with(kept)));
    Ok(all)
}

fn addresses<'t>(texts: impl IntoIterator<Item = &'t Box<str>>) -> Box<[IpAddr]> {
    texts.into_iter().filter_map(|text| text.parse().ok()).collect()
}

/// Whether an endpoint may have that address. The API server takes no others either; it is held to that here, as the agent
/// dials from inside callers' pods, whose own loopback, and the node's metadata service, are no endpoint of anybody's.
fn is_of_a_machine(address: &IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            !(v4.is_unspecified() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast() || v4.is_broadcast())
        }
        IpAddr::V6(v6) => !(v6.is_unspecified() || v6.is_loopback() || v6.is_unicast_link_local() || v6.is_multicast()),
    }
}

fn is_tcp(port: &RawPort) -> bool {
    port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP")
}

impl From<Raw<Nothing, Nothing>> for Namespace {
    fn from(mut raw: Raw<Nothing, Nothing>) -> Self {
        let mut label = |name| raw.metadata.labels.remove(name);
        let (space, parent) = (label(names::SPACE), label(names::PARENT_SPACE));
        Self { space, parent, propagate: raw.metadata.annotations.remove(names::PROPAGATE), name: raw.metadata.name }
    }
}

impl From<Raw<RawService, Nothing>> for Service {
    fn from(raw: Raw<RawService, Nothing>) -> Self {
        let (mut meta, spec) = (raw.metadata, raw.spec);
        let port = |port: RawPort| {
            let number = port.port.filter(|number| *number > 0 && is_tcp(&port))?;
            let target = match port.target_port {
                Some(RawTarget::Number(number)) if number > 0 => Some(number),
                _ => None,
            };
            let (name, app_protocol) = (port.name.unwrap_or_default(), port.app_protocol);
            Some(ServicePort { name, port: number, target, app_protocol })
        };
        // Before dual stack there was but one.
        let ips = spec.cluster_ips.unwrap_or_else(|| spec.cluster_ip.into_iter().collect());
        Self {
            external: &*spec.kind == "ExternalName",
            addresses: addresses(&ips),
            ports: spec.ports.unwrap_or_default().into_iter().filter_map(port).collect(),
            headless: meta.annotations.remove(names::HEADLESS),
            key: Key { namespace: meta.namespace, name: meta.name },
        }
    }
}

impl From<RawSlice> for Slice {
    fn from(raw: RawSlice) -> Self {
        let mut meta = raw.metadata;
        let ports = raw.ports.unwrap_or_default().into_iter().filter(is_tcp);
        let all = raw.endpoints.unwrap_or_default();
        let endpoints: Box<[Endpoint]> = all.iter().filter_map(RawEndpoint::endpoint).collect();
        Self {
            service: meta.labels.remove(names::SERVICE_NAME).unwrap_or_default(),
            ports: ports.filter_map(|port| Some((port.name.unwrap_or_default(), port.port?))).collect(),
            unusable: u32::try_from(all.len() - endpoints.len()).unwrap_or(u32::MAX),
            endpoints,
            key: Key { namespace: meta.namespace, name: meta.name },
        }
    }
}

impl RawEndpoint {
    fn endpoint(&self) -> Option<Endpoint> {
        // Further addresses have no meaning, says the API; kube-proxy does not look at them either.
        let address = self.addresses.as_ref()?.first()?.parse().ok().filter(is_of_a_machine)?;
        let RawConditions { ready, serving, terminating } = self.conditions;
        // Unknown counts as ready, and what is ready as serving, says the API.
        let ready = ready.unwrap_or(true);
        let last_resort = !ready && terminating.unwrap_or(false) && serving.unwrap_or(ready);
        Some(Endpoint { address, ready, last_resort })
    }
}

impl From<Raw<RawPodSpec, RawPodStatus>> for Pod {
    fn from(raw: Raw<RawPodSpec, RawPodStatus>) -> Self {
        let (mut meta, status) = (raw.metadata, raw.status);
        let several = status.pod_ips.unwrap_or_default();
        let one = status.pod_ip.filter(|_| several.is_empty());
        Self {
            uid: meta.uid,
            config_hash: meta.annotations.remove(names::CONFIG_HASH),
            capture: meta.annotations.remove(names::CAPTURE),
            propagate: meta.annotations.remove(names::PROPAGATE),
            host_network: raw.spec.host_network,
            phase: status.phase,
            addresses: addresses(several.iter().map(|one| &one.ip).chain(&one)),
            key: Key { namespace: meta.namespace, name: meta.name },
        }
    }
}
