//! What every setting is when the file does not say, and the bounds of what it may say; each with its reason.
//!
//! The settings' readers start from the `Default` of each section and overwrite what the file names. The table in
//! schema.rs repeats them in words; a test holds the two together.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::{
    Admin, Capture, CapturedServices, Carrier, DefaultSpace, Dns, Fail, Flows, Http2, Metrics, Propagate,
    PropagateMode, Proxy, Routing, SameSpace, Splice,
};

/// Azure Dev Spaces' header, which existing applications propagate, and that of Bridge to Kubernetes after it.
pub const ROUTE_HEADERS: [&str; 2] = ["azds-route-as", "kubernetes-route-as"];
/// A pod in a space works for that space (rule R4) unless it is told otherwise.
pub const DEFAULT_SPACE: DefaultSpace = DefaultSpace::Caller;
/// The cluster's own balancing stays in charge where nothing is to be re-routed.
pub const SAME_SPACE: SameSpace = SameSpace::Original;
/// Callers that are no workloads may name a space unless an owner minds: developers do it with curl.
pub const STRIP_FROM_OUTSIDE: bool = false;

/// Trace ids cost nothing where there are none, and never lead a request astray; what else there is has to be asked for.
pub const PROPAGATE: PropagateMode = PropagateMode::Trace;
/// What tracers and proxies write: W3C, B3 (Zipkin), request ids (nginx, Envoy), Jaeger, AWS, Google Cloud, Sentry, Datadog.
pub const TRACE_IDS: [&str; 9] = [
    "traceparent",
    "b3",
    "x-b3-traceid",
    "x-request-id",
    "uber-trace-id",
    "x-amzn-trace-id",
    "x-cloud-trace-context",
    "sentry-trace",
    "x-datadog-trace-id",
];
/// Work that goes on after its answer (a queue, a cache that is filled) mostly ends within seconds.
pub const GRACE: Duration = Duration::from_secs(10);
/// An hour is longer than anything that still belongs to a request.
pub const GRACE_BOUNDS: RangeInclusive<Duration> = Duration::from_secs(0)..=Duration::from_secs(3600);
/// 1600 new traces a second with the default grace, in about 2 MiB a workload that has so many.
pub const MAX_TRACES: usize = 16_384;
/// A million takes about 128 MiB a workload.
pub const MAX_TRACES_BOUNDS: RangeInclusive<usize> = 1..=1_000_000;

/// Below the ephemeral ports (32768 and up), and the port that meshes use for this: applications keep off it.
pub const OUTBOUND_PORT: u16 = 15001;
/// Longer than any scheduling delay of a healthy agent, shorter than a client's patience.
pub const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(1);
/// Below half a second an agent on a busy node looks dead; a minute of broken traffic is the most that anyone wants.
pub const HEARTBEAT_BOUNDS: RangeInclusive<Duration> = Duration::from_millis(500)..=Duration::from_secs(60);
/// Interception is no access control: without it a request reaches the service that its caller named.
pub const FAIL: Fail = Fail::Open;
/// Where bpf file systems are mounted, as libbpf and others have it.
pub const PIN_DIRECTORY: &str = "/sys/fs/bpf/interceptor";
/// Every request of the tree shows in the flows and gets the route header; less is a choice.
pub const SERVICES: CapturedServices = CapturedServices::SpaceServices;
/// Closing an application's connections is for its owners to want.
pub const CLOSE_ESTABLISHED: bool = false;

/// One per CPU, but at most 4; the agent decides when it starts, because parsing must not look at the machine.
pub const WORKERS: usize = 0;
/// More threads than that serve no node.
pub const WORKERS_BOUNDS: RangeInclusive<usize> = 0..=256;
/// Three lost SYNs (1 + 2 + 4 s) still connect.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A request line arrives in one piece, or after one lost packet; commands that look like the beginning of one (`ruok`)
/// must not be held for long.
pub const DETECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A head fits into a few packets; whoever takes longer holds connections on purpose.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Below the keep-alive of common servers (nginx 75 s), so that they seldom close what is being reused.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Long responses end, and clients with a pool come to use each of their connections once more; a node that is shut down
/// does not wait longer for a pod.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// A tenth of a second is enough on any network; more than an hour is as good as none.
pub const TIMEOUT_BOUNDS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
/// Twice what nginx and most servers accept (8 to 32 KiB): the application's own limit is to be met first.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;
/// A head of one KiB is the least that browsers need; over a MiB a connection's buffer becomes an attack.
pub const MAX_HEAD_BOUNDS: RangeInclusive<usize> = 1024..=1024 * 1024;
/// Kernel splice has to be asked for: what speaks against it as a default is in docs/decisions/0005-kernel-splice.md.
pub const SPLICE: Splice = Splice::Auto;

/// A directory of its own below /run: gone after a reboot, writable by root only.
pub const ADMIN_SOCKET: &str = "/run/interceptor/admin.sock";
/// `sockaddr_un` has room for 108 bytes, one of which ends the path.
pub const ADMIN_SOCKET_MAX: usize = 107;

/// Loopback of the agent's network namespace: out of the pods' reach.
pub const METRICS_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 15020);

/// A few seconds of a busy node, in about 8 MiB.
pub const FLOWS_CAPACITY: usize = 8192;
/// A million records take about 1 GiB.
pub const FLOWS_BOUNDS: RangeInclusive<usize> = 1..=1_000_000;

/// Linux' largest process id (`PID_MAX_LIMIT` on 64 bit).
pub const PID_BOUNDS: RangeInclusive<u32> = 1..=4_194_304;

/// More than a pod that is well has; a pod that leaks connections must not take the whole node's descriptors.
pub const MAX_CONNECTIONS: usize = 10_000;
/// Each connection takes at least two descriptors of the agent's.
pub const MAX_CONNECTIONS_BOUNDS: RangeInclusive<usize> = 1..=1_000_000;

/// As many as there are descriptors and memory for; parsing must not look at the machine.
pub const TOTAL: usize = 0;
/// More than that no process has descriptors for.
pub const TOTAL_BOUNDS: RangeInclusive<usize> = 0..=1_000_000;
/// A quarter of the memory, which parsing does not know.
pub const BUFFERED_BYTES: usize = 0;
/// Up to 64 GiB.
pub const BUFFERED_BOUNDS: RangeInclusive<usize> = 0..=68_719_476_736;

/// Many servers set no limit at all: long-lived streams (watches, chats) of one client must not wait for each other here.
pub const HTTP2_STREAMS: u32 = 2048;
/// RFC 9113 recommends no less than 100; a stream costs about 4 KiB without what it carries.
pub const HTTP2_STREAMS_BOUNDS: RangeInclusive<u32> = 100..=100_000;
/// 2 Gbit/s on one stream at half a millisecond, between two nodes.
pub const HTTP2_STREAM_WINDOW: u32 = 128 * 1024;
/// 256 streams whose receivers have stopped reading leave the others theirs; and the most that one connection can hold here.
pub const HTTP2_CONNECTION_WINDOW: u32 = 32 * 1024 * 1024;
/// From what every peer assumes (RFC 9113, section 6.9.2) to a GiB.
pub const HTTP2_WINDOW_BOUNDS: RangeInclusive<u32> = 65_535..=1_073_741_824;
/// A hundred cancelled calls a second; who attacks by resets sends tens of thousands.
pub const HTTP2_RESETS: u32 = 1000;
/// A client that measures bandwidth by PING explains each with its messages.
pub const HTTP2_CONTROL_FRAMES: u32 = 1000;
/// Below a hundred well-behaved clients are cut off.
pub const HTTP2_FRAMES_BOUNDS: RangeInclusive<u32> = 100..=1_000_000;

/// What Kubernetes' installers use unless they are told otherwise.
pub const CLUSTER_DOMAIN: &str = "cluster.local";
/// Many times what a pod asks at once; each takes a descriptor for a few seconds at most.
pub const DNS_IN_FLIGHT: usize = 256;
/// Below that a pod with many threads waits for itself; above that it takes the node's descriptors.
pub const DNS_IN_FLIGHT_BOUNDS: RangeInclusive<usize> = 8..=4096;

impl Default for Dns {
    fn default() -> Self {
        let cluster_domain = CLUSTER_DOMAIN.to_owned();
        Self { enabled: true, cluster_domain, servers: Vec::new(), max_in_flight: DNS_IN_FLIGHT }
    }
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            route_headers: ROUTE_HEADERS.map(|name| Carrier::Header(name.to_owned())).to_vec(),
            inject: None,
            strip_from_outside: STRIP_FROM_OUTSIDE,
            ingress_suffixes: Vec::new(),
            default_space: DEFAULT_SPACE,
            same_space: SAME_SPACE,
            propagate: Propagate::default(),
        }
    }
}

impl Default for Propagate {
    fn default() -> Self {
        let trace_ids = TRACE_IDS.map(str::to_owned).to_vec();
        Self { mode: PROPAGATE, trace_ids, grace: GRACE, max_traces: MAX_TRACES }
    }
}

impl Default for Capture {
    fn default() -> Self {
        Self {
            cgroup: None,
            outbound_port: OUTBOUND_PORT,
            heartbeat_timeout: HEARTBEAT_TIMEOUT,
            fail: FAIL,
            pin_directory: PathBuf::from(PIN_DIRECTORY),
            services: SERVICES,
            close_established: CLOSE_ESTABLISHED,
        }
    }
}

impl Default for Proxy {
    fn default() -> Self {
        Self {
            workers: WORKERS,
            connect_timeout: CONNECT_TIMEOUT,
            detect_timeout: DETECT_TIMEOUT,
            head_timeout: HEAD_TIMEOUT,
            first_byte_timeout: None,
            idle_timeout: IDLE_TIMEOUT,
            drain_timeout: DRAIN_TIMEOUT,
            max_connections: MAX_CONNECTIONS,
            max_connections_total: TOTAL,
            max_buffered_bytes: BUFFERED_BYTES,
            max_head_bytes: MAX_HEAD_BYTES,
            splice: SPLICE,
            http2: Http2::default(),
        }
    }
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            max_concurrent_streams: HTTP2_STREAMS,
            stream_window: HTTP2_STREAM_WINDOW,
            connection_window: HTTP2_CONNECTION_WINDOW,
            max_resets: HTTP2_RESETS,
            max_control_frames: HTTP2_CONTROL_FRAMES,
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self { socket: PathBuf::from(ADMIN_SOCKET) }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self { address: Some(METRICS_ADDRESS) }
    }
}

impl Default for Flows {
    fn default() -> Self {
        Self { capacity: FLOWS_CAPACITY }
    }
}
