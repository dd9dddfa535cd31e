//! Brings the kernel's maps, links and listeners to what a snapshot says, by difference.
//!
//! Owned by the control thread. A workload that cannot be attached keeps its direct traffic, is shown as failed, and is
//! tried again; it never stops the others. Nothing is ever cleared and refilled.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use interceptor_common::policy::Callers;
use interceptor_common::{Address, names};

use super::addresses::Addresses;
use super::attach::{Attached, Means, attach, open};
use super::close::Closer;
use super::dns::Names;
use super::handover::Handed;
use super::leftovers::Leftovers;
use super::threads::ThreadHooks;
use crate::bpf::{BpfError, CaptureMaps, CgroupLinks, ControlMap, HookState, Kernel, Maps, Pins, remove_left};
use crate::captured::Destinations;
use crate::config::{Capture, Dns, Fail, NetnsRef, PropagateMode};
use crate::discovery::Pods;
use crate::metrics::Metrics;
use crate::net::netns::Identity;
use crate::propagate::{Memory, Neighbours};
use crate::proxy::Phase;
use crate::snapshot::{Delta, Snapshot, Workload};
use crate::status::{self, StatusBoard, WorkloadState};
use crate::wanted::{Calls, Wanted};
use crate::worker::WorkerHandle;

/// What a controller is made of.
pub struct ControllerParts {
    /// The loaded kernel side.
    pub kernel: Kernel,
    /// Original destinations by index, shared with the workers.
    pub destinations: Arc<Destinations>,
    /// The memories of the workloads that are attached, shared with the workers.
    pub neighbours: Arc<Neighbours>,
    /// The workers, which accept.
    pub workers: Vec<WorkerHandle>,
    /// Where hooks attach.
    pub settings: Capture,
    /// Whose DNS is captured.
    pub dns: Dns,
    /// Where states are shown.
    pub status: Arc<StatusBoard>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where workloads that are pods of the kubelet are found.
    pub pods: Pods,
}

/// Keeps the kernel at what the latest snapshot says.
pub struct Controller {
    pub(super) parts: ControllerParts,
    pub(super) maps: CaptureMaps,
    pub(super) cgroups: BTreeMap<PathBuf, CgroupLinks>,
    /// Why a cgroup could not be attached to, as it was last told: sweeps try again every second.
    pub(super) refused: BTreeMap<PathBuf, String>,
    pub(super) addresses: Addresses,
    pub(super) peers: HashSet<IpAddr>,
    pub(super) workloads: HashMap<Arc<str>, Attached>,
    pub(super) names: Names,
    pub(super) threads: ThreadHooks,
    /// Where established connections of switched destinations are to be closed, and can be.
    closer: Option<Closer>,
    /// There was an update.
    has_begun: bool,
    /// What outlives this agent, where connections are to be refused then.
    pub(super) pins: Option<Pins>,
    /// What the agent before has handed over and nothing of the snapshot has asked for yet.
    pub(super) handed: Handed,
    /// What the agent before may have left, while it is looked for.
    pub(super) leftovers: Option<Leftovers>,
}

impl Controller {
    /// A controller with nothing captured yet.
    ///
    /// # Errors
    /// Where the object lacks a map, or links cannot be pinned that are to be.
    pub fn new(mut parts: ControllerParts) -> Result<Self, BpfError> {
        let pin_directory = &parts.settings.pin_directory;
        let pins = (parts.settings.fail == Fail::Closed).then(|| Pins::new(pin_directory)).transpose()?;
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
        let names = Names::new(&parts.dns, parts.kernel.can_dns());
        let closer = Closer::start(&parts.settings, &parts.status, &parts.metrics);
        let addresses = Addresses::new(Arc::clone(&parts.destinations), closer.is_some());
        Ok(Self {
            parts,
            maps,
            closer,
            cgroups: BTreeMap::new(),
            refused: BTreeMap::new(),
            addresses,
            peers: HashSet::new(),
            workloads: HashMap::new(),
            names,
            threads: ThreadHooks::default(),
            has_begun: false,
            pins,
            handed: Handed::default(),
            leftovers: None,
        })
    }

    /// Brings everything from the last snapshot to this one, which differs by that. What fails is shown in `status` and
    /// tried again at the next sweep.
    pub fn update(&mut self, snapshot: &Snapshot, delta: &Delta) {
        if !delta.workloads.is_empty() {
            let pods = snapshot.workloads().filter_map(|workload| Some((workload.pod()?, workload)));
            self.parts.pods.follow(pods.map(|(uid, pod)| (uid, &pod.name, pod.addresses.as_slice())));
        }
        let wanted = Wanted::new(snapshot, self.parts.settings.services);
        if !delta.workloads.is_empty() || self.cgroups.is_empty() {
            self.apply_cgroups(snapshot);
        }
        self.addresses.update(&mut self.maps, &wanted, &delta.destinations);
        self.detach_workloads(snapshot, &delta.workloads);
        let (left_root, sees_otherwise) = self.follow_workloads(&wanted);
        // Only these can have been connected to what has just switched while the agent looked after them.
        let before = self.closer.as_ref().map(|_| {
            let attached = self.workloads.values();
            attached.map(|attached| (Arc::clone(&attached.captured), attached.in_root)).collect()
        });
        self.attach_workloads(delta.workloads.iter().filter_map(|name| snapshot.workload(name)), &wanted);
        if !delta.workloads.is_empty() || sees_otherwise {
            self.apply_local(&wanted);
        }
        self.settle();
        self.show_captured();
        if let (Some(closer), Some(mut switched)) = (&self.closer, self.addresses.take_switched()) {
            if left_root {
                let more = self.addresses.outside_roots().map(|addr| (addr, Calls::OutsideRoots));
                switched.destinations.extend(more);
            }
            switched.workloads = before.unwrap_or_default();
            switched.cgroups = self.cgroups.keys().cloned().collect();
            switched.peers.clone_from(&self.peers);
            closer.close(switched);
        }
        // Also when no workload has changed: one may live in another place of its tree now.
        self.apply_names(snapshot, false);
        self.apply_threads();
        if std::mem::take(&mut self.handed.is_new) {
            self.purge(&wanted);
        }
        if !std::mem::replace(&mut self.has_begun, true) {
            self.pins.as_ref().map_or_else(|| remove_left(&self.parts.settings.pin_directory), Pins::remove_others);
        }
    }

    /// Waits until something about the pods may have changed. To be followed by [`follow_pods`](Self::follow_pods); may be
    /// dropped at any time.
    pub async fn pods_stirred(&self) {
        self.parts.pods.stirred().await;
    }

    /// Attaches pods that have come and detaches those that are gone or have another namespace now.
    pub fn follow_pods(&mut self, snapshot: &Snapshot) {
        let changed = self.parts.pods.take();
        if changed.is_empty() {
            return;
        }
        self.detach_gone(changed.iter());
        self.apply_cgroups(snapshot);
        let wanted = Wanted::new(snapshot, self.parts.settings.services);
        self.attach_workloads(changed.iter().filter_map(|name| snapshot.workload(name)), &wanted);
        self.apply_local(&wanted);
        self.settle();
        self.show_captured();
        // As after a sweep.
        drop(self.addresses.take_switched());
        self.apply_names(snapshot, false);
        self.apply_threads();
    }

    /// Looks after workloads whose namespace went away or was made anew, and tries failed ones again.
    pub fn sweep(&mut self, snapshot: &Snapshot) {
        // What has changed is found below, as for all other workloads.
        self.parts.pods.sweep();
        let all: Vec<Arc<str>> = self.workloads.keys().cloned().collect();
        self.detach_gone(all.iter());
        self.mend_links();
        let wanted = Wanted::new(snapshot, self.parts.settings.services);
        self.attach_workloads(snapshot.workloads(), &wanted);
        self.apply_cgroups(snapshot);
        self.apply_local(&wanted);
        self.addresses.retry(&mut self.maps, &wanted);
        self.settle();
        self.show_captured();
        // What switches here are ports of workloads that have just come: their connections stay.
        drop(self.addresses.take_switched());
        self.apply_names(snapshot, true);
        self.apply_threads();
        self.sweep_leftovers();
    }

    /// Lets all new outbound connections pass; what is under way goes on.
    pub fn stop(&mut self) {
        self.cgroups.values_mut().for_each(CgroupLinks::stop_redirecting);
        self.threads = ThreadHooks::default();
    }

    /// A listener of that namespace was closed by somebody else: the workload is attached anew.
    pub fn reopen(&mut self, cookie: u64, snapshot: &Snapshot) {
        let broken = self.workloads.iter().find(|(_, attached)| attached.captured.cookie == cookie);
        let Some(name) = broken.map(|(name, _)| Arc::clone(name)) else { return };
        self.detach(&name);
        let wanted = Wanted::new(snapshot, self.parts.settings.services);
        self.attach_workloads(snapshot.workload(&name).into_iter(), &wanted);
        self.apply_local(&wanted);
        drop(self.addresses.take_switched());
        self.apply_names(snapshot, false);
    }

    /// The map through which this agent shows that it lives.
    ///
    /// # Errors
    /// Where a descriptor cannot be had.
    pub fn control_map(&self) -> Result<ControlMap, BpfError> {
        self.parts.kernel.control_map()
    }

    /// The maps that a successor gets.
    ///
    /// # Errors
    /// Where no descriptors are left.
    pub fn shared_maps(&self) -> std::io::Result<Maps> {
        self.parts.kernel.shared_maps()
    }

    /// Moves all connections on towards their end.
    pub fn drain(&self, phase: Phase) {
        self.parts.workers.iter().for_each(|worker| worker.drain(phase));
    }

    /// How many workloads are captured.
    pub fn captured_workloads(&self) -> usize {
        self.workloads.len()
    }

    /// Detaches those of these workloads whose namespace is not there any more.
    fn detach_gone<'n>(&mut self, names: impl Iterator<Item = &'n Arc<str>>) {
        for name in names {
            let Some(attached) = self.workloads.get(name) else { continue };
            let now = match &attached.workload.netns {
                NetnsRef::Pod(uid) => self.parts.pods.find(uid).ok().map(|found| found.netns.identity()),
                file => file.path().and_then(|path| Identity::of(&path).ok()),
            };
            if now != Some(attached.captured.netns.identity()) {
                tracing::info!(workload = %name, "its network namespace is gone");
                self.detach(name);
            }
        }
    }

    /// Detaches those of these workloads that are gone or described otherwise.
    fn detach_workloads(&mut self, snapshot: &Snapshot, names: &[Arc<str>]) {
        let same = |attached: &Attached| {
            snapshot.workload(&attached.captured.name).is_some_and(|workload| {
                workload.netns == attached.workload.netns && workload.addresses == attached.workload.addresses
            })
        };
        for name in names {
            if self.workloads.get(name).is_some_and(|attached| !same(attached)) {
                self.detach(name);
            }
        }
        self.parts.status.retain_workloads(|name| snapshot.workload(name).is_some());
    }

    fn detach(&mut self, name: &str) {
        let Some(attached) = self.workloads.remove(name) else { return };
        self.names.forget(&mut self.maps, name);
        self.parts.metrics.forget_thread_calls(name);
        self.parts.metrics.forget_refused_connections(name);
        let captured = &attached.captured;
        // First the peers, so that nothing arrives at another pod as routed that was not.
        self.forget_peers(|ip| !captured.addresses.contains(ip));
        log(self.maps.workloads.remove(&captured.cookie), "forgetting a workload");
        let addresses: Vec<Address> = captured.addresses.iter().copied().map(Address::from).collect();
        log(self.maps.forget_listening(&addresses), "forgetting on which ports a workload listens");
        for worker in &self.parts.workers {
            worker.close(captured.cookie);
        }
        self.parts.status.set_workload(name, WorkloadState::Failed, "its network namespace is gone");
    }

    /// Attaches those of these workloads that are not.
    fn attach_workloads<'s>(&mut self, workloads: impl Iterator<Item = &'s Workload>, wanted: &Wanted<'_>) {
        for workload in workloads {
            if !self.workloads.contains_key(&workload.name) {
                self.attach(workload, wanted.in_root(workload), wanted.snapshot().propagate_mode(workload));
            }
        }
        self.parts.metrics.set_workloads(self.parts.status.workload_counts());
    }

    fn attach(&mut self, workload: &Workload, in_root: bool, mode: PropagateMode) {
        let parts = &mut self.parts;
        let port = parts.settings.outbound_port;
        let attached = open(&parts.pods, workload).and_then(|netns| {
            let (kernel, workers, outbound_port) = (&mut parts.kernel, parts.workers.as_slice(), port);
            let means = Means { kernel, maps: &mut self.maps, workers, outbound_port };
            let handed = self.handed.namespaces.remove(&netns.identity());
            attach(means, workload, netns, in_root, handed)
        });
        match attached {
            Ok(mut attached) => {
                if let Some(link) = &mut attached.link {
                    link.keep(self.pins.as_mut());
                }
                attached.captured.memory.set_mode(mode);
                let cookie = attached.captured.cookie;
                tracing::debug!(workload = %workload.name, cookie, "captured");
                parts.status.set_workload(&workload.name, WorkloadState::Captured, &format!("netns cookie {cookie}"));
                self.workloads.insert(Arc::clone(&workload.name), attached);
            }
            Err(error) => {
                let state = if error.is_yet_to_come() { WorkloadState::Pending } else { WorkloadState::Failed };
                let (text, name) = (error.to_string(), &workload.name);
                // Told once: sweeps try again every second.
                let is_news = parts.status.workload(name).is_none_or(|(_, known)| known != text);
                if is_news && error.is_ours() {
                    tracing::warn!(workload = %name, error = text, "its connections pass uncaptured; it is tried again");
                } else {
                    tracing::debug!(workload = %name, error = text, "not captured");
                }
                parts.status.set_workload(name, state, &text);
            }
        }
        if parts.kernel.hooks().get(names::SK_LOOKUP) == Some(&HookState::Loaded) {
            let detail = format!("{} network namespaces", self.workloads.len());
            parts.status.set_hook(names::SK_LOOKUP, status::HookState::Attached, &detail);
        }
    }

    /// Captures the DNS of the attached workloads that are in derived spaces, and of no others.
    fn apply_names(&mut self, snapshot: &Snapshot, sweep: bool) {
        let attached = self.workloads.iter().map(|(name, attached)| (name, &attached.captured));
        self.names.apply(&mut self.maps, &self.parts.workers, snapshot, attached, sweep);
        if let Some(report) = self.names.news() {
            self.parts.status.set_dns(report);
        }
    }

    /// Follows the threads of the attached workloads that ask for it, and of no others: with none, nothing is attached.
    fn apply_threads(&mut self) {
        let wants = |attached: &Attached| attached.captured.memory.mode() == PropagateMode::Thread;
        let wanted = self.workloads.values().any(wants);
        let cgroups = self.cgroups.keys().map(PathBuf::as_path);
        let possible = self.threads.apply(&mut self.parts.kernel, &self.parts.status, cgroups, wanted);
        for attached in self.workloads.values() {
            let followed = possible && wants(attached);
            if followed != attached.captured.threads.are_followed() {
                let told = attached.follow_threads(&mut self.maps, &self.parts.metrics, followed);
                log(told, "telling whose threads are followed");
            }
        }
    }

    /// Takes over what of an attached workload may change. Its space can become a root, or cease to be one, while nothing
    /// else does, and the same goes for how its requests find their space again. Whether one has ceased to be in a root, and
    /// whether one has to see more or less of its requests than before.
    fn follow_workloads(&mut self, wanted: &Wanted<'_>) -> (bool, bool) {
        let (mut left_root, mut sees_otherwise) = (false, false);
        for (name, attached) in &mut self.workloads {
            let Some(workload) = wanted.snapshot().workload(name) else { continue };
            if attached.workload != *workload {
                attached.workload = workload.clone();
            }
            let (before, mode) = (attached.captured.memory.mode(), wanted.snapshot().propagate_mode(workload));
            attached.captured.memory.set_mode(mode);
            sees_otherwise |= before.needs_all() != mode.needs_all();
            let in_root = wanted.in_root(workload);
            if in_root != attached.in_root {
                let told = attached.set_in_root(&mut self.maps, in_root);
                left_root |= log(told, "telling whether a workload's space is a root") && !in_root;
            }
        }
        (left_root, sees_otherwise)
    }

    /// Inbound ports and peers: only of workloads that are attached, so that nobody counts as routed who was not.
    fn apply_local(&mut self, wanted: &Wanted<'_>) {
        let attached = || self.workloads.values().map(|attached| &attached.captured);
        let each = || attached().flat_map(|workload| workload.addresses.iter().map(move |ip| (*ip, &workload.memory)));
        let callers = |memory: &Memory| {
            if memory.mode().needs_all() { Callers::All } else { Callers::Outside }
        };
        self.parts.neighbours.set(each().map(|(ip, memory)| (ip, Arc::clone(memory))));
        let local: HashMap<IpAddr, Callers> = each().map(|(ip, memory)| (ip, callers(memory))).collect();
        if local != *self.addresses.local() {
            self.addresses.set_local(&mut self.maps, wanted, local);
        }
        let covered = self.peers_covered_by(|_| true);
        self.forget_peers(|ip| covered.contains(ip));
        for ip in covered {
            if !self.peers.contains(&ip) && log(self.maps.peers.insert(Address::from(ip), 1), "adding a peer") {
                self.peers.insert(ip);
            }
        }
    }

    /// Lets connections pass to inbound ports on which nobody listens, where the hooks tell who does.
    fn settle(&mut self) {
        if self.parts.kernel.hooks().get(names::SOCK_OPS) == Some(&HookState::Loaded) {
            let attached = self.workloads.values().map(|attached| &*attached.captured);
            // Peers are just those below an attached cgroup.
            self.addresses.settle(&mut self.maps, &self.peers, attached);
        }
    }

    pub(super) fn show_captured(&self) {
        let counts = self.addresses.counts();
        self.parts.status.set_captured(counts);
        self.parts.metrics.set_left_out(counts.left_out);
    }

    /// Addresses of attached workloads whose calls the hooks see: those below an attached cgroup that stays.
    pub(super) fn peers_covered_by(&self, stays: impl Fn(&PathBuf) -> bool) -> HashSet<IpAddr> {
        let points: Vec<&PathBuf> = self.cgroups.keys().filter(|path| stays(path)).collect();
        let common = self.parts.settings.cgroup.as_deref();
        let is_covered = |workload: &Workload| {
            let found = workload.pod().and_then(|uid| self.parts.pods.directory(uid));
            let own = workload.cgroup.as_deref().or(found).or(common);
            own.is_some_and(|own| points.iter().any(|point| own.starts_with(point)))
        };
        let covered = self.workloads.values().filter(|attached| is_covered(&attached.workload));
        covered.flat_map(|attached| attached.captured.addresses.iter().copied()).collect()
    }

    pub(super) fn forget_peers(&mut self, stays: impl Fn(&IpAddr) -> bool) {
        for ip in self.peers.iter().filter(|ip| !stays(ip)).copied().collect::<Vec<_>>() {
            if log(self.maps.peers.remove(&ip.into()), "forgetting a peer") {
                self.peers.remove(&ip);
            }
        }
    }
}

pub(super) fn log(result: Result<(), BpfError>, doing: &'static str) -> bool {
    match result {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, "{doing} failed; it is tried again with the next update");
            false
        }
    }
}
