//! The serde form of the agent's status: what `GET /v1/status` answers and `interceptor status -o json` prints.
//!
//! Names are stable. Built by [`StatusBoard::report`](super::StatusBoard::report), read back by the CLI.

use serde::{Deserialize, Serialize};

use crate::metrics::{KernelCount, Metrics, SpliceEvents, WatchState, WorkloadCounts};
use crate::privileges::Confinement;
use crate::room::{Limits, Room};

/// The agent's status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The agent's version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// When it started, RFC 3339 UTC.
    pub started: String,
    /// How long ago that is.
    pub uptime_seconds: u64,
    /// Whether it does its work.
    pub ready: bool,
    /// Why not.
    pub not_ready_because: Vec<String>,
    /// The version of the configuration in force; 0 before there is one.
    pub snapshot_version: u64,
    /// Spaces in it, also those at fault.
    pub spaces: usize,
    /// Services in it.
    pub services: usize,
    /// Its workloads by state.
    pub workloads: WorkloadCounts,
    /// Where the configuration comes from.
    pub source: SourceStatus,
    /// What is captured.
    pub captured: CapturedStatus,
    /// The kernel hooks.
    pub hooks: Vec<HookStatus>,
    /// Each workload's state.
    pub workload_states: Vec<WorkloadStatus>,
    /// What the agent listens on.
    pub listeners: Vec<ListenerStatus>,
    /// How long ago the heartbeat last showed itself; `None` before it first did.
    pub heartbeat_age_ms: Option<u64>,
    /// Times that it had stopped.
    #[serde(default)]
    pub heartbeat_lapses: LapseStatus,
    /// Worker threads.
    pub workers: usize,
    /// What the process and its threads may do; whoever answers asks the kernel.
    #[serde(default)]
    pub privileges: Confinement,
    /// How opaque bytes move.
    pub splice: SpliceStatus,
    /// Connections at a time.
    #[serde(default)]
    pub connections: ConnectionsStatus,
    /// The flow records.
    pub flows: FlowsStatus,
    /// Short names.
    pub dns: DnsStatus,
    /// What the hooks counted; empty without hooks.
    pub kernel: Vec<KernelCount>,
    /// Connections that the hooks left alone, for whatever reason.
    pub passed: Passed,
}

/// Times that the agent, or a worker, did not answer, so that new connections passed it by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LapseStatus {
    /// How often, since the start.
    pub count: u64,
    /// How long the last one was, milliseconds.
    pub last_ms: u64,
    /// When it ended, RFC 3339 UTC; `None` where there was none.
    pub last_ended: Option<String>,
}

/// Where the configuration comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// `file` or `kubernetes`.
    pub kind: String,
    /// The file's path, or the cluster.
    pub origin: String,
    /// When the configuration in force was read, RFC 3339 UTC.
    pub loaded_at: Option<String>,
    /// Why the latest one was refused; `None` after a good one.
    pub last_error: Option<String>,
    /// What of the configuration in force cannot be used.
    pub warnings: Vec<String>,
    /// The watches of the cluster; empty for a file.
    #[serde(default)]
    pub watches: Vec<WatchStatus>,
}

/// The watch of one resource of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchStatus {
    /// The resource's plural.
    pub resource: String,
    /// How it is.
    pub state: WatchState,
    /// Since when, RFC 3339 UTC.
    pub since: String,
    /// Objects that are known.
    pub objects: usize,
    /// What failed last, and what to do; `None` while it works.
    pub error: Option<String>,
}

/// What is captured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturedStatus {
    /// The mode, as `capture.services` names it.
    pub services: String,
    /// Destinations whose calls are captured.
    pub destinations: usize,
    /// Those of them that pods of root spaces reach directly: there is only one copy.
    pub outside_roots: usize,
    /// Destinations that are in a space tree and not captured: no service of the tree has a second copy.
    pub only_copies: usize,
    /// Ports of workloads that are intercepted inbound.
    pub inbound_ports: usize,
    /// Addresses that should be captured and are not: the kernel's maps have no room for them, or it refused them
    /// otherwise. They pass, and are tried again.
    #[serde(default)]
    pub left_out: usize,
    /// What becomes of connections from before their destination was captured.
    pub established: Established,
    /// Why they cannot be closed; empty otherwise.
    pub established_detail: String,
}

/// What becomes of connections from before their destination was captured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Established {
    /// They stay.
    #[default]
    Kept,
    /// They are closed.
    Closed,
    /// They should be closed, and cannot be here.
    Unavailable,
}

/// A kernel hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookStatus {
    /// Its name (`connect4`, …).
    pub name: String,
    /// Whether it works.
    pub state: HookState,
    /// Where it is attached, or why not.
    pub detail: String,
}

/// Whether a hook works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookState {
    /// It sees connections.
    Attached,
    /// This kernel, or this build, has it not.
    Unavailable,
    /// It was taken off.
    Detached,
}

/// A workload's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadStatus {
    /// Its name.
    pub name: String,
    /// Whether it is intercepted.
    pub state: WorkloadState,
    /// Why not, or what of it is not.
    pub detail: String,
}

/// Whether a workload is intercepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkloadState {
    /// It is.
    Captured,
    /// Not yet.
    Pending,
    /// It cannot be.
    Failed,
}

/// Something that the agent listens on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// What for (`admin`, `metrics`, `outbound`).
    pub name: String,
    /// Where.
    pub address: String,
}

/// How opaque bytes move.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpliceStatus {
    /// The way in use.
    pub backend: String,
    /// Why that one.
    pub why: String,
    /// What came of the directions that were to be moved by the kernel.
    pub events: SpliceEvents,
}

/// Connections at a time, and what is held for them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionsStatus {
    /// Open now.
    pub open: usize,
    /// Open at most.
    pub limit: usize,
    /// What decided that.
    pub why: String,
    /// Refused since the start, as there was no place for them.
    pub refused: u64,
    /// Bytes that may be held for peers that do not keep up.
    pub buffered_bytes: usize,
}

impl ConnectionsStatus {
    pub(super) fn of(room: &Room, metrics: &Metrics) -> Self {
        let Limits { connections, buffered_bytes, why, .. } = room.limits().clone();
        let refused = metrics.turned_away();
        Self { open: room.open(), limit: connections, why, refused, buffered_bytes }
    }
}

/// The flow records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowsStatus {
    /// In memory now.
    pub kept: usize,
    /// In memory at most.
    pub capacity: usize,
    /// Since the start.
    pub published: u64,
    /// Missed by followers.
    pub lost: u64,
}

/// Short names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsStatus {
    /// Whose DNS is captured.
    #[serde(flatten)]
    pub captured: DnsReport,
    /// Queries that the agent answered.
    pub answered: u64,
    /// Queries that went to their server.
    pub forwarded: u64,
}

/// Whose DNS is captured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsReport {
    /// Why none is; `None` while it is captured.
    pub off_because: Option<String>,
    /// Workloads of derived spaces whose DNS is captured.
    pub workloads: usize,
    /// Workloads of derived spaces whose DNS is not, each with the reason.
    pub not_captured: Vec<LeftOut>,
}

/// A workload whose DNS is not captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its name.
    pub workload: String,
    /// Why.
    pub why: String,
}

/// Connections that the hooks left alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// Calls of workloads.
    pub outbound: u64,
    /// Calls to workloads.
    pub inbound: u64,
}

impl Passed {
    /// Adds up what the hooks counted as anything but redirected.
    pub(super) fn from_counts(counts: &[KernelCount]) -> Self {
        let sum = |direction: &str| {
            let passed = counts.iter().filter(|c| c.direction == direction && c.reason != "redirected");
            passed.fold(0, |sum: u64, count| sum.saturating_add(count.connections))
        };
        Self { outbound: sum("outbound"), inbound: sum("inbound") }
    }
}

macro_rules! words {
    ($($type:ident { $($variant:ident => $word:literal),* })*) => {$(
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(match self { $(Self::$variant => $word,)* })
            }
        }
    )*};
}

words! {
    HookState { Attached => "attached", Unavailable => "unavailable", Detached => "detached" }
    Established { Kept => "kept", Closed => "closed", Unavailable => "kept, as they cannot be closed" }
    WorkloadState { Captured => "captured", Pending => "pending", Failed => "failed" }
}
