//! Every key of the file, once: the parser's spelling, the suggestions, docs/config.md and the example's test all read
//! this table.
//!
//! [`Fields`](super::cursor::Fields) refuses keys that are not in it and, in a debug build, readers that ask for one that
//! is not. A key's bounds are constants beside its reader; a test holds the wording here against them.

use Presence::{Default, Optional, Required};

/// What leaving a key out means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// The file is refused.
    Required,
    /// There is no value to name; these words say what happens then.
    Optional(&'static str),
    /// This value, as YAML.
    Default(&'static str),
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    /// Its path, items of a list as `[]`.
    pub(super) path: &'static str,
    /// The type and bounds of its value, in words.
    pub(super) kind: &'static str,
    /// What leaving it out means.
    pub(super) presence: Presence,
    /// What it is for, and when to change it.
    pub(super) meaning: &'static str,
}

impl Key {
    /// The path of the mapping that it belongs to (empty at the top), and its name there.
    pub(super) fn split(&self) -> (&'static str, &'static str) {
        self.path.rsplit_once('.').unwrap_or(("", self.path))
    }
}

/// The keys of the mapping at a [pattern](super::path::Path::pattern).
pub(super) fn keys_of(pattern: &str) -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(Key::split).filter(move |(parent, _)| *parent == pattern).map(|(_, name)| name)
}

const fn key(path: &'static str, kind: &'static str, presence: Presence, meaning: &'static str) -> Key {
    Key { path, kind, presence, meaning }
}

const NAME: &str = "name";
const ADDRESSES: &str = "list of IP addresses";
const PORT: &str = "port, 1 to 65535";
const MODE: &str = "`off`, `trace`, `single-flight` or `thread`";
const TIMEOUT: &str = "duration, 100ms to 1h";

/// The table, in the order in which the example shows the keys.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("spaces", "list", Optional("no spaces"), "The spaces. A namespace in which a developer deploys copies is one."),
    key("spaces[].name", NAME, Required, "What the route header carries."),
    key("spaces[].parent", NAME, Optional("a root space"), "The space that this one derives from, at most 3 levels below a root. A fault here makes this space and those below it unusable, nothing else."),
    key("spaces[].propagate", MODE, Optional("as `propagate.mode`"), "How requests of workloads in this space find their space again; see `propagate`."),
    key("services", "list", Optional("no services"), "The services, each copy an item of its own. Services of one space tree with the same name are copies of each other."),
    key("services[].name", NAME, Required, "The service's name, unique in its space."),
    key("services[].space", NAME, Required, "The space that it lives in."),
    key("services[].addresses", ADDRESSES, Optional("headless"), "Its virtual addresses (ClusterIPs). With a port they identify the service, so no other one may have both."),
    key("services[].ports", "list", Required, "Its ports, at least one."),
    key("services[].ports[].name", NAME, Optional("only for a single port"), "The port's name, by which copies and endpoints match it."),
    key("services[].ports[].port", PORT, Required, "The port of the virtual addresses."),
    key("services[].ports[].target_port", PORT, Optional("the same as `port`"), "The port of the endpoints."),
    key("services[].ports[].app_protocol", "text", Optional("detected"), "The protocol as the service's owner declares it (`http`, `kubernetes.io/h2c`, `tcp`, …); spares the detection."),
    key("services[].endpoints", "list", Optional("none"), "The pods behind it, used when a request goes to another space than the one it was sent to."),
    key("services[].endpoints[].address", "IP address", Required, "The pod's address."),
    key("services[].endpoints[].ready", "true or false", Default("true"), "Whether new connections may go there."),
    key("services[].endpoints[].ports", "mapping of port names to ports", Optional("`target_port`"), "The ports of this endpoint that differ from the service's `target_port`."),
    key("workloads", "list", Optional("nothing is captured"), "The pods of this node that are captured."),
    key("workloads[].name", NAME, Required, "The workload's name, unique on this node."),
    key("workloads[].space", NAME, Optional("outside all trees"), "The space that it lives in, which is that of its requests without a route header."),
    key("workloads[].netns", "absolute path", Optional("`pid` or `pod_uid` is given"), "The file of its network namespace. Exactly one of `netns`, `pid` and `pod_uid`."),
    key("workloads[].pid", "number, 1 to 4194304", Optional("`netns` or `pod_uid` is given"), "A process in its network namespace, instead of `netns`."),
    key("workloads[].pod_uid", "UID of a pod", Optional("`netns` or `pid` is given"), "The pod of the kubelet that it is, instead of `netns`: its cgroup, a process in it and so its network namespace are found, and found again when the pod's sandbox is made anew (operating.md, \"How pods are found\")."),
    key("workloads[].cgroup", "absolute path", Optional("below `capture.cgroup`"), "Its own cgroup v2 directory, for a workload that is not below `capture.cgroup`."),
    key("workloads[].addresses", ADDRESSES, Required, "Its addresses, at least one; no other workload may have them."),
    key("workloads[].propagate", MODE, Optional("as its space"), "How its requests find their space again; see `propagate`."),
    key("routing", "mapping", Optional("its defaults"), "Which requests go where."),
    key("routing.route_headers", "list of header names, `baggage/KEY` and `tracestate/KEY`", Default("[azds-route-as, kubernetes-route-as]"), "What carries a space: headers, or members of the `baggage` or `tracestate` header. The first of the list that a request has wins; one that says something else is noted in the flow record."),
    key("routing.inject", "list of header names and `baggage/KEY`", Optional("the first of `route_headers` that is no `tracestate/KEY`"), "What is added to a request that none of `route_headers` names a space for, and whose space is decided otherwise; all of them must be in `route_headers`. A baggage member is merged into the request's `baggage`, within the limits of the W3C document (64 members, 8192 bytes)."),
    key("routing.strip_from_outside", "true or false", Default("false"), "Whether requests from outside lose what carries a space (all of `route_headers`) at the first captured pod, so that only the host names their space. Outside is who is neither a captured workload nor an endpoint of a service in a space tree."),
    key("routing.ingress_suffixes", "list of DNS names", Default("[]"), "Suffixes of `<space>.s.<root>.<service>.<suffix>`: requests for such a host get the route header."),
    key("routing.default_space", "`caller` or `none`", Default("caller"), "The space of a request without a route header: the calling workload's, or none, so that it goes where it was sent."),
    key("routing.same_space", "`original` or `endpoint`", Default("original"), "Where a request goes that stays in the space it was sent to: to the original destination (the cluster's balancing stays in charge), or to a ready endpoint chosen per request."),
    key("propagate", "mapping", Optional("its defaults"), "How the space of a request is found again that its application did not pass on (propagation.md)."),
    key("propagate.mode", MODE, Default("trace"), "By what, for workloads and spaces of which nothing else is said: `trace`, the trace id that it shares with a request that came in; `single-flight`, the same and, without an id, the one space of all requests that are in the workload at the time; `thread`, as `trace` and, without an id, the thread that read a request that came in; or nothing."),
    key("propagate.trace_ids", "list of header names", Default("[traceparent, b3, x-b3-traceid, x-request-id, uber-trace-id, x-amzn-trace-id, x-cloud-trace-context, sentry-trace, x-datadog-trace-id]"), "Headers that have a trace id. Those of other names are compared as text."),
    key("propagate.grace", "duration, 0s to 1h", Default("10s"), "How long an id is remembered after the last request with it has ended, for work that goes on after its answer."),
    key("propagate.max_traces", "number, 1 to 1000000", Default("16384"), "Ids that are remembered of one workload. Where there are more, those go first whose requests ended longest ago."),
    key("capture", "mapping", Optional("its defaults"), "Where the kernel hooks attach and how they fail open."),
    key("capture.cgroup", "absolute path", Optional("every workload names its own"), "The cgroup v2 directory above all workloads, and not above the agent."),
    key("capture.outbound_port", PORT, Default("15001"), "The agent's listener for outbound connections, in every workload's network namespace. Change it if an application uses that port."),
    key("capture.heartbeat_timeout", "duration, 500ms to 1m", Default("1s"), "How long the hooks trust an agent that does not show itself; after that, traffic goes direct. Raise it on nodes that stall."),
    key("capture.fail", "`open` or `closed`", Default("open"), "What becomes of new connections that would be intercepted while no agent answers: they go directly, or are refused, also after a crash (decisions/0016-fail-closed.md)."),
    key("capture.pin_directory", "absolute path", Default("/sys/fs/bpf/interceptor"), "Where `fail: closed` keeps the hooks that outlive an agent; in a bpf file system, for agents only."),
    key("capture.services", "`space-services` or `overridden`", Default("space-services"), "Which services are captured: all of a space tree, or only where a second copy of a service in the tree could change where a request goes. The latter spares shared services the agent, and their requests the flow records; see [0006](decisions/0006-what-is-captured.md)."),
    key("capture.close_established", "true or false", Default("false"), "Whether connections that a workload made before their destination became captured are closed, so that keep-alive pools are routed at once. A request under way on one of them fails."),
    key("proxy", "mapping", Optional("its defaults"), "The data path's bounds and deadlines."),
    key("proxy.workers", "number, 0 to 256", Default("0"), "Worker threads; 0 is one per CPU, but at most 4."),
    key("proxy.connect_timeout", TIMEOUT, Default("10s"), "For a connection to an upstream; then the request goes to another ready endpoint of the same copy, three in all, or gets a 504."),
    key("proxy.detect_timeout", TIMEOUT, Default("1s"), "In all, for the first bytes of a connection to become recognisable; then it is passed on unparsed."),
    key("proxy.head_timeout", TIMEOUT, Default("30s"), "For the rest of a request head that has begun to arrive; bounds slow clients."),
    key("proxy.first_byte_timeout", "duration, 100ms to 1h, or `off`", Default("off"), "For the first byte of a response; then the request gets a 504. Off: as long as the application takes, as without the agent."),
    key("proxy.idle_timeout", TIMEOUT, Default("1m"), "How long an idle connection to another space's endpoint is kept. Connections to the original destination live as long as their server and client keep them."),
    key("proxy.drain_timeout", TIMEOUT, Default("30s"), "How long connections under way have to end when the agent ends or is succeeded; what is left is reset then. In Kubernetes keep it below terminationGracePeriodSeconds."),
    key("proxy.max_connections", "number, 1 to 1000000", Default("10000"), "Connections of one workload at a time, both directions; one more is refused. Bounds what a pod that leaks connections takes."),
    key("proxy.max_connections_total", "number, 0 to 1000000", Default("0"), "Connections of all workloads at a time. No workload gets more than are left for all others, so that half of them are the most that one can have. 0 is as many as there are descriptors (a quarter of the hard limit) and memory for (64 KiB each of half of the cgroup's limit); `interceptor status` says how many that is. More than the descriptors allow is cut (decisions/0018-overload.md)."),
    key("proxy.max_buffered_bytes", "number, 0 to 68719476736", Default("0"), "Bytes that are held for peers that do not keep up, beyond what each connection is planned with: heads of more than 16 KiB, open streams of HTTP/2, and their data. No workload gets more than it leaves for others. 0 is a quarter of the memory."),
    key("proxy.max_head_bytes", "bytes, 1024 to 1048576", Default("65536"), "The largest request or response head. Raise it for applications with large cookies."),
    key("proxy.splice", "`auto`, `kernel`, `splice` or `copy`", Default("auto"), "How bytes that are not parsed move: `auto` is splice(2); `kernel` hands bulk transfers to a sock map, if the self-test at start passes, and is slower than splice(2) where a receiver does not keep up (decisions/0005-kernel-splice.md); `copy` reads and writes."),
    key("proxy.http2", "mapping", Optional("its defaults"), "Bounds of HTTP/2, each for one connection. The largest head is `proxy.max_head_bytes`."),
    key("proxy.http2.max_concurrent_streams", "number, 100 to 100000", Default("2048"), "Streams that a peer may have open at a time; further ones are refused, so that it tries again later."),
    key("proxy.http2.stream_window", "bytes, 65535 to 1073741824", Default("131072"), "What a peer may send on one stream before it was passed on. Raise it for large transfers over long ways."),
    key("proxy.http2.connection_window", "bytes, 65535 to 1073741824", Default("33554432"), "What a peer may send on all streams together before it was passed on. Divided by the stream's window it is how many receivers may stop reading before others wait for them."),
    key("proxy.http2.max_resets", "number, 100 to 1000000", Default("1000"), "Streams that a client may reset within ten seconds; then its connection ends with ENHANCE_YOUR_CALM."),
    key("proxy.http2.max_control_frames", "number, 100 to 1000000", Default("1000"), "Frames without content (PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA) that a client may send within ten seconds beyond those that its messages and ours explain; then its connection ends with ENHANCE_YOUR_CALM."),
    key("admin", "mapping", Optional("its defaults"), "The socket that the command line talks to."),
    key("admin.socket", "absolute path, at most 107 bytes", Default("/run/interceptor/admin.sock"), "Its path; change it to run two agents on one machine."),
    key("metrics", "mapping", Optional("its defaults"), "The Prometheus and health endpoint."),
    key("metrics.address", "`address:port` or `off`", Default("127.0.0.1:15020"), "Where it listens, in the agent's network namespace. Loopback keeps it out of the pods' reach."),
    key("flows", "mapping", Optional("its defaults"), "The flow records that `interceptor flows` shows."),
    key("flows.capacity", "number, 1 to 1000000", Default("8192"), "How many are kept in memory; older ones are dropped and counted. One takes about 1 KiB."),
    key("ingress", "mapping", Optional("its defaults"), "The Ingress objects that `interceptor ingress-manager` keeps, for hosts below `routing.ingress_suffixes`."),
    key("ingress.class", NAME, Optional("the cluster's default class"), "Their `ingressClassName`."),
    key("ingress.tls_secret", "text", Optional("no TLS"), "The Secret of their TLS entry, in the namespace of each; `{service}` stands for the service's name."),
    key("ingress.annotations", "mapping of names to texts", Optional("none"), "Annotations for the ingress controller or cert-manager."),
    key("dns", "mapping", Optional("its defaults"), "Short names of shared services, for workloads in derived spaces: the agent sees their DNS queries and answers those for `<service>.<their space>.svc.<cluster domain>` that only an ancestor space has a service for."),
    key("dns.enabled", "true or false", Default("true"), "Off: no DNS is captured, and such names do not resolve."),
    key("dns.cluster_domain", "DNS name", Default("cluster.local"), "The cluster's domain, as kubelet's `clusterDomain` has it."),
    key("dns.servers", ADDRESSES, Default("[]"), "The DNS servers whose port 53 is captured. None: those in the resolv.conf of each workload's processes."),
    key("dns.max_in_flight", "number, 8 to 4096", Default("256"), "Clients of one workload that wait for one server, UDP and TCP apart; further queries are dropped and counted."),
];
