//! Starts the agent's parts in the order in which they depend on each other. What fails here ends `interceptor run`.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::{Context as _, Result};
use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};

use super::RunOptions;
use super::servers::Servers;
use crate::admin::AdminState;
use crate::bpf::{FlowMaps, Kernel, Programs};
use crate::capture::{Controller, ControllerParts, Heartbeat, HeartbeatParts};
use crate::captured::Destinations;
use crate::cgroup;
use crate::config::{Capture, Config, Dns, Proxy, Splice};
use crate::discovery::Pods;
use crate::dns;
use crate::flow::Hub;
use crate::metrics::{Metrics, SpliceEvent};
use crate::net::budget::Budget;
use crate::net::buffer::BufferPool;
use crate::propagate::Neighbours;
use crate::proxy::{Context, selftest};
use crate::room::{Limits, Machine, Room};
use crate::snapshot::Snapshot;
use crate::status::StatusBoard;
use crate::sys;
use crate::takeover::claim::Predecessor;
use crate::worker::{Contexts, WorkerHandle};

/// Workers when the configuration leaves it open: more listeners a workload than that cost more than they bring.
const MAX_DEFAULT_WORKERS: usize = 4;

/// Listeners that somebody else closed, to be looked after; more than that are found by themselves.
const BROKEN: usize = 64;

/// The agent's parts, running.
pub(super) struct Parts {
    pub(super) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) status: Arc<StatusBoard>,
    pub(super) controller: Controller,
    pub(super) servers: Servers,
    /// Connections under way.
    pub(super) room: Arc<Room>,
    /// Tells the workers that the agent is ending.
    pub(super) stop: watch::Sender<bool>,
    /// Namespaces in which somebody else closed a listener.
    pub(super) broken: mpsc::Receiver<u64>,
    /// Dropped first when the agent ends: the hooks let traffic pass. None before the agent captures.
    pub(super) heartbeat: Option<Heartbeat>,
    /// When each worker last showed itself.
    seen: Vec<Arc<AtomicU64>>,
    inside: bool,
}

impl Parts {
    /// Everything but what must not be there twice: heartbeat and admin socket. On the maps of the agent before, where there
    /// is one.
    pub(super) fn start(
        config: &Config,
        options: &RunOptions,
        source: (&str, &str),
        before: Option<&Predecessor>,
    ) -> Result<Self> {
        if let Err(error) = sys::raise_file_limit() {
            tracing::warn!(%error, "the limit of open files stays as it is");
        }
        let programs = Programs { splice: config.proxy.splice == Splice::Kernel, dns: config.dns.enabled };
        let maps = before.map(|before| before.maps.as_slice()).unwrap_or_default();
        let kernel = Kernel::load(options.ebpf_log, programs, maps)?;
        let snapshot = Arc::new(ArcSwap::from_pointee(first_snapshot(config, options)));
        let hub = Arc::new(Hub::new(config.flows.capacity));
        let metrics = Arc::new(Metrics::with_log(&options.log));
        let status = Arc::new(StatusBoard::new(source.0, source.1));
        let destinations = Arc::new(Destinations::new(config.capture.outbound_port));
        let counters = kernel.counters()?;
        metrics.set_kernel_reader(Box::new(move || counters.read()));

        let room = room(&config.proxy);
        status.set_room(Arc::clone(&room));
        let neighbours = Arc::new(Neighbours::default());
        let mut settings = config.proxy.clone();
        let (backend, why) = splice_backend(&mut settings.splice, &kernel, &metrics)?;
        status.set_splice(backend, &why);
        let (broken_tx, broken) = mpsc::channel(BROKEN);
        let (stop, stopping) = watch::channel(false);
        let mut workers = Vec::new();
        let count = worker_count(config.proxy.workers);
        for index in 0..count {
            let shared = Shared {
                snapshot: Arc::clone(&snapshot),
                hub: Arc::clone(&hub),
                metrics: Arc::clone(&metrics),
                destinations: Arc::clone(&destinations),
                settings: settings.clone(),
                dns: config.dns.clone(),
                room: Arc::clone(&room),
                workers: count,
                neighbours: Arc::clone(&neighbours),
                maps: kernel.flow_maps()?,
                stopping: stopping.clone(),
            };
            let worker = WorkerHandle::start(index, broken_tx.clone(), move || shared.into_contexts());
            workers.push(worker.context("starting a worker thread")?);
        }
        status.set_workers(workers.len());
        let seen = workers.iter().map(WorkerHandle::last_seen_ns).collect();
        let pods = Pods::new(options.cgroup_root.clone());
        let inside = is_inside(config, &pods);

        let servers = Servers::new(AdminState {
            snapshot: Arc::clone(&snapshot),
            services: config.capture.services,
            hub,
            metrics: Arc::clone(&metrics),
            status: Arc::clone(&status),
            neighbours: Arc::clone(&neighbours),
        });
        if let Some(address) = config.metrics.address {
            servers.serve_metrics(address, options.takeover)?;
        }
        let controller = Controller::new(ControllerParts {
            kernel,
            destinations,
            neighbours,
            workers,
            settings: config.capture.clone(),
            dns: config.dns.clone(),
            status: Arc::clone(&status),
            metrics: Arc::clone(&metrics),
            pods,
        })?;
        Ok(Self { snapshot, metrics, status, controller, servers, room, stop, broken, heartbeat: None, seen, inside })
    }

    /// From now on the hooks trust this agent.
    pub(super) fn start_heartbeat(&mut self, settings: &Capture) -> Result<()> {
        let parts = HeartbeatParts {
            map: self.controller.control_map()?,
            inside: self.inside,
            workers: self.seen.clone(),
            status: Arc::clone(&self.status),
            metrics: Arc::clone(&self.metrics),
        };
        self.heartbeat = Some(Heartbeat::start(parts, settings).context("starting the heartbeat")?);
        Ok(())
    }
}

/// Whether the agent sits below a cgroup that it captures, as it does where it runs as a pod.
fn is_inside(config: &Config, pods: &Pods) -> bool {
    let named = config.capture.cgroup.iter().chain(config.topology.workloads.iter().flat_map(|pod| &pod.cgroup));
    named.chain(&pods.search()).any(|point| cgroup::is_inside(point))
}

/// How opaque bytes will move, and why so. Where kernel splice was asked for and does not work here, splice(2) takes its
/// place.
fn splice_backend(splice: &mut Splice, kernel: &Kernel, metrics: &Metrics) -> Result<(&'static str, String)> {
    match splice {
        Splice::Copy => return Ok(("copy", "as configured".to_owned())),
        Splice::Splice => return Ok(("splice", "as configured".to_owned())),
        Splice::Auto => return Ok(("splice", "kernel splice has to be asked for".to_owned())),
        Splice::Kernel => {}
    }
    let tried = match kernel.splice_refused() {
        Some(why) => Err(why.to_owned()),
        None => selftest::run(kernel.flow_maps()?).map_err(|error| error.to_string()),
    };
    match tried {
        Ok(()) => Ok(("kernel", "as configured; the self-test passed".to_owned())),
        Err(why) => {
            tracing::warn!(%why, "proxy.splice: kernel is not possible here: splice(2) takes its place");
            metrics.kernel_splice(SpliceEvent::Unavailable);
            *splice = Splice::Splice;
            Ok(("splice", format!("kernel was asked for and is not possible here: {why}")))
        }
    }
}

/// What the file says, or nothing until the cluster is known.
fn first_snapshot(config: &Config, options: &RunOptions) -> Snapshot {
    match options.cluster {
        Some(_) => Snapshot::empty(&config.routing),
        None => Snapshot::build(&config.topology, &config.routing, 1),
    }
}

/// Places for as many connections as this process can hold.
fn room(settings: &Proxy) -> Arc<Room> {
    let limits = Limits::of(settings, Machine::own());
    if let Some(wanted) = limits.cut {
        let (connections, why) = (limits.connections, &limits.why);
        tracing::warn!(wanted, connections, why, "proxy.max_connections_total is more than there is room for");
    }
    Arc::new(Room::new(limits))
}

fn worker_count(configured: usize) -> usize {
    if configured > 0 {
        return configured;
    }
    std::thread::available_parallelism().map_or(1, usize::from).min(MAX_DEFAULT_WORKERS)
}

/// What a worker's contexts are made of, before they are on the worker's thread.
struct Shared {
    snapshot: Arc<ArcSwap<Snapshot>>,
    hub: Arc<Hub>,
    metrics: Arc<Metrics>,
    destinations: Arc<Destinations>,
    settings: Proxy,
    dns: Dns,
    room: Arc<Room>,
    workers: usize,
    neighbours: Arc<Neighbours>,
    maps: FlowMaps,
    stopping: watch::Receiver<bool>,
}

impl Shared {
    fn into_contexts(self) -> Contexts {
        let dns = dns::Context::new(Arc::clone(&self.snapshot), Arc::clone(&self.metrics), &self.dns);
        let proxy = Context {
            snapshot: self.snapshot,
            hub: self.hub,
            metrics: self.metrics,
            destinations: self.destinations,
            settings: self.settings,
            budget: Rc::new(Budget::new(
                self.room.limits().buffered_bytes / self.workers,
                self.room.limits().spare_descriptors / self.workers,
            )),
            room: self.room,
            refusals: Default::default(),
            kernel: RefCell::new(Box::new(self.maps)),
            buffers: BufferPool::default(),
            turn: Cell::new(0),
            http: RefCell::new(HashSet::new()),
            stopping: self.stopping,
            neighbours: self.neighbours,
            inherited: Default::default(),
            drain: Default::default(),
            shortage: Default::default(),
        };
        Contexts { proxy, dns }
    }
}
