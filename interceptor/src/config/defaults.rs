//! What every setting is when the file does not say, and the bounds of what it may say; each with its reason.
//!
//! The settings' readers start from the `Default` of each section and overwrite what the file names. The table in
//! schema.rs repeats them in words; a test holds the two together.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::{
    Admin, Capture, CapturedServices, DefaultSpace, Dns, Fail, Flows, Metrics, Proxy, Routing, SameSpace, Splice,
};

/// Azure Dev Spaces' header, which existing applications propagate, and that of Bridge to Kubernetes after it.
pub const ROUTE_HEADERS: [&str; 2] = ["azds-route-as", "kubernetes-route-as"];
/// A pod in a space works for that space (rule R4) unless it is told otherwise.
pub const DEFAULT_SPACE: DefaultSpace = DefaultSpace::Caller;
/// The cluster's own balancing stays in charge where nothing is to be re-routed.
pub const SAME_SPACE: SameSpace = SameSpace::Original;

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
            route_headers: ROUTE_HEADERS.map(str::to_owned).to_vec(),
            ingress_suffixes: Vec::new(),
            default_space: DEFAULT_SPACE,
            same_space: SAME_SPACE,
        }
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
            max_head_bytes: MAX_HEAD_BYTES,
            splice: SPLICE,
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
