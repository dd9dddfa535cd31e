//! The static configuration, resolved: what one YAML file says, with every default filled in.
//!
//! The file source and `interceptor config` call [`Config::parse`]; everything else receives these
//! plain values. Parsing never looks at the machine (no netns, cgroup or clock): the same text always gives the same
//! result. Names are Kubernetes' where Kubernetes has one.

mod check;
mod cursor;
pub mod defaults;
mod error;
mod load;
mod names;
mod parse;
mod path;
mod pod_uid;
mod reference;
mod scalar;
mod schema;
mod settings;
mod suggest;
mod topology;
pub mod tree;
mod yaml;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use error::{ConfigErrors, Diagnostic, Kind, Position, Severity};
pub use parse::Parsed;
pub use pod_uid::PodUid;
pub use reference::{EXAMPLE, reference_markdown};

/// One configuration file, resolved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// What the snapshot is built from.
    pub topology: Topology,
    /// Which requests go where.
    pub routing: Routing,
    /// Where the kernel hooks attach and how they fail open.
    pub capture: Capture,
    /// The data path's bounds and deadlines.
    pub proxy: Proxy,
    /// The admin socket, which the CLI talks to.
    pub admin: Admin,
    /// The Prometheus and health endpoint.
    pub metrics: Metrics,
    /// How many flow records are kept.
    pub flows: Flows,
    /// What the ingress manager gives the objects that it keeps.
    pub ingress: Ingress,
    /// Short names of shared services.
    pub dns: Dns,
}

/// Spaces, services and workloads, as a source lists them (not yet checked against each other).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topology {
    /// All spaces, in the order of the source.
    pub spaces: Vec<SpaceSpec>,
    /// All services.
    pub services: Vec<ServiceSpec>,
    /// The workloads of this node that are captured.
    pub workloads: Vec<WorkloadSpec>,
}

/// A space: a namespace in which a developer deploys copies of services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpaceSpec {
    /// Its name, which the route header carries.
    pub name: String,
    /// The space that it derives from; `None` makes it a root.
    pub parent: Option<String>,
}

/// A service of one space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Its name. Two services of one tree with the same name are copies of each other.
    pub name: String,
    /// The space (namespace) that it lives in.
    pub space: String,
    /// Its virtual addresses (ClusterIPs), of either family; empty for a headless service.
    pub addresses: Vec<IpAddr>,
    /// Its ports.
    pub ports: Vec<PortSpec>,
    /// The pods behind it.
    pub endpoints: Vec<EndpointSpec>,
    /// Whether connections to its endpoints' own addresses are routed, too. Otherwise they are left alone, and the endpoints
    /// serve requests to copies of the service only.
    pub endpoints_are_destinations: bool,
}

/// One port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSpec {
    /// Its name; may be empty when the service has a single port.
    pub name: String,
    /// The port of the virtual addresses.
    pub port: u16,
    /// The port of the endpoints, unless an endpoint says otherwise.
    pub target_port: u16,
    /// The protocol that the service's owner declares (`http`, `tcp`, `kubernetes.io/h2c`, …).
    pub app_protocol: Option<String>,
}

/// One pod (or address of a pod) behind a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSpec {
    /// The pod's address.
    pub address: IpAddr,
    /// Whether new connections may go there.
    pub ready: bool,
    /// The target ports that differ from the service's, as (port name, port); 0 for one that it does not have.
    pub ports: Vec<(String, u16)>,
}

/// A pod of this node that is captured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadSpec {
    /// Its name, unique on this node.
    pub name: String,
    /// The space that it lives in; `None` for a workload outside all trees (an ingress controller).
    pub space: Option<String>,
    /// Its network namespace.
    pub netns: NetnsRef,
    /// Its own cgroup v2 directory; `None` when it lies below [`Capture::cgroup`].
    pub cgroup: Option<PathBuf>,
    /// Its addresses, of either family.
    pub addresses: Vec<IpAddr>,
}

/// How a workload's network namespace is found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NetnsRef {
    /// A file to open (`/run/netns/x`, `/proc/123/ns/net`).
    Path(PathBuf),
    /// That of a process.
    Pid(u32),
    /// That of a pod of the kubelet, found by its cgroup.
    Pod(PodUid),
}

/// Which requests go where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routing {
    /// Header names that carry a space, the first that a request has wins; the first of the list is the one injected.
    pub route_headers: Vec<String>,
    /// Suffixes of `<space>.s.<root>.<service>.<suffix>` (rule R1), lower case, without dots at the ends.
    pub ingress_suffixes: Vec<String>,
    /// The space of a request that names none (rule R4).
    pub default_space: DefaultSpace,
    /// Where a request goes whose space is that of the original destination.
    pub same_space: SameSpace,
}

/// The space of a request that names none (rule R4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultSpace {
    /// That of the calling workload.
    Caller,
    /// None: the original destination is kept.
    None,
}

/// Where a request goes whose space is that of the original destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSpace {
    /// To the original destination: kube-proxy or the CNI keeps balancing.
    Original,
    /// To a ready endpoint that the agent chooses per request.
    Endpoint,
}

/// Where the kernel hooks attach and how they fail open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// The cgroup v2 directory above all workloads; `None` when every workload names its own.
    pub cgroup: Option<PathBuf>,
    /// The port of the outbound listener in every workload's network namespace.
    pub outbound_port: u16,
    /// How long the hooks trust an agent that does not show itself; afterwards traffic passes.
    pub heartbeat_timeout: Duration,
    /// What becomes of new connections while no agent answers.
    pub fail: Fail,
    /// Where hooks are kept that are to outlive the agent; in a bpf file system.
    pub pin_directory: PathBuf,
    /// Which services are captured.
    pub services: CapturedServices,
    /// Whether connections that workloads made before their destination was captured are closed.
    pub close_established: bool,
}

/// Which services are captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapturedServices {
    /// Every service of a space tree.
    SpaceServices,
    /// Only where a copy of the tree could change where a request goes.
    Overridden,
}

impl CapturedServices {
    /// The word that the file and `status` use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SpaceServices => "space-services",
            Self::Overridden => "overridden",
        }
    }
}

/// The data path's bounds and deadlines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Worker threads; 0 is one per CPU, but at most 4, which is for the agent to find out when it starts.
    pub workers: usize,
    /// For a connection to an upstream.
    pub connect_timeout: Duration,
    /// In all, for the first bytes of a connection to become recognisable; then it is opaque.
    pub detect_timeout: Duration,
    /// For the rest of a request head that has begun to arrive.
    pub head_timeout: Duration,
    /// For the first byte of a response; `None` = as long as the application takes.
    pub first_byte_timeout: Option<Duration>,
    /// How long an idle connection to another space's endpoint is kept. Those to the original destination live as long as
    /// their server and their client keep them.
    pub idle_timeout: Duration,
    /// How long connections under way have to end when the agent ends.
    pub drain_timeout: Duration,
    /// Connections of one workload at a time, both directions; one more is reset.
    pub max_connections: usize,
    /// The largest request or response head, bytes.
    pub max_head_bytes: usize,
    /// How opaque bytes move.
    pub splice: Splice,
}

/// What becomes of new connections that would be intercepted while no agent answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fail {
    /// They go directly.
    Open,
    /// They are refused (docs/decisions/0016-fail-closed.md).
    Closed,
}

/// How opaque bytes move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Splice {
    /// The one that is known to be safe: splice(2).
    Auto,
    /// Inside the kernel, by a sock map (docs/decisions/0005-kernel-splice.md).
    Kernel,
    /// splice(2) through a pipe.
    Splice,
    /// read and write.
    Copy,
}

/// The admin socket, which the CLI talks to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Its path.
    pub socket: PathBuf,
}

/// The Prometheus and health endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// Where it listens, in the agent's network namespace; `None` turns it off.
    pub address: Option<SocketAddr>,
}

/// How many flow records are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flows {
    /// Records in memory; older ones are dropped and counted.
    pub capacity: usize,
}

/// What the ingress manager gives the Ingress objects that it keeps; their hosts end in [`Routing::ingress_suffixes`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ingress {
    /// `spec.ingressClassName`; `None` leaves it to the cluster's default class.
    pub class: Option<String>,
    /// The Secret of each object's TLS entry, `{service}` standing for the service's name; `None` asks for no TLS.
    pub tls_secret: Option<String>,
    /// Annotations of each object, for the ingress controller or cert-manager.
    pub annotations: BTreeMap<String, String>,
}

/// Short names of shared services, for workloads in derived spaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// Whether the DNS of workloads in derived spaces is captured at all.
    pub enabled: bool,
    /// The cluster's domain, lower case, without dots at the ends.
    pub cluster_domain: String,
    /// The servers whose queries are captured; empty: those of each workload's resolv.conf.
    pub servers: Vec<IpAddr>,
    /// Clients of one workload that wait for one server, each transport; beyond that queries are dropped.
    pub max_in_flight: usize,
}
