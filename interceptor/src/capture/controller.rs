//! Brings the kernel's maps, links and listeners to what a snapshot says, by difference.
//!
//! Owned by the control thread. A workload that cannot be attached keeps its direct traffic, is shown as failed, and is
//! tried again; it never stops the others. Nothing is ever cleared and refilled.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use interceptor_common::{Address, Endpoint, names, policy};

use super::attach::{Attached, attach};
use super::close::{Closer, Switched};
use super::inbound;
use crate::bpf::{BpfError, CaptureMaps, CgroupLinks, HookState, Kernel};
use crate::captured::Destinations;
use crate::cgroup;
use crate::config::Capture;
use crate::metrics::Metrics;
use crate::snapshot::{Snapshot, Workload};
use crate::status::{self, CapturedCounts, StatusBoard, WorkloadState};
use crate::wanted::{Calls, Wanted};
use crate::worker::WorkerHandle;

/// What a controller is made of.
pub struct ControllerParts {
    /// The loaded kernel side.
    pub kernel: Kernel,
    /// Original destinations by index, shared with the workers.
    pub destinations: Arc<Destinations>,
    /// The workers, which accept.
    pub workers: Vec<WorkerHandle>,
    /// Where hooks attach.
    pub settings: Capture,
    /// Where states are shown.
    pub status: Arc<StatusBoard>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// Keeps the kernel at what the latest snapshot says.
pub struct Controller {
    parts: ControllerParts,
    maps: CaptureMaps,
    cgroups: BTreeMap<PathBuf, CgroupLinks>,
    /// Why a cgroup could not be attached to, as it was last told: sweeps try again every second.
    refused: BTreeMap<PathBuf, String>,
    /// Never with [`Calls::None`].
    captured: HashMap<SocketAddr, Calls>,
    inbound: HashSet<SocketAddr>,
    peers: HashSet<IpAddr>,
    workloads: HashMap<Arc<str>, Attached>,
    /// Where established connections of switched destinations are to be closed, and can be.
    closer: Option<Closer>,
}

impl Controller {
    /// A controller with nothing captured yet.
    ///
    /// # Errors
    /// Where the object lacks a map.
    pub fn new(mut parts: ControllerParts) -> Result<Self, BpfError> {
        let maps = parts.kernel.capture_maps()?;
        for (name, state) in parts.kernel.hooks() {
            let (state, detail) = match state {
                HookState::Loaded => (status::HookState::Detached, "loaded, not attached yet".to_owned()),
                HookState::Unavailable(why) => {
                    tracing::warn!(hook = name, why, "this kernel refuses a hook; the rest works without it");
                    (status::HookState::Unavailable, why.clone())
                }
            };
            parts.status.set_hook(name, state, &detail);
        }
        let closer = Closer::start(&parts.settings, &parts.status, &parts.metrics);
        Ok(Self {
            parts,
            maps,
            closer,
            cgroups: BTreeMap::new(),
            refused: BTreeMap::new(),
            captured: HashMap::new(),
            inbound: HashSet::new(),
            peers: HashSet::new(),
            workloads: HashMap::new(),
        })
    }

    /// Brings everything to what the snapshot says. What fails is shown in `status` and tried again at the next sweep.
    pub fn apply(&mut self, snapshot: &Snapshot) {
        let wanted = Wanted::new(snapshot, self.parts.settings.services);
        let mut switched = Switched::default();
        self.apply_cgroups(snapshot);
        self.apply_captured(snapshot, &wanted, &mut switched);
        self.detach_workloads(snapshot);
        self.apply_roots(snapshot, &wanted, &mut switched);
        // Only these can have been connected to what has just switched while the agent looked after them.
        switched.workloads = self.workloads.values().map(|w| (Arc::clone(&w.captured), w.in_root)).collect();
        self.attach_workloads(snapshot, &wanted);
        self.apply_addresses(snapshot, &wanted, &mut switched);
        if let Some(closer) = &self.closer {
            switched.cgroups = self.cgroups.keys().cloned().collect();
            switched.peers.clone_from(&self.peers);
            closer.close(switched);
        }
    }

    /// Looks after workloads whose namespace went away or was made anew, and tries failed ones again.
    pub fn sweep(&mut self, snapshot: &Snapshot) {
        let gone: Vec<Arc<str>> = self
            .workloads
            .iter()
            .filter(|(_, attached)| attached.workload.netns.identity().ok() != Some(attached.captured.netns.identity()))
            .map(|(name, _)| Arc::clone(name))
            .collect();
        for name in &gone {
            tracing::info!(workload = %name, "its network namespace is gone");
            self.detach(name);
        }
        let wanted = Wanted::new(snapshot, self.parts.settings.services);
        let attached = self.attach_workloads(snapshot, &wanted);
        let cgroups: Vec<PathBuf> = self.cgroups.keys().cloned().collect();
        self.apply_cgroups(snapshot);
        if !gone.is_empty() || attached || !self.cgroups.keys().eq(&cgroups) {
            // What switches here are ports of workloads that have just come: their connections stay.
            self.apply_addresses(snapshot, &wanted, &mut Switched::default());
        }
    }

    /// Lets all new outbound connections pass; what is under way goes on.
    pub fn stop(&mut self) {
        self.cgroups.clear();
    }

    /// How many workloads are captured.
    pub fn captured_workloads(&self) -> usize {
        self.workloads.len()
    }

    fn apply_cgroups(&mut self, snapshot: &Snapshot) {
        let wanted = attach_points(self.parts.settings.cgroup.as_deref(), snapshot);
        let stays = |path: &PathBuf| wanted.contains(path) && path.is_dir();
        if !self.cgroups.keys().all(stays) {
            // First the peers, so that nothing arrives at another pod as routed that was not.
            let covered = self.peers_covered_by(|path| stays(path));
            self.forget_peers(|ip| covered.contains(ip));
            self.cgroups.retain(|path, _| stays(path));
        }
        for path in wanted {
            if self.cgroups.contains_key(&path) {
                continue;
            }
            let attached = match cgroup::check_outside(&path) {
                Ok(()) => self.parts.kernel.attach_cgroup(&path).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            match attached {
                Ok(links) => {
                    self.refused.remove(&path);
                    self.cgroups.insert(path, links);
                }
                Err(error) => {
                    self.show_hooks(status::HookState::Detached, &error);
                    if self.refused.get(&path) != Some(&error) {
                        tracing::warn!(cgroup = %path.display(), error, "outbound connections pass uncaptured");
                        self.refused.insert(path, error);
                    }
                }
            }
        }
        if !self.cgroups.is_empty() {
            let paths: Vec<String> = self.cgroups.keys().map(|path| path.display().to_string()).collect();
            self.show_hooks(status::HookState::Attached, &paths.join(", "));
        }
    }

    fn show_hooks(&self, state: status::HookState, detail: &str) {
        for (name, loaded) in self.parts.kernel.hooks() {
            if *loaded == HookState::Loaded && *name != names::SK_LOOKUP {
                self.parts.status.set_hook(name, state, detail);
            }
        }
    }

    fn apply_captured(&mut self, snapshot: &Snapshot, wanted: &Wanted<'_>, switched: &mut Switched) {
        let all: HashMap<SocketAddr, Calls> =
            snapshot.destinations().map(|(addr, destination)| (*addr, wanted.calls_to(destination))).collect();
        let is_wanted = |addr: &SocketAddr| all.get(addr).is_some_and(|calls| *calls != Calls::None);
        for gone in self.captured.keys().filter(|addr| !is_wanted(addr)).copied().collect::<Vec<_>>() {
            // The original stays readable by index: connections that were redirected still ask for it.
            if log(self.maps.captured.remove(&gone.into()), "releasing a destination") {
                self.parts.destinations.retire(gone);
                self.captured.remove(&gone);
            }
        }
        let mut full = 0_usize;
        for (&addr, &calls) in all.iter().filter(|(addr, _)| is_wanted(addr)) {
            let before = self.captured.get(&addr).copied().unwrap_or(Calls::None);
            if calls == before {
                continue;
            }
            match self.capture(addr, calls) {
                Ok(true) => drop(self.captured.insert(addr, calls)),
                Ok(false) => full += 1,
                Err(error) => drop(log(Err(error), "capturing a destination")),
            }
            if calls > before && self.captured.get(&addr) == Some(&calls) {
                switched.destinations.insert(addr, calls);
            }
        }
        if full > 0 {
            tracing::warn!(destinations = full, "the capture map is full: these destinations pass uncaptured");
        }
        self.parts.status.set_captured(CapturedCounts {
            destinations: self.captured.len(),
            outside_roots: self.captured.values().filter(|calls| **calls == Calls::OutsideRoots).count(),
            only_copies: all.values().filter(|calls| **calls == Calls::None).count(),
        });
    }

    fn capture(&mut self, destination: SocketAddr, calls: Calls) -> Result<bool, BpfError> {
        let Some(assigned) = self.parts.destinations.assign(destination) else { return Ok(false) };
        let endpoint = Endpoint::from(destination);
        let entry = policy::Captured { index: assigned.index, passes_root: calls == Calls::OutsideRoots };
        self.maps.originals.insert(assigned.index, endpoint)?;
        self.maps.captured.insert(endpoint, entry.to_word())?;
        Ok(true)
    }

    /// A workload's space can become a root, or cease to be one, while it runs.
    fn apply_roots(&mut self, snapshot: &Snapshot, wanted: &Wanted<'_>, switched: &mut Switched) {
        for (name, attached) in &mut self.workloads {
            let Some(workload) = snapshot.workload(name) else { continue };
            let in_root = wanted.in_root(workload);
            if in_root == attached.in_root {
                continue;
            }
            let told = attached.set_in_root(&mut self.maps, in_root);
            if log(told, "telling whether a workload's space is a root") && !in_root {
                let more = self.captured.iter().filter(|(_, calls)| **calls == Calls::OutsideRoots);
                switched.destinations.extend(more.map(|(addr, calls)| (*addr, *calls)));
            }
        }
    }

    fn detach_workloads(&mut self, snapshot: &Snapshot) {
        let same = |attached: &Attached| {
            snapshot.workload(&attached.captured.name).is_some_and(|workload| {
                workload.netns == attached.workload.netns && workload.addresses == attached.workload.addresses
            })
        };
        let gone: Vec<Arc<str>> =
            self.workloads.iter().filter(|(_, attached)| !same(attached)).map(|(name, _)| Arc::clone(name)).collect();
        for name in gone {
            self.detach(&name);
        }
        self.parts.status.retain_workloads(|name| snapshot.workload(name).is_some());
    }

    fn detach(&mut self, name: &str) {
        let Some(attached) = self.workloads.remove(name) else { return };
        let captured = &attached.captured;
        // First the peers, so that nothing arrives at another pod as routed that was not.
        self.forget_peers(|ip| !captured.addresses.contains(ip));
        log(self.maps.workloads.remove(&captured.cookie), "forgetting a workload");
        for worker in &self.parts.workers {
            worker.close(captured.cookie);
        }
        self.parts.status.set_workload(name, WorkloadState::Failed, "its network namespace is gone");
    }

    /// True when there is one more than before.
    fn attach_workloads(&mut self, snapshot: &Snapshot, wanted: &Wanted<'_>) -> bool {
        let before = self.workloads.len();
        for workload in snapshot.workloads() {
            if !self.workloads.contains_key(&workload.name) {
                self.attach(workload, wanted.in_root(workload));
            }
        }
        self.parts.metrics.set_workloads(self.parts.status.workload_counts());
        self.workloads.len() > before
    }

    fn attach(&mut self, workload: &Workload, in_root: bool) {
        let parts = &mut self.parts;
        let port = parts.settings.outbound_port;
        match attach(&mut parts.kernel, &mut self.maps, &parts.workers, port, workload, in_root) {
            Ok(attached) => {
                let cookie = attached.captured.cookie;
                parts.status.set_workload(&workload.name, WorkloadState::Captured, &format!("netns cookie {cookie}"));
                self.workloads.insert(Arc::clone(&workload.name), attached);
            }
            Err(error) => {
                let error = error.to_string();
                tracing::debug!(workload = %workload.name, error, "not captured");
                parts.status.set_workload(&workload.name, WorkloadState::Failed, &error);
            }
        }
        if parts.kernel.hooks().get(names::SK_LOOKUP) == Some(&HookState::Loaded) {
            let detail = format!("{} network namespaces", self.workloads.len());
            parts.status.set_hook(names::SK_LOOKUP, status::HookState::Attached, &detail);
        }
    }

    /// Inbound ports and peers: only of workloads that are attached, so that nobody counts as routed who was not.
    fn apply_addresses(&mut self, snapshot: &Snapshot, wanted: &Wanted<'_>, switched: &mut Switched) {
        let addresses: HashSet<IpAddr> =
            self.workloads.values().flat_map(|attached| attached.captured.addresses.iter().copied()).collect();
        let ports = inbound::ports(snapshot, wanted, &addresses);
        for gone in self.inbound.difference(&ports).copied().collect::<Vec<_>>() {
            if log(self.maps.inbound.remove(&gone.into()), "releasing an inbound port") {
                self.inbound.remove(&gone);
            }
        }
        for new in ports.difference(&self.inbound).copied().collect::<Vec<_>>() {
            if log(self.maps.inbound.insert(Endpoint::from(new), 1), "intercepting an inbound port") {
                self.inbound.insert(new);
                switched.inbound.insert(new);
            }
        }
        self.parts.status.set_inbound_ports(self.inbound.len());
        let covered = self.peers_covered_by(|_| true);
        self.forget_peers(|ip| covered.contains(ip));
        for ip in covered {
            if !self.peers.contains(&ip) && log(self.maps.peers.insert(Address::from(ip), 1), "adding a peer") {
                self.peers.insert(ip);
            }
        }
    }

    /// Addresses of attached workloads whose calls the hooks see: those below an attached cgroup that stays.
    fn peers_covered_by(&self, stays: impl Fn(&PathBuf) -> bool) -> HashSet<IpAddr> {
        let points: Vec<&PathBuf> = self.cgroups.keys().filter(|path| stays(path)).collect();
        let common = self.parts.settings.cgroup.as_deref();
        let is_covered = |workload: &Workload| {
            let own = workload.cgroup.as_deref().or(common);
            own.is_some_and(|own| points.iter().any(|point| own.starts_with(point)))
        };
        let covered = self.workloads.values().filter(|attached| is_covered(&attached.workload));
        covered.flat_map(|attached| attached.captured.addresses.iter().copied()).collect()
    }

    fn forget_peers(&mut self, stays: impl Fn(&IpAddr) -> bool) {
        for ip in self.peers.iter().filter(|ip| !stays(ip)).copied().collect::<Vec<_>>() {
            if log(self.maps.peers.remove(&ip.into()), "forgetting a peer") {
                self.peers.remove(&ip);
            }
        }
    }
}

/// The cgroups to attach to: the topmost of all that are named, as hooks on a parent cover its children.
fn attach_points(common: Option<&Path>, snapshot: &Snapshot) -> BTreeSet<PathBuf> {
    let all: BTreeSet<PathBuf> = common
        .into_iter()
        .chain(snapshot.workloads().filter_map(|w| w.cgroup.as_deref()))
        .map(Path::to_owned)
        .collect();
    all.iter().filter(|path| !path.ancestors().skip(1).any(|above| all.contains(above))).cloned().collect()
}

fn log(result: Result<(), BpfError>, doing: &'static str) -> bool {
    match result {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, "{doing} failed; it is tried again with the next update");
            false
        }
    }
}
