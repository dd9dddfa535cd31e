//! The static configuration, resolved: what one YAML file says, with every default filled in.
//!
//! The file source and `interceptor config` call [`Config::parse`]; everything else receives these
//! plain values. Parsing never looks at the machine (no netns, cgroup or clock): the same text always gives the same
//! result. Names are Kubernetes' where Kubernetes has one.

mod carrier;
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

use serde::{Deserialize, Serialize};

pub use carrier::Carrier;
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
    /// How its workloads' requests find their space again; `None`: as [`Propagate::mode`] says.
    pub propagate: Option<PropagateMode>,
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
    /// How its requests find their space again; `None`: as its space says.
    pub propagate: Option<PropagateMode>,
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
    /// What carries a space; the first of them that a request has wins.
    pub route_headers: Vec<Carrier>,
    /// What is added to a request whose space is decided and that none of them names; `None`: the first of them.
    pub inject: Option<Vec<Carrier>>,
    /// Whether callers that are no workloads lose what carries a space.
    pub strip_from_outside: bool,
    /// Suffixes of `<space>.s.<root>.<service>.<suffix>` (rule R1), lower case, without dots at the ends.
    pub ingress_suffixes: Vec<String>,
    /// The space of a request that names none (rule R4).
    pub default_space: DefaultSpace,
    /// Where a request goes whose space is that of the original destination.
    pub same_space: SameSpace,
    /// How the space of a request is found again that its application did not pass on.
    pub propagate: Propagate,
}

impl Routing {
    /// What is added to a request whose space is decided and that no carrier names.
    pub fn injected(&self) -> &[Carrier] {
        match &self.inject {
            Some(carriers) => carriers,
            None => {
                let first = self.route_headers.iter().find(|carrier| !matches!(carrier, Carrier::Tracestate(_)));
                first.map(std::slice::from_ref).unwrap_or_default()
            }
        }
    }
}

/// How the space of a request is found again that its application did not pass on: the section `propagate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Propagate {
    /// By what, for workloads of which nothing else is said.
    pub mode: PropagateMode,
    /// The headers that have trace ids, lower case.
    pub trace_ids: Vec<String>,
    /// How long an id is remembered after the last request with it has ended.
    pub grace: Duration,
    /// Ids that are remembered of one workload.
    pub max_traces: usize,
}

/// By what the space of a request is found again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PropagateMode {
    /// By nothing.
    Off,
    /// By the trace id that it shares with a request that came in.
    Trace,
    /// The same; without an id, by the one space that all requests have that are in the workload at the time.
    SingleFlight,
    /// As `Trace`; without an id, by the thread that read a request that came in.
    Thread,
}

impl PropagateMode {
    /// Every mode.
    pub const ALL: [Self; 4] = [Self::Off, Self::Trace, Self::SingleFlight, Self::Thread];

    /// The word that the file, annotations and `workloads` use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Trace => "trace",
            Self::SingleFlight => "single-flight",
            Self::Thread => "thread",
        }
    }

    /// The mode of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == word)
    }

    /// Whether every request into the workload has to be seen, those of captured callers included.
    pub fn needs_all(self) -> bool {
        matches!(self, Self::SingleFlight | Self::Thread)
    }
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
    /// Connections of one workload at a time, both directions; one more is refused.
    pub max_connections: usize,
    /// Connections of all workloads at a time; 0 is as many as descriptors and memory allow (`room`).
    pub max_connections_total: usize,
    /// Bytes that are held for peers that do not keep up, beyond what each connection is planned with; 0 is a quarter of
    /// the memory (`room`).
    pub max_buffered_bytes: usize,
    /// The largest request or response head, bytes.
    pub max_head_bytes: usize,
    /// How opaque bytes move.
    pub splice: Splice,
    /// Bounds of HTTP/2.
    pub http2: Http2,
}

/// Bounds of HTTP/2, each for one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http2 {
    /// Streams that a peer may have open at a time; further ones are refused (`REFUSED_STREAM`).
    pub max_concurrent_streams: u32,
    /// What a peer may send on a stream before it was passed on, bytes.
    pub stream_window: u32,
    /// What a peer may send on all streams together before it was passed on, bytes.
    pub connection_window: u32,
    /// Streams that a client may reset within ten seconds.
    pub max_resets: u32,
    /// Frames that carry nothing (PING, SETTINGS, PRIORITY, small WINDOW_UPDATEs, …) that a client may send within ten
    /// seconds, beyond those that its messages explain.
    pub max_control_frames: u32,
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
