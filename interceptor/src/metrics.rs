//! What the agent counts. A value, not a global: two agents in one process count apart.
//!
//! Workers call [`Metrics::observe`] once per finished record and the two connection methods; control calls the rest; the
//! metrics endpoint calls [`Metrics::encode`]. Counting takes atomics and, for the two families with open reasons, one
//! look-up; it never allocates for a label set that was seen before. All families are described in [`FAMILIES`].

mod dns;
mod kernel;
mod labels;
pub mod manager;
mod refused;
mod table;
mod threads;
mod watches;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};
use serde::{Deserialize, Serialize};

pub use dns::{DnsOutcome, DnsTransport};
pub use kernel::{KernelCount, KernelReader};
pub use refused::RefusedConnections;
pub use table::{FAMILIES, FamilyDoc, FamilyKind, reference_markdown};
pub use threads::{CallOrigin, ThreadCalls};
pub use watches::WatchState;

use crate::flow::{ConnectionRecord, Note, Protocol, Record, RequestRecord, Verdict};
use crate::route::{Direction, SpaceFrom};
use crate::telemetry::LogCounts;
use dns::DnsQueries;
use kernel::{KernelCollector, KernelCounters};
use labels::{ConnectionLabels, Pairs, PerDirection, PerVerdict, RequestLabels, fetch, status_class};
use table::FamilyDoc as Doc;
use watches::Watches;

/// Upper bounds, seconds: from a call within the node to a long poll.
const DURATION_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];
/// Upper bounds, seconds: from loopback to three lost SYNs.
const CONNECT_BUCKETS: [f64; 11] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.05, 0.25, 1.0, 3.0, 10.0];

/// All metrics of one agent.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    opened: PerDirection<Counter>,
    open: PerDirection<Gauge>,
    connections: Family<ConnectionLabels, Counter>,
    requests: Family<RequestLabels, Counter>,
    request_duration: PerDirection<PerVerdict<Histogram>>,
    request_spaces: PerDirection<[Counter; SpaceFrom::ALL.len()]>,
    request_notes: [Counter; Note::ALL.len()],
    connect_duration: Histogram,
    bytes_in: PerDirection<Counter>,
    bytes_out: PerDirection<Counter>,
    flow_records_lost: Counter,
    snapshot_version: Gauge,
    snapshots_ok: Counter,
    snapshots_rejected: Counter,
    source_warnings: Gauge,
    watches: Watches,
    workloads_captured: Gauge,
    workloads_pending: Gauge,
    workloads_failed: Gauge,
    left_out: Gauge,
    heartbeat_lapses: Counter,
    kernel_splice: [Counter; 4],
    unexpected_connections: Counter,
    real_client_table_full: Counter,
    accept_pauses: Counter,
    dns_queries: DnsQueries,
    established_closed: PerDirection<Counter>,
    thread_calls: threads::Calls,
    refused_connections: refused::Refused,
    turned_away: AtomicU64,
    kernel: Arc<KernelCounters>,
}

/// How many workloads are in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadCounts {
    /// Intercepted.
    pub captured: usize,
    /// Not there yet (its network namespace is missing).
    pub pending: usize,
    /// Given up until the configuration changes.
    pub failed: usize,
}

/// What happens about kernel splice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpliceEvent {
    /// A direction was handed to the kernel.
    Handed,
    /// The kernel did not take one.
    Refused,
    /// The kernel left one to the agent again.
    Left,
    /// It was asked for and cannot be used at all.
    Unavailable,
}

/// How many directions of connections came to what under `proxy.splice: kernel`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpliceEvents {
    /// Handed to the kernel.
    pub handed: u64,
    /// Not taken by it.
    pub refused: u64,
    /// Left by it to the agent again.
    pub left: u64,
}

impl SpliceEvent {
    const ALL: [Self; 4] = [Self::Handed, Self::Refused, Self::Left, Self::Unavailable];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Handed => "handed",
            Self::Refused => "refused",
            Self::Left => "left",
            Self::Unavailable => "unavailable",
        }
    }
}

impl Metrics {
    /// All metrics, at 0.
    pub fn new() -> Self {
        Self::with_log(&LogCounts::default())
    }

    /// All metrics, at 0 but for what the log has counted already.
    pub fn with_log(log: &LogCounts) -> Self {
        let mut registry = Registry::default();
        let registry_mut = &mut registry;

        let family: Family<Pairs, Counter> = register(registry_mut, table::CONNECTIONS_OPENED, Family::default());
        let opened = PerDirection::new(|d| fetch(&family, &[("direction", d.as_str())]));
        let family: Family<Pairs, Gauge> = register(registry_mut, table::CONNECTIONS_OPEN, Family::default());
        let open = PerDirection::new(|d| fetch(&family, &[("direction", d.as_str())]));
        let connections = register(registry_mut, table::CONNECTIONS, Family::default());
        let requests = register(registry_mut, table::REQUESTS, Family::default());

        let spaces: Family<Pairs, Counter> = register(registry_mut, table::REQUEST_SPACES, Family::default());
        let from =
            |d: Direction, from: SpaceFrom| fetch(&spaces, &[("direction", d.as_str()), ("from", from.as_str())]);
        let request_spaces = PerDirection::new(|d| SpaceFrom::ALL.map(|of| from(d, of)));
        let notes: Family<Pairs, Counter> = register(registry_mut, table::REQUEST_NOTES, Family::default());
        let request_notes = Note::ALL.map(|note| fetch(&notes, &[("note", note.as_str())]));

        let durations: fn() -> Histogram = || Histogram::new(DURATION_BUCKETS);
        let durations = Family::<Pairs, _, _>::new_with_constructor(durations);
        let durations = register(registry_mut, table::REQUEST_DURATION, durations);
        let request_duration = PerDirection::new(|d| {
            PerVerdict::new(|v: Verdict| fetch(&durations, &[("direction", d.as_str()), ("verdict", v.as_str())]))
        });
        let connect_duration = register(registry_mut, table::CONNECT_DURATION, Histogram::new(CONNECT_BUCKETS));

        let bytes: Family<Pairs, Counter> = register(registry_mut, table::BYTES, Family::default());
        let way = |way| PerDirection::new(|d| fetch(&bytes, &[("direction", d.as_str()), ("way", way)]));
        let (bytes_in, bytes_out) = (way("in"), way("out"));

        let updates: Family<Pairs, Counter> = register(registry_mut, table::SNAPSHOT_UPDATES, Family::default());
        let workloads: Family<Pairs, Gauge> = register(registry_mut, table::WORKLOADS, Family::default());
        let dns_queries: Family<Pairs, Counter> = register(registry_mut, table::DNS_QUERIES, Family::default());
        let splice: Family<Pairs, Counter> = register(registry_mut, table::KERNEL_SPLICE, Family::default());
        let closed: Family<Pairs, Counter> = register(registry_mut, table::ESTABLISHED_CLOSED, Family::default());
        let established_closed = PerDirection::new(|d| fetch(&closed, &[("direction", d.as_str())]));
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry_mut.register(table::BUILD.registered_name(), table::BUILD.help, build);

        register(registry_mut, table::LOG_LEFT_OUT, log.left_out.clone());
        register(registry_mut, table::LOG_LOST, log.lost.clone());
        let kernel = Arc::new(KernelCounters::default());
        registry_mut.register_collector(Box::new(KernelCollector(Arc::clone(&kernel))));
        Self {
            opened,
            open,
            connections,
            requests,
            request_duration,
            request_spaces,
            request_notes,
            connect_duration,
            bytes_in,
            bytes_out,
            flow_records_lost: register(registry_mut, table::FLOW_RECORDS_LOST, Counter::default()),
            snapshot_version: register(registry_mut, table::SNAPSHOT_VERSION, Gauge::default()),
            snapshots_ok: fetch(&updates, &[("result", "ok")]),
            snapshots_rejected: fetch(&updates, &[("result", "rejected")]),
            source_warnings: register(registry_mut, table::SOURCE_WARNINGS, Gauge::default()),
            watches: Watches::new(registry_mut),
            workloads_captured: fetch(&workloads, &[("state", "captured")]),
            workloads_pending: fetch(&workloads, &[("state", "pending")]),
            workloads_failed: fetch(&workloads, &[("state", "failed")]),
            left_out: register(registry_mut, table::LEFT_OUT, Gauge::default()),
            heartbeat_lapses: register(registry_mut, table::HEARTBEAT_LAPSES, Counter::default()),
            kernel_splice: SpliceEvent::ALL.map(|event| fetch(&splice, &[("event", event.as_str())])),
            unexpected_connections: register(registry_mut, table::UNEXPECTED_CONNECTIONS, Counter::default()),
            real_client_table_full: register(registry_mut, table::REAL_CLIENT_TABLE_FULL, Counter::default()),
            accept_pauses: register(registry_mut, table::ACCEPT_PAUSES, Counter::default()),
            dns_queries: DnsQueries::new(&dns_queries),
            established_closed,
            thread_calls: register(registry_mut, table::THREAD_CALLS, Family::default()),
            refused_connections: register(registry_mut, table::REFUSED_CONNECTIONS, Family::default()),
            turned_away: AtomicU64::new(0),
            kernel,
            registry,
        }
    }

    /// A connection was accepted.
    pub fn connection_opened(&self, direction: Direction) {
        self.opened.of(direction).inc();
        self.open.of(direction).inc();
    }

    /// A connection that was accepted is gone.
    pub fn connection_closed(&self, direction: Direction) {
        self.open.of(direction).dec();
    }

    /// A connection found no place.
    pub fn connection_turned_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }

    /// How many found no place, whatever workload they were of.
    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }

    /// A connection was refused for want of a place and has no record.
    pub fn connection_refused(&self, direction: Direction, reason: &'static str) {
        self.opened.of(direction).inc();
        let labels = ConnectionLabels {
            direction: direction.as_str(),
            protocol: Protocol::Unknown.as_str(),
            verdict: Verdict::Refused.as_str(),
            reason,
        };
        self.connections.get_or_create(&labels).inc();
    }

    /// A record was finished.
    pub fn observe(&self, record: &Record) {
        match record {
            Record::Connection(record) => self.observe_connection(record),
            Record::Request(record) => self.observe_request(record),
        }
    }

    fn observe_connection(&self, record: &ConnectionRecord) {
        let labels = ConnectionLabels {
            direction: record.direction.as_str(),
            protocol: record.protocol.as_str(),
            verdict: record.verdict.as_str(),
            reason: record.reason,
        };
        self.connections.get_or_create(&labels).inc();
        self.bytes_in.of(record.direction).inc_by(record.bytes_in);
        self.bytes_out.of(record.direction).inc_by(record.bytes_out);
        record.connect.iter().for_each(|took| self.connect_duration.observe(took.as_secs_f64()));
    }

    fn observe_request(&self, record: &RequestRecord) {
        let labels = RequestLabels {
            direction: record.direction.as_str(),
            verdict: record.verdict.as_str(),
            reason: record.reason,
            status_class: status_class(record.status),
        };
        self.requests.get_or_create(&labels).inc();
        if let Some(counter) = self.request_spaces.of(record.direction).get(record.space_from as usize) {
            counter.inc();
        }
        for counter in record.notes.iter().filter_map(|note| self.request_notes.get(note as usize)) {
            counter.inc();
        }
        self.request_duration.of(record.direction).of(record.verdict).observe(record.duration.as_secs_f64());
        record.connect.iter().for_each(|took| self.connect_duration.observe(took.as_secs_f64()));
    }

    /// The counters of a workload whose threads are followed.
    pub fn thread_calls(&self, workload: &str) -> ThreadCalls {
        ThreadCalls::of(&self.thread_calls, workload)
    }

    /// That workload's threads are not followed any more.
    pub fn forget_thread_calls(&self, workload: &str) {
        threads::forget(&self.thread_calls, workload);
    }

    /// The counters of a workload whose connections find no place.
    pub fn refused_connections(&self, workload: &str) -> RefusedConnections {
        RefusedConnections::of(&self.refused_connections, workload)
    }

    /// That workload is not captured any more.
    pub fn forget_refused_connections(&self, workload: &str) {
        refused::forget(&self.refused_connections, workload);
    }

    /// A follower was too slow for so many flow records.
    pub fn flow_records_lost(&self, count: u64) {
        self.flow_records_lost.inc_by(count);
    }

    /// A configuration came into force.
    pub fn snapshot_accepted(&self, version: u64) {
        self.snapshots_ok.inc();
        self.snapshot_version.set(i64::try_from(version).unwrap_or(i64::MAX));
    }

    /// A configuration was refused; the last good one stays.
    pub fn snapshot_rejected(&self) {
        self.snapshots_rejected.inc();
    }

    /// So much of the configuration in force cannot be used.
    pub fn set_source_warnings(&self, count: usize) {
        self.source_warnings.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// How many workloads there are in each state.
    pub fn set_workloads(&self, counts: WorkloadCounts) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.workloads_captured.set(number(counts.captured));
        self.workloads_pending.set(number(counts.pending));
        self.workloads_failed.set(number(counts.failed));
    }

    /// So many addresses should be captured and are not.
    pub fn set_left_out(&self, count: usize) {
        self.left_out.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// The agent answers again after new connections had passed it by.
    pub fn heartbeat_lapsed(&self) {
        self.heartbeat_lapses.inc();
    }

    /// Something happened about kernel splice.
    pub fn kernel_splice(&self, event: SpliceEvent) {
        if let Some(counter) = self.kernel_splice.get(event as usize) {
            counter.inc();
        }
    }

    /// What has happened about kernel splice.
    pub fn kernel_splice_events(&self) -> SpliceEvents {
        let [handed, refused, left, _] = &self.kernel_splice;
        SpliceEvents { handed: handed.get(), refused: refused.get(), left: left.get() }
    }

    /// A connection came to a listener that no hook had sent there.
    pub fn unexpected_connection(&self) {
        self.unexpected_connections.inc();
    }

    /// A real client's address found no room in the kernel's table.
    pub fn real_client_table_full(&self) {
        self.real_client_table_full.inc();
    }

    /// A listener could not accept, as the process or the kernel has nothing left for another connection.
    pub fn accept_paused(&self) {
        self.accept_pauses.inc();
    }

    /// A DNS query of a workload in a derived space was dealt with.
    pub fn dns_query(&self, transport: DnsTransport, outcome: DnsOutcome) {
        self.dns_queries.count(transport, outcome);
    }

    /// How many DNS queries had that outcome.
    pub fn dns_queries(&self, outcome: DnsOutcome) -> u64 {
        self.dns_queries.total(outcome)
    }

    /// So many connections were closed because what they lead to became captured.
    pub fn established_closed(&self, direction: Direction, count: u64) {
        self.established_closed.of(direction).inc_by(count);
    }

    /// From now on the hooks' counters are read this way, at every scrape.
    pub fn set_kernel_reader(&self, reader: KernelReader) {
        self.kernel.set_reader(reader);
    }

    /// The hooks' counters as they are now; none before there is a reader.
    pub fn kernel_counters(&self) -> Vec<KernelCount> {
        self.kernel.read()
    }

    /// Everything as OpenMetrics text.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail; a collector of ours that did would leave what was written so far.
        if let Err(error) = prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            tracing::error!(%error, "the metrics could not be written completely");
        }
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

pub(crate) fn register<M: Metric + Clone>(registry: &mut Registry, family: Doc, metric: M) -> M {
    registry.register(family.registered_name(), family.help, metric.clone());
    metric
}

#[cfg(test)]
mod tests;
