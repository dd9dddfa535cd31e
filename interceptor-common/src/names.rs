//! Names of maps and programs, and the maps' capacities, as the object and the agent use them.

/// Destinations that can be captured at once (index space: 24 bits, see [`crate::policy`]).
pub const CAPTURE_CAPACITY: u32 = 262_144;
/// Workloads on one node.
pub const WORKLOADS_CAPACITY: u32 = 4096;
/// Ports of this node's workloads that are intercepted inbound.
pub const INBOUND_CAPACITY: u32 = 16_384;
/// Addresses and ports on which applications of captured workloads listen.
pub const LISTENING_CAPACITY: u32 = 65_536;
/// Addresses of captured workloads.
pub const PEERS_CAPACITY: u32 = 65_536;
/// Inbound connections that know their real client.
pub const CLIENTS_CAPACITY: u32 = 65_536;
/// DNS servers of workloads in derived spaces; a pod has one to three.
pub const DNS_CAPACITY: u32 = 16_384;
/// Flows with kernel facts that the agent has not collected; the oldest give way.
pub const FACTS_CAPACITY: u32 = 16_384;
/// Sockets that the agent made to learn their network namespace; the oldest give way.
pub const NAMESPACES_CAPACITY: u32 = 1024;
/// Directions of connections that the kernel moves at once (`proxy.splice: kernel`); one more is moved by splice(2).
pub const SPLICE_CAPACITY: u32 = 16_384;

/// Requests under way into applications whose threads are followed; beyond that calls for them are not traced back.
pub const REQUESTS_CAPACITY: u32 = 65_536;
/// Sockets, and threads, that are followed; those not seen for longest give way.
pub const FOLLOWED_CAPACITY: u32 = 65_536;
/// Processes that do not keep requests on threads; those not seen for longest give way.
pub const MISTRUSTED_CAPACITY: u32 = 4096;
/// The maps that an agent hands to its successor. Those of kernel splice stay with the connections that they serve.
pub const SHARED: [&str; 14] = [
    CAPTURE,
    ORIGINALS,
    WORKLOADS,
    INBOUND,
    LISTENING,
    PEERS,
    LISTENERS,
    OUTBOUND,
    CLIENTS,
    FACTS,
    DNS_AGENTS,
    DNS_SERVERS,
    CONTROL,
    COUNTERS,
];

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => { $($(#[$doc])* pub const $name: &str = $text;)* };
}

names! {
    /// See the table of [`crate`].
    CAPTURE = "CAPTURE";
    /// See the table of [`crate`].
    ORIGINALS = "ORIGINALS";
    /// See the table of [`crate`].
    WORKLOADS = "WORKLOADS";
    /// See the table of [`crate`].
    INBOUND = "INBOUND";
    /// See the table of [`crate`].
    LISTENING = "LISTENING";
    /// See the table of [`crate`].
    PEERS = "PEERS";
    /// See the table of [`crate`].
    LISTENERS = "LISTENERS";
    /// See the table of [`crate`].
    OUTBOUND = "OUTBOUND";
    /// See the table of [`crate`].
    CLIENTS = "CLIENTS";
    /// See the table of [`crate`].
    FACTS = "FACTS";
    /// See the table of [`crate`].
    NAMESPACES = "NAMESPACES";
    /// See the table of [`crate`].
    DNS_AGENTS = "DNS_AGENTS";
    /// See the table of [`crate`].
    DNS_SERVERS = "DNS_SERVERS";
    /// See the table of [`crate`].
    CONTROL = "CONTROL";
    /// See the table of [`crate`].
    COUNTERS = "COUNTERS";
    /// See the table of [`crate`].
    SPLICE_TARGETS = "SPLICE_TARGETS";
    /// See the table of [`crate`].
    SPLICE_SOURCES = "SPLICE_SOURCES";
    /// See the table of [`crate`].
    SPLICE_FLOWS = "SPLICE_FLOWS";
    /// See the table of [`crate`].
    REQUESTS = "REQUESTS";
    /// See the table of [`crate`].
    CALLS = "CALLS";
    /// Global that the agent sets: where `struct sock` keeps its cookie.
    SOCK_COOKIE = "SOCK_COOKIE";
    /// Global that the agent sets: where `struct task_struct` keeps `start_time`.
    TASK_START = "TASK_START";
    /// Global that the agent sets: where `struct task_struct` keeps `pid`.
    TASK_PID = "TASK_PID";
    /// Global that the agent sets: where `struct task_struct` keeps `tgid`.
    TASK_TGID = "TASK_TGID";
    /// Global that the agent sets: where `struct tcp_sock` keeps `write_seq`.
    WRITE_SEQ = "WRITE_SEQ";
    /// Global that the agent sets: where `struct tcp_sock` keeps `copied_seq`.
    COPIED_SEQ = "COPIED_SEQ";
    /// Global that the agent sets: where `struct sk_buff` keeps TCP's sequence number.
    SKB_SEQ = "SKB_SEQ";
    /// Global that the agent sets: whether hooks log (`--ebpf-log`).
    DEBUG = "DEBUG";
    /// cgroup/sock_create.
    SOCK_CREATE = "on_sock_create";
    /// cgroup/connect4.
    CONNECT4 = "on_connect4";
    /// cgroup/connect6.
    CONNECT6 = "on_connect6";
    /// cgroup/sendmsg4.
    SENDMSG4 = "on_sendmsg4";
    /// cgroup/sendmsg6.
    SENDMSG6 = "on_sendmsg6";
    /// cgroup/recvmsg4.
    RECVMSG4 = "on_recvmsg4";
    /// cgroup/recvmsg6.
    RECVMSG6 = "on_recvmsg6";
    /// cgroup/getpeername4.
    GETPEERNAME4 = "on_getpeername4";
    /// cgroup/getpeername6.
    GETPEERNAME6 = "on_getpeername6";
    /// cgroup/getsockname4.
    GETSOCKNAME4 = "on_getsockname4";
    /// cgroup/getsockname6.
    GETSOCKNAME6 = "on_getsockname6";
    /// sk_lookup.
    SK_LOOKUP = "on_sk_lookup";
    /// sock_ops.
    SOCK_OPS = "on_sock_ops";
    /// sk_skb/stream_verdict.
    SPLICE = "on_splice";
    /// The raw tracepoint [`READ_TRACEPOINT`].
    THREAD_READS = "on_thread_reads";
    /// sock_ops, beside [`SOCK_OPS`].
    THREAD_SENDS = "on_thread_sends";
    /// What the kernel calls its tracepoint in the thread that has read from a TCP socket (since 4.15).
    READ_TRACEPOINT = "tcp_rcv_space_adjust";
}
