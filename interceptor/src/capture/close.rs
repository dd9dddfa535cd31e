//! Closes connections that workloads made before their destination was captured (`capture.close_established`), so that
//! keep-alive pools go through the agent at once.
//!
//! A thread of its own: lists can be long, and the control thread must not wait for them. What is asked for while it works
//! is added up. It closes only what was connected in a workload's own network namespace by a process below a captured
//! cgroup: never the agent's connections, nor those of a tool that entered the namespace. A handshake that is under way
//! when its destination switches goes on.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::captured::Captured;
use crate::config::Capture;
use crate::metrics::Metrics;
use crate::route::Direction;
use crate::sock_diag::{self, Connection, DiagError, Family, SockDiag};
use crate::status::{Established, StatusBoard};
use crate::wanted::Calls;

/// What has switched from not captured to captured, and where connections to it may be.
#[derive(Debug, Default)]
pub(super) struct Switched {
    /// Destinations, with whose calls to them are captured now.
    pub(super) destinations: HashMap<SocketAddr, Calls>,
    /// Ports of workloads that are intercepted now.
    pub(super) inbound: HashSet<SocketAddr>,
    /// Attached workloads, and whether each lives in a root space.
    pub(super) workloads: Vec<(Arc<Captured>, bool)>,
    /// Whose connections count as routed.
    pub(super) peers: HashSet<IpAddr>,
    /// The cgroups whose connections are captured.
    pub(super) cgroups: Vec<PathBuf>,
}

impl Switched {
    fn is_empty(&self) -> bool {
        (self.destinations.is_empty() && self.inbound.is_empty()) || self.workloads.is_empty()
    }

    /// Adds what has switched since.
    fn add(&mut self, later: Self) {
        self.destinations.extend(later.destinations);
        self.inbound.extend(later.inbound);
        self.workloads = later.workloads;
        self.peers = later.peers;
        self.cgroups = later.cgroups;
    }

    /// Whether a connection in a workload's namespace would be captured if it were made now.
    fn direction(&self, connection: &Connection, in_root: bool) -> Option<Direction> {
        if self.destinations.get(&connection.remote).is_some_and(|calls| calls.include(in_root)) {
            return Some(Direction::Outbound);
        }
        let from = connection.remote.ip();
        let foreign = from != connection.local.ip() && !from.is_loopback() && !self.peers.contains(&from);
        (foreign && self.inbound.contains(&connection.local)).then_some(Direction::Inbound)
    }
}

/// The running thread. Dropping it ends it, with what it has begun unfinished.
#[derive(Debug)]
pub(super) struct Closer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    switched: Switched,
    ending: bool,
}

impl Shared {
    /// Every change leaves it whole, so a panic elsewhere does not matter here.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something to close; `None` when it is time to end.
    fn next(&self) -> Option<Switched> {
        let idle = |waiting: &mut Waiting| waiting.switched.is_empty() && !waiting.ending;
        let waited = self.changed.wait_while(self.waiting(), idle);
        let mut waiting = waited.unwrap_or_else(PoisonError::into_inner);
        (!waiting.ending).then(|| std::mem::take(&mut waiting.switched))
    }
}

impl Closer {
    /// Starts it where it is configured and this kernel can do it; `status` says which. Told once, never fatal.
    pub(super) fn start(settings: &Capture, status: &StatusBoard, metrics: &Arc<Metrics>) -> Option<Self> {
        status.set_captured_services(settings.services);
        if !settings.close_established {
            return None;
        }
        let unavailable = |error: &dyn std::fmt::Display| {
            tracing::warn!(%error, "capture.close_established: established connections stay as they are");
            status.set_established(Established::Unavailable, &error.to_string());
        };
        if let Err(error) = sock_diag::probe() {
            unavailable(&error);
            return None;
        }
        let shared = Arc::new(Shared::default());
        let (own, metrics) = (Arc::clone(&shared), Arc::clone(metrics));
        let work = move || {
            while let Some(switched) = own.next() {
                close_all(&switched, &metrics, || own.waiting().ending);
            }
        };
        match std::thread::Builder::new().name("closer".to_owned()).spawn(work) {
            Ok(thread) => {
                status.set_established(Established::Closed, "");
                Some(Self { shared, thread: Some(thread) })
            }
            Err(error) => {
                unavailable(&error);
                None
            }
        }
    }

    /// Closes what leads to what has switched, soon. Called when the hooks capture new connections to it.
    pub(super) fn close(&self, switched: Switched) {
        if switched.is_empty() {
            return;
        }
        self.shared.waiting().switched.add(switched);
        self.shared.changed.notify_one();
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        self.shared.waiting().ending = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that closes established connections panicked");
        }
    }
}

fn close_all(switched: &Switched, metrics: &Metrics, ending: impl Fn() -> bool) {
    let (mut outbound, mut inbound) = (0_u64, 0_u64);
    let mut below = None;
    for (workload, in_root) in &switched.workloads {
        if ending() {
            break;
        }
        let mut count = |direction| match direction {
            Direction::Outbound => outbound += 1,
            Direction::Inbound => inbound += 1,
        };
        if let Err(error) = close_in(workload, *in_root, switched, &mut below, &mut count) {
            tracing::warn!(workload = %workload.name, %error, "some of its established connections stay as they are");
        }
    }
    metrics.established_closed(Direction::Outbound, outbound);
    metrics.established_closed(Direction::Inbound, inbound);
    tracing::info!(
        outbound,
        inbound,
        destinations = switched.destinations.len(),
        ports = switched.inbound.len(),
        "closed established connections of what is captured now"
    );
}

/// Closes the connections of one workload. `below` holds the captured cgroups once one had to be looked up.
fn close_in(
    workload: &Captured,
    in_root: bool,
    switched: &Switched,
    below: &mut Option<HashSet<u64>>,
    count: &mut impl FnMut(Direction),
) -> Result<(), DiagError> {
    let diag = workload.netns.enter(SockDiag::open).map_err(DiagError::Open)??;
    for family in Family::ALL {
        let mut found = Vec::new();
        diag.established(family, |connection| {
            found.extend(switched.direction(&connection, in_root).map(|direction| (connection, direction)));
        })?;
        for (connection, direction) in found {
            let below = below.get_or_insert_with(|| ids_below(&switched.cgroups));
            let is_captured = connection.cgroup.is_some_and(|cgroup| below.contains(&cgroup));
            if is_captured && diag.destroy(&connection)? {
                count(direction);
            }
        }
    }
    Ok(())
}

/// The identifiers of cgroups and all that lie below them: the inodes of their directories.
fn ids_below(cgroups: &[PathBuf]) -> HashSet<u64> {
    let mut ids = HashSet::new();
    let mut directories = cgroups.to_vec();
    while let Some(directory) = directories.pop() {
        // Cgroups come and go while they are looked at; one that is gone has no connections.
        if let Ok(id) = id_of(&directory) {
            ids.insert(id);
            directories.extend(children(&directory).unwrap_or_default());
        }
    }
    ids
}

fn id_of(directory: &Path) -> io::Result<u64> {
    Ok(fs::metadata(directory)?.ino())
}

fn children(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.filter_map(Result::ok);
    Ok(entries.filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()).collect())
}
