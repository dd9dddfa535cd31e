//! The control loop: puts configurations into force, all or nothing, and looks after what comes and goes by itself.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::cluster;
use super::parts::Parts;
use super::reloads::Reloads;
use super::succession::{First, Succession, Tick};
use crate::config::{Config, Diagnostic, Parsed, Topology};
use crate::kubernetes::{Cluster, Pace};
use crate::snapshot::{Change, Delta, Snapshot};
use crate::source::file::{FileError, FileSource};
use crate::source::kubernetes::{Batch, Source as ClusterSource};
use crate::takeover::claim::Predecessor;

/// How often the configuration file is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Every how many looks the workloads' namespaces are looked after.
const SWEEP_EVERY: u32 = 5;

/// The control loop's state.
pub(super) struct Control {
    pub(super) parts: Parts,
    file: Option<FileSource>,
    /// Where the topology comes from, if not from the file.
    pub(super) cluster: Option<ClusterSource>,
    pub(super) config: Config,
    admin_overridden: bool,
    /// The agent that captures until this one is ready to.
    pub(super) predecessor: Option<Predecessor>,
    /// What a successor asks; none before this agent captures.
    pub(super) succession: Succession,
    clock: Interval,
    ticks: u32,
    reloads: Reloads,
    warnings: Vec<String>,
}

/// The cluster, and this node's name in it.
pub(super) type WatchedCluster = Option<(Cluster, String)>;

impl Control {
    /// Captures at once, unless there is an agent to succeed or a cluster to learn first.
    ///
    /// # Errors
    /// Where it cannot: the agent before goes on then.
    pub(super) fn new(
        parts: Parts,
        file: Option<FileSource>,
        cluster: WatchedCluster,
        parsed: Parsed,
        admin_overridden: bool,
        first: First,
    ) -> Result<Self> {
        let mut clock = interval(LOOK);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let watched = cluster.map(|(cluster, node)| {
            let (status, metrics) = (Arc::clone(&parts.status), Arc::clone(&parts.metrics));
            ClusterSource::start(&cluster, &node, &Pace::default(), status, metrics)
        });
        let (ticks, warnings, succession) = (0, Vec::new(), Succession::default());
        let reloads = Reloads::default();
        let config = without_topology(parsed.config);
        let (predecessor, cluster) = (None, watched);
        let mut control = Self {
            parts,
            file,
            cluster,
            config,
            admin_overridden,
            predecessor,
            succession,
            clock,
            ticks,
            reloads,
            warnings,
        };
        match first {
            First::Alone(admin) => control.begin(admin, None)?,
            First::After(predecessor) => control.predecessor = Some(predecessor),
        }
        if control.cluster.is_none() {
            let snapshot = control.parts.snapshot.load_full();
            control.in_force(&snapshot, &Delta::whole(&snapshot), texts(&parsed.warnings))?;
            let captured = control.parts.controller.captured_workloads();
            tracing::info!(workloads = snapshot.workloads().count(), captured, "ready");
        }
        Ok(control)
    }

    /// Waits for the next look at the file and the workloads, for news of the cluster or of pods, or for a successor's word,
    /// and takes it.
    ///
    /// # Errors
    /// Where the agent before could not be succeeded: it goes on.
    pub(super) async fn tick(&mut self) -> Result<Tick> {
        let waits = self.predecessor.is_some();
        tokio::select! {
            _ = self.clock.tick() => {}
            () = self.parts.controller.pods_stirred(), if !waits => {
                let snapshot = self.parts.snapshot.load_full();
                self.parts.controller.follow_pods(&snapshot);
                return Ok(Tick::On);
            }
            ask = self.succession.next() => return Ok(self.answer(ask)),
            Some(cookie) = self.parts.broken.recv() => {
                let snapshot = self.parts.snapshot.load_full();
                self.parts.controller.reopen(cookie, &snapshot);
                return Ok(Tick::On);
            }
            batch = news(&mut self.cluster) => return self.take_changes(&batch).map(|()| Tick::On),
        }
        // What the agent before has is not touched until it is this one's.
        if waits {
            return Ok(Tick::On);
        }
        let look =
            if self.reloads.was_asked() { |file: &mut FileSource| Some(file.read()) } else { FileSource::changed };
        if let Some(read) = self.file.as_mut().and_then(look) {
            self.take(read)?;
        }
        self.reloads.tell();
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(SWEEP_EVERY) {
            if self.succession.has_before_ended() {
                self.parts.controller.begin_leftovers();
            }
            let snapshot = self.parts.snapshot.load_full();
            self.parts.controller.sweep(&snapshot);
        }
        Ok(Tick::On)
    }

    /// Reads the configuration now, changed or not; with the next look where that was asked for a moment ago.
    ///
    /// # Errors
    /// As [`tick`](Self::tick).
    pub(super) fn reload(&mut self) -> Result<()> {
        if !self.reloads.may_begin() {
            return Ok(());
        }
        match self.file.as_mut().map(FileSource::read).filter(|_| self.predecessor.is_none()) {
            Some(read) => self.take(read),
            None => Ok(()),
        }
    }

    /// Puts what has changed in the cluster into force.
    fn take_changes(&mut self, batch: &Batch) -> Result<()> {
        let begin = Instant::now();
        let (snapshot, delta) = self.parts.snapshot.load().update(&batch.changes());
        let snapshot = Arc::new(snapshot);
        self.parts.snapshot.store(Arc::clone(&snapshot));
        let warnings = cluster::warnings(self.cluster.iter().flat_map(ClusterSource::troubles), &snapshot);
        self.in_force(&snapshot, &delta, warnings)?;
        let took = begin.elapsed();
        if let Some(cluster) = &mut self.cluster {
            cluster.in_force(took);
        }
        let (version, captured) = (snapshot.version, self.parts.controller.captured_workloads());
        if version == 1 {
            let (spaces, services) = (snapshot.spaces().len(), snapshot.service_count());
            tracing::info!(spaces, services, captured, ?took, "the cluster is known: ready");
        } else {
            tracing::debug!(version, changes = batch.len(), captured, ?took, "changes of the cluster in force");
        }
        Ok(())
    }

    fn take(&mut self, read: Result<Parsed, FileError>) -> Result<()> {
        match self.usable(read) {
            Ok((config, warnings)) => self.put_into_force(config, &warnings),
            Err(why) => {
                self.reject(&why);
                Ok(())
            }
        }
    }

    /// What was read, if it can come into force; otherwise why not.
    fn usable(&self, read: Result<Parsed, FileError>) -> Result<(Config, Vec<Diagnostic>), String> {
        let Parsed { mut config, warnings } = read.map_err(|error| error.to_string())?;
        if self.cluster.is_some() {
            cluster::settings_only(&config).map_err(|error| error.to_string())?;
        }
        if self.admin_overridden {
            config.admin.clone_from(&self.config.admin);
        }
        match needs_restart(&self.config, &config) {
            Some(section) => Err(format!(
                "section `{section}` has changed, which takes effect only at a restart; put it back or restart the agent"
            )),
            None => Ok((config, warnings)),
        }
    }

    /// Waits for news of the topology, and routes what is still under way by it: what an agent does that ends. The kernel
    /// and the pods are a successor's by now, or nobody's, and so is telling what is wrong with the news.
    pub(super) async fn learn(&mut self) {
        tokio::select! {
            _ = self.clock.tick() => {
                if let Some(read) = self.file.as_mut().and_then(FileSource::changed) {
                    self.route_by(read);
                }
            }
            batch = news(&mut self.cluster) => {
                let (snapshot, _) = self.parts.snapshot.load().update(&batch.changes());
                self.parts.snapshot.store(Arc::new(snapshot));
            }
        }
    }

    /// The same with what is in the file now, without waiting.
    pub(super) fn learn_now(&mut self) {
        if let Some(read) = self.file.as_mut().map(FileSource::read) {
            self.route_by(read);
        }
    }

    fn route_by(&self, read: Result<Parsed, FileError>) {
        if let Ok((config, _)) = self.usable(read) {
            let (snapshot, _) = self.next_snapshot(&config);
            self.parts.snapshot.store(Arc::new(snapshot));
        }
    }

    fn next_snapshot(&self, config: &Config) -> (Snapshot, Delta) {
        let before = self.parts.snapshot.load();
        match self.cluster {
            Some(_) => before.update(&[Change::Routing(&config.routing)]),
            None => before.replaced(&config.topology, &config.routing),
        }
    }

    fn put_into_force(&mut self, config: Config, warnings: &[Diagnostic]) -> Result<()> {
        let (snapshot, delta) = self.next_snapshot(&config);
        let snapshot = Arc::new(snapshot);
        self.config = without_topology(config);
        self.parts.snapshot.store(Arc::clone(&snapshot));
        let warnings = if self.cluster.is_some() { self.warnings.clone() } else { texts(warnings) };
        self.in_force(&snapshot, &delta, warnings)?;
        self.reloads.came(snapshot.version);
        Ok(())
    }

    fn reject(&self, error: &str) {
        tracing::warn!(%error, "the configuration was refused; the last good one stays in force");
        self.parts.status.set_source_error(error.to_owned());
        self.parts.metrics.snapshot_rejected();
    }

    /// Brings the kernel to a snapshot that is published, and says that it is in force. The first time the agent before is
    /// succeeded, where there is one: now there is something to do its work by.
    fn in_force(&mut self, snapshot: &Snapshot, delta: &Delta, warnings: Vec<String>) -> Result<()> {
        if let Some(predecessor) = self.predecessor.take() {
            self.succeed(predecessor)?;
        }
        for warning in warnings.iter().filter(|warning| !self.warnings.contains(warning)) {
            tracing::warn!("{warning}");
        }
        self.warnings.clone_from(&warnings);
        self.parts.metrics.set_source_warnings(warnings.len());
        self.parts.controller.update(snapshot, delta);
        self.parts.metrics.snapshot_accepted(snapshot.version);
        // Last: whoever waits for this version finds it in the kernel, too.
        self.parts.status.set_source_ok(snapshot.version, warnings);
        Ok(())
    }
}

/// What has changed in the cluster, once something has; never, where there is none. May be dropped at any time.
async fn news(cluster: &mut Option<ClusterSource>) -> Batch {
    match cluster {
        Some(cluster) => cluster.next().await,
        None => pending().await,
    }
}

/// The snapshot holds all of it: no need to keep it twice.
fn without_topology(config: Config) -> Config {
    Config { topology: Topology::default(), ..config }
}

fn texts(warnings: &[Diagnostic]) -> Vec<String> {
    warnings.iter().map(ToString::to_string).collect()
}

/// The first section whose change cannot be put into force while the agent runs.
fn needs_restart(old: &Config, new: &Config) -> Option<&'static str> {
    let sections = [
        ("proxy", old.proxy != new.proxy),
        ("admin", old.admin != new.admin),
        ("metrics", old.metrics != new.metrics),
        ("flows", old.flows != new.flows),
        ("capture", old.capture != new.capture),
        ("dns", old.dns != new.dns),
    ];
    sections.into_iter().find(|(_, changed)| *changed).map(|(name, _)| name)
}
