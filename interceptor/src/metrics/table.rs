//! The one table of all metric families. Registration takes its help from here, docs/metrics.md is made of it.

/// A metric family as documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FamilyDoc {
    /// Its full name, as a query uses it.
    pub name: &'static str,
    /// What it measures how.
    pub kind: FamilyKind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says, without a full stop.
    pub help: &'static str,
}

/// The type of a metric family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FamilyKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
    /// A fact, with the value 1.
    Info,
}

impl FamilyKind {
    /// The name that the exposition format uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }

    /// What the exposition format adds to the name of a family.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Counter => "_total",
            Self::Info => "_info",
            Self::Gauge | Self::Histogram => "",
        }
    }
}

impl FamilyDoc {
    /// The name under which the family is registered: without the suffix that the exposition format adds.
    pub(super) fn registered_name(&self) -> &'static str {
        self.name.strip_suffix(self.kind.suffix()).unwrap_or(self.name)
    }
}

macro_rules! families {
    ($($ident:ident = $name:literal, $kind:ident, [$($label:literal),*], $help:literal;)*) => {
        $(pub(super) const $ident: FamilyDoc =
            FamilyDoc { name: $name, kind: FamilyKind::$kind, labels: &[$($label),*], help: $help };)*

        /// Every family, in the order of the documentation.
        pub const FAMILIES: &[FamilyDoc] = &[$($ident),*];
    };
}

families! {
    CONNECTIONS_OPENED = "interceptor_connections_opened_total", Counter, ["direction"],
        "Connections that the agent accepted";
    CONNECTIONS_OPEN = "interceptor_connections_open", Gauge, ["direction"],
        "Intercepted connections that are open now";
    CONNECTIONS = "interceptor_connections_total", Counter, ["direction", "protocol", "verdict", "reason"],
        "Intercepted connections that ended, by what was spoken, what became of them and why";
    REFUSED_CONNECTIONS = "interceptor_refused_connections_total", Counter, ["workload", "reason"],
        "Connections of a workload that found no place: too_many_connections (proxy.max_connections), or agent_full, as it had as many as were left of proxy.max_connections_total (decisions/0018-overload.md). A workload shows from its first one on";
    REQUESTS = "interceptor_requests_total", Counter, ["direction", "verdict", "reason", "status_class"],
        "HTTP requests that ended, by what became of them, why, and the class of the answer's status (none without an answer)";
    REQUEST_DURATION = "interceptor_request_duration_seconds", Histogram, ["direction", "verdict"],
        "From a request's head to the end of its response";
    REQUEST_SPACES = "interceptor_request_spaces_total", Counter, ["direction", "from"],
        "HTTP requests that ended, by where their space was read: header, host, caller, trace, flight, thread or none";
    REQUEST_NOTES = "interceptor_request_notes_total", Counter, ["note"],
        "HTTP requests that ended and of which something else is worth knowing, as their records say: differing_headers, header_stripped, baggage_full, ambiguous_trace, ambiguous_flight, ambiguous_thread, not_remembered, another_endpoint";
    CONNECT_DURATION = "interceptor_connect_duration_seconds", Histogram, [],
        "How long new connections to upstreams took";
    BYTES = "interceptor_bytes_total", Counter, ["direction", "way"],
        "Bytes of intercepted connections, from the caller (in) and to the caller (out), added when a connection ends";
    FLOW_RECORDS_LOST = "interceptor_flow_records_lost_total", Counter, [],
        "Flow records that followers were too slow to read";
    KERNEL_CONNECTIONS = "interceptor_kernel_connections_total", Counter, ["direction", "reason"],
        "Connections that the hooks decided on: redirected to the agent, or why they were left alone";
    SNAPSHOT_VERSION = "interceptor_snapshot_version", Gauge, [],
        "The version of the configuration in force; 0 before there is one";
    SNAPSHOT_UPDATES = "interceptor_snapshot_updates_total", Counter, ["result"],
        "Configurations that were put into force (ok), or refused while the last good one stayed (rejected)";
    SOURCE_WARNINGS = "interceptor_source_warnings", Gauge, [],
        "Things in the configuration in force that cannot be used, as status names them";
    WATCH = "interceptor_watch", Gauge, ["resource", "state"],
        "Whether the watch of a resource of the cluster is in that state (listing, watching, failed): 1 or 0";
    WATCHED_OBJECTS = "interceptor_watched_objects", Gauge, ["resource"],
        "Objects of the cluster that the agent knows; for pods those of its node";
    WATCH_EVENTS = "interceptor_watch_events_total", Counter, ["resource"],
        "Changes that watches told of; bookmarks and lists do not count";
    WATCH_FAILURES = "interceptor_watch_failures_total", Counter, ["resource", "reason"],
        "Lists and watches that failed, each attempt: forbidden, unauthorized, throttled, refused, expired, unreachable, silent, garbage or short";
    WORKLOADS = "interceptor_workloads", Gauge, ["state"],
        "Workloads of this node by state: captured, pending or failed";
    LEFT_OUT = "interceptor_left_out_addresses", Gauge, [],
        "Destinations and inbound ports that should be captured and pass: the kernel's maps have no room for them, or it refused them otherwise";
    HEARTBEAT_LAPSES = "interceptor_heartbeat_lapses_total", Counter, [],
        "Times that the agent answered again after new connections had passed it by, because it or a worker had hung";
    KERNEL_SPLICE = "interceptor_kernel_splice_total", Counter, ["event"],
        "Directions of connections under proxy.splice: kernel, by what became of them: handed to the kernel, refused by it (moved by splice(2) then), left by it again for a receiver that does not keep up (copied then); unavailable counts agents that do without because the self-test failed";
    UNEXPECTED_CONNECTIONS = "interceptor_unexpected_connections_total", Counter, [],
        "Connections to the agent's listeners that no hook had sent there";
    REAL_CLIENT_TABLE_FULL = "interceptor_real_client_table_full_total", Counter, [],
        "Inbound connections whose application saw the pod's own address, because the table of real clients was full";
    ACCEPT_PAUSES = "interceptor_accept_pauses_total", Counter, [],
        "Times that a listener paused for 50 ms, because the process had no descriptors or the kernel no memory left for another connection; those that come meanwhile wait";
    DNS_QUERIES = "interceptor_dns_queries_total", Counter, ["transport", "outcome"],
        "DNS queries of workloads in derived spaces: answered by the agent (a service that only an ancestor has), forwarded to the server unchanged (malformed ones as well), dropped because too many were under way, or failed because the server could not be reached";
    ESTABLISHED_CLOSED = "interceptor_established_closed_total", Counter, ["direction"],
        "Connections of workloads that were closed because their destination (outbound) or their own port (inbound) became captured";
    THREAD_CALLS = "interceptor_thread_calls_total", Counter, ["workload", "origin"],
        "Requests without a carrier of a space that a workload with propagate: thread sent, by where they came from: traced to a request, or why not (decisions/0013-by-thread.md): unseen, no_request, answered, several_threads, several_requests, process";
    LOG_LEFT_OUT = "interceptor_log_lines_left_out_total", Counter, [],
        "Lines that were left out of the agent's log, because more than 20 of their kind had come within 10 s";
    LOG_LOST = "interceptor_log_lines_lost_total", Counter, [],
        "Lines of the agent's log that were lost, because nobody read it in time or the disk was full";
    BUILD = "interceptor_build_info", Info, ["version"],
        "The agent's version";
}

/// docs/metrics.md.
pub fn reference_markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    FAMILIES.iter().for_each(|family| row(&mut text, family));
    text.push_str(MANAGER_INTRODUCTION);
    super::manager::FAMILIES.iter().for_each(|family| row(&mut text, family));
    text.push_str(KERNEL_INTRODUCTION);
    for (_, direction, reason) in interceptor_common::counters::ALL {
        text.push_str(&format!("| {direction} | {reason} |\n"));
    }
    text
}

fn row(text: &mut String, family: &FamilyDoc) {
    let labels = family.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
    text.push_str(&format!("| `{}` | {} | {labels} | {}. |\n", family.name, family.kind.as_str(), family.help));
}

const INTRODUCTION: &str = "\
# Metrics

<!-- Generated from interceptor/src/metrics/table.rs; write it anew with
     UPDATE_DOCS=1 cargo test -p interceptor metrics::tests::docs -->

The agent serves `/metrics` (OpenMetrics text), `/healthz` and `/readyz` on `metrics.address`. Reasons are the stable words
that flow records use.

| Name | Type | Labels | Meaning |
|---|---|---|---|
";

const MANAGER_INTRODUCTION: &str = "
## The ingress manager

`interceptor ingress-manager` serves these, `/healthz`, `/readyz` and `/status` on its `--listen` address.

| Name | Type | Labels | Meaning |
|---|---|---|---|
";

const KERNEL_INTRODUCTION: &str = "
## What the hooks count

The labels of `interceptor_kernel_connections_total`:

| direction | reason |
|---|---|
";
