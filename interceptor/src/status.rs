//! The board on which the agent's parts write how they are, and from which admin and the health endpoint read.
//!
//! Control calls the setters as things change; nothing here is on the way of a connection. The board decides nothing: what
//! is not ready says so itself, by [`StatusBoard::set_ready`] and the source's setters.

mod report;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

pub use report::{
    CapturedStatus, ConnectionsStatus, DnsReport, DnsStatus, Established, FlowsStatus, HookState, HookStatus,
    LapseStatus, LeftOut, ListenerStatus, Passed, SourceStatus, SpliceStatus, Status, WatchStatus, WorkloadState,
    WorkloadStatus,
};

use crate::config::CapturedServices;
use crate::flow::Hub;
use crate::metrics::{DnsOutcome, Metrics, WatchState, WorkloadCounts};
use crate::privileges::Confinement;
use crate::room::Room;
use crate::snapshot::Snapshot;

/// How the agent is.
#[derive(Debug)]
pub struct StatusBoard {
    started: SystemTime,
    started_at: Instant,
    board: Mutex<Board>,
}

#[derive(Debug, Default)]
struct Board {
    ready: bool,
    succeeded: bool,
    in_force: Option<u64>,
    source: SourceStatus,
    captured: CapturedStatus,
    hooks: Vec<HookStatus>,
    workloads: BTreeMap<String, (WorkloadState, String)>,
    listeners: Vec<ListenerStatus>,
    beat: Option<Instant>,
    lapses: LapseStatus,
    workers: usize,
    splice: SpliceStatus,
    dns: DnsReport,
    room: Option<Arc<Room>>,
}

/// How many addresses of the snapshot are captured; see [`CapturedStatus`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CapturedCounts {
    /// Whose calls are captured.
    pub destinations: usize,
    /// Those that pods of root spaces reach directly.
    pub outside_roots: usize,
    /// Those that are not captured at all.
    pub only_copies: usize,
    /// Ports that are intercepted inbound.
    pub inbound_ports: usize,
    /// What should be captured and is not: the kernel's maps have no room for it, or it was refused otherwise.
    pub left_out: usize,
}

impl StatusBoard {
    /// A board of an agent that starts now, whose configuration comes from there (`file`, its path).
    pub fn new(source_kind: &str, source_origin: &str) -> Self {
        let source =
            SourceStatus { kind: source_kind.to_owned(), origin: source_origin.to_owned(), ..SourceStatus::default() };
        let board = Mutex::new(Board { source, ..Board::default() });
        Self { started: SystemTime::now(), started_at: Instant::now(), board }
    }

    /// A configuration came into force.
    pub fn set_source_ok(&self, version: u64, warnings: Vec<String>) {
        let mut board = self.board();
        board.in_force = Some(version);
        board.source.loaded_at = Some(rfc3339(SystemTime::now()));
        board.source.last_error = None;
        board.source.warnings = warnings;
    }

    /// A configuration was refused; what was in force stays so.
    pub fn set_source_error(&self, error: String) {
        self.board().source.last_error = Some(error);
    }

    /// How the watch of a resource is, with what failed.
    pub fn set_watch(&self, resource: &'static str, state: WatchState, error: Option<String>) {
        let mut board = self.board();
        let watch = board.watch(resource);
        if watch.state != state || watch.since.is_empty() {
            watch.since = rfc3339(SystemTime::now());
        }
        watch.state = state;
        watch.error = error;
    }

    /// How many objects of a resource are known.
    pub fn set_watched_objects(&self, resource: &'static str, count: usize) {
        self.board().watch(resource).objects = count;
    }

    /// Which services are captured, as configured.
    pub fn set_captured_services(&self, services: CapturedServices) {
        self.board().captured.services = services.as_str().to_owned();
    }

    /// How many addresses are captured.
    pub fn set_captured(&self, counts: CapturedCounts) {
        let captured = &mut self.board().captured;
        captured.destinations = counts.destinations;
        captured.outside_roots = counts.outside_roots;
        captured.only_copies = counts.only_copies;
        captured.inbound_ports = counts.inbound_ports;
        captured.left_out = counts.left_out;
    }

    /// What becomes of connections from before their destination was captured, and why where that is not as wanted.
    pub fn set_established(&self, established: Established, why: &str) {
        let captured = &mut self.board().captured;
        captured.established = established;
        why.clone_into(&mut captured.established_detail);
    }

    /// How a kernel hook is.
    pub fn set_hook(&self, name: &str, state: HookState, detail: &str) {
        let mut board = self.board();
        let hook = HookStatus { name: name.to_owned(), state, detail: detail.to_owned() };
        match board.hooks.iter_mut().find(|known| known.name == name) {
            Some(known) => *known = hook,
            None => board.hooks.push(hook),
        }
    }

    /// How a workload is.
    pub fn set_workload(&self, name: &str, state: WorkloadState, detail: &str) {
        self.board().workloads.insert(name.to_owned(), (state, detail.to_owned()));
    }

    /// Forgets the workloads that do not belong any more.
    pub fn retain_workloads(&self, belongs: impl Fn(&str) -> bool) {
        self.board().workloads.retain(|name, _| belongs(name));
    }

    /// What the agent listens on: `admin`, `metrics`, `outbound`.
    pub fn set_listener(&self, name: &str, address: &str) {
        let mut board = self.board();
        board.listeners.retain(|listener| listener.name != name);
        board.listeners.push(ListenerStatus { name: name.to_owned(), address: address.to_owned() });
    }

    /// Whether workers and hooks are up.
    pub fn set_ready(&self, ready: bool) {
        self.board().ready = ready;
    }

    /// A successor has taken over; this agent only drains.
    pub fn set_succeeded(&self) {
        self.board().succeeded = true;
    }

    /// Whether a successor has taken over.
    pub fn is_succeeded(&self) -> bool {
        self.board().succeeded
    }

    /// How many worker threads run.
    pub fn set_workers(&self, workers: usize) {
        self.board().workers = workers;
    }

    /// How many connections the agent takes.
    pub fn set_room(&self, room: Arc<Room>) {
        self.board().room = Some(room);
    }

    /// How opaque bytes move and why so.
    pub fn set_splice(&self, backend: &str, why: &str) {
        self.board().splice =
            SpliceStatus { backend: backend.to_owned(), why: why.to_owned(), ..SpliceStatus::default() };
    }

    /// Whose DNS is captured.
    pub fn set_dns(&self, report: DnsReport) {
        self.board().dns = report;
    }

    /// The heartbeat shows itself: every worker lives.
    pub fn beat(&self) {
        self.board().beat = Some(Instant::now());
    }

    /// The agent answers again after it, or a worker, had not for that long: new connections passed it by.
    pub fn lapsed(&self, gap: Duration) {
        let lapses = &mut self.board().lapses;
        lapses.count += 1;
        lapses.last_ms = u64::try_from(gap.as_millis()).unwrap_or(u64::MAX);
        lapses.last_ended = Some(rfc3339(SystemTime::now()));
    }

    /// How long ago the heartbeat last showed itself; `None` before it first did.
    pub fn heartbeat_age(&self) -> Option<Duration> {
        self.board().beat.map(|beat| beat.elapsed())
    }

    /// Why the agent is not ready; empty when it is.
    pub fn not_ready_because(&self) -> Vec<String> {
        self.board().not_ready_because()
    }

    /// How a workload is, and why.
    pub fn workload(&self, name: &str) -> Option<(WorkloadState, String)> {
        self.board().workloads.get(name).cloned()
    }

    /// How many workloads are in each state.
    pub fn workload_counts(&self) -> WorkloadCounts {
        self.board().workload_counts()
    }

    /// Everything that is known here, with what the other parts count themselves.
    pub fn report(&self, snapshot: &Snapshot, hub: &Hub, metrics: &Metrics) -> Status {
        let kernel = metrics.kernel_counters();
        let flows =
            FlowsStatus { kept: hub.kept(), capacity: hub.capacity(), published: hub.published(), lost: hub.lost() };
        let board = self.board();
        let not_ready_because = board.not_ready_because();
        let workload_states = board.workloads.iter().map(|(name, (state, detail))| WorkloadStatus {
            name: name.clone(),
            state: *state,
            detail: detail.clone(),
        });
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: rfc3339(self.started),
            uptime_seconds: self.started_at.elapsed().as_secs(),
            ready: not_ready_because.is_empty(),
            not_ready_because,
            snapshot_version: board.in_force.unwrap_or(0),
            spaces: snapshot.spaces().len(),
            services: snapshot.service_count(),
            workloads: board.workload_counts(),
            source: board.source.clone(),
            captured: board.captured.clone(),
            hooks: board.hooks.clone(),
            workload_states: workload_states.collect(),
            listeners: board.listeners.clone(),
            heartbeat_age_ms: board.beat.map(|beat| u64::try_from(beat.elapsed().as_millis()).unwrap_or(u64::MAX)),
            heartbeat_lapses: board.lapses.clone(),
            workers: board.workers,
            privileges: Confinement::default(),
            splice: SpliceStatus { events: metrics.kernel_splice_events(), ..board.splice.clone() },
            connections: board.room.as_deref().map(|room| ConnectionsStatus::of(room, metrics)).unwrap_or_default(),
            flows,
            dns: DnsStatus {
                captured: board.dns.clone(),
                answered: metrics.dns_queries(DnsOutcome::Answered),
                forwarded: metrics.dns_queries(DnsOutcome::Forwarded),
            },
            passed: Passed::from_counts(&kernel),
            kernel,
        }
    }

    /// Every setter leaves the board whole, so a panic elsewhere does not matter here.
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Board {
    fn watch(&mut self, resource: &str) -> &mut WatchStatus {
        let watches = &mut self.source.watches;
        let index = watches.iter().position(|watch| watch.resource == resource).unwrap_or_else(|| {
            let resource = resource.to_owned();
            let (state, since, error) = (WatchState::Listing, String::new(), None);
            watches.push(WatchStatus { resource, state, since, objects: 0, error });
            watches.len() - 1
        });
        &mut watches[index]
    }

    fn not_ready_because(&self) -> Vec<String> {
        let mut why = Vec::new();
        if self.in_force.is_none() {
            let failed = self.source.watches.iter().filter_map(|watch| watch.error.as_deref());
            let errors: Vec<&str> = self.source.last_error.as_deref().into_iter().chain(failed).collect();
            why.push(if errors.is_empty() {
                NO_CONFIGURATION.to_owned()
            } else {
                format!("{NO_CONFIGURATION}: {}", errors.join("; "))
            });
        }
        if self.succeeded {
            why.push("another agent has taken over".to_owned());
        } else if !self.ready {
            why.push("workers and hooks are not up yet".to_owned());
        }
        why
    }

    fn workload_counts(&self) -> WorkloadCounts {
        let mut counts = WorkloadCounts::default();
        for (state, _) in self.workloads.values() {
            match state {
                WorkloadState::Captured => counts.captured += 1,
                WorkloadState::Pending => counts.pending += 1,
                WorkloadState::Failed => counts.failed += 1,
            }
        }
        counts
    }
}

const NO_CONFIGURATION: &str = "no configuration is in force";

fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests;
