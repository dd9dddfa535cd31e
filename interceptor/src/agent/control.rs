//! The control loop: puts configurations into force, all or nothing, and looks after what comes and goes by itself.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep};

use super::cluster;
use super::parts::Parts;
use crate::config::{Config, Diagnostic, Parsed, Topology};
use crate::kubernetes::{Cluster, Pace};
use crate::snapshot::{Change, Delta, Snapshot};
use crate::source::file::{FileError, FileSource};
use crate::source::kubernetes::{Batch, Source as ClusterSource};

/// How often the configuration file is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Every how many looks the workloads' namespaces are looked after.
const SWEEP_EVERY: u32 = 5;

/// How long connections under way have when the agent is told to end.
const DRAIN: Duration = Duration::from_secs(5);

/// The control loop's state.
pub(super) struct Control {
    parts: Parts,
    file: Option<FileSource>,
    /// Where the topology comes from, if not from the file.
    cluster: Option<ClusterSource>,
    config: Config,
    admin_overridden: bool,
    clock: Interval,
    ticks: u32,
    warnings: Vec<String>,
}

/// The cluster, and this node's name in it.
pub(super) type WatchedCluster = Option<(Cluster, String)>;

impl Control {
    pub(super) fn new(
        parts: Parts,
        file: Option<FileSource>,
        cluster: WatchedCluster,
        parsed: Parsed,
        admin_overridden: bool,
    ) -> Self {
        let mut clock = interval(LOOK);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let watched = cluster.map(|(cluster, node)| {
            let (status, metrics) = (Arc::clone(&parts.status), Arc::clone(&parts.metrics));
            ClusterSource::start(&cluster, &node, &Pace::default(), status, metrics)
        });
        let config = without_topology(parsed.config);
        let (ticks, warnings) = (0, Vec::new());
        let mut control = Self { parts, file, cluster: watched, config, admin_overridden, clock, ticks, warnings };
        if control.cluster.is_none() {
            let snapshot = control.parts.snapshot.load_full();
            control.in_force(&snapshot, &Delta::whole(&snapshot), texts(&parsed.warnings));
            let captured = control.parts.controller.captured_workloads();
            tracing::info!(workloads = snapshot.workloads().count(), captured, "ready");
        }
        control.parts.status.set_ready(true);
        control
    }

    /// Waits for the next look at the file and the workloads, or for news of the cluster or of pods, and takes it.
    pub(super) async fn tick(&mut self) {
        let cluster = &mut self.cluster;
        let changes = async {
            match cluster {
                Some(cluster) => cluster.next().await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = self.clock.tick() => {}
            () = self.parts.controller.pods_stirred() => {
                let snapshot = self.parts.snapshot.load_full();
                return self.parts.controller.follow_pods(&snapshot);
            }
            batch = changes => return self.take_changes(&batch),
        }
        if let Some(read) = self.file.as_mut().and_then(FileSource::changed) {
            self.take(read);
        }
        self.ticks = self.ticks.wrapping_add(1);
        if self.ticks.is_multiple_of(SWEEP_EVERY) {
            let snapshot = self.parts.snapshot.load_full();
            self.parts.controller.sweep(&snapshot);
        }
    }

    /// Reads the configuration now, changed or not.
    pub(super) fn reload(&mut self) {
        if let Some(read) = self.file.as_mut().map(FileSource::read) {
            self.take(read);
        }
    }

    /// Puts what has changed in the cluster into force.
    fn take_changes(&mut self, batch: &Batch) {
        let begin = Instant::now();
        let (snapshot, delta) = self.parts.snapshot.load().update(&batch.changes());
        let snapshot = Arc::new(snapshot);
        self.parts.snapshot.store(Arc::clone(&snapshot));
        let warnings = cluster::warnings(self.cluster.iter().flat_map(ClusterSource::troubles), &snapshot);
        self.in_force(&snapshot, &delta, warnings);
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
    }

    fn take(&mut self, read: Result<Parsed, FileError>) {
        let parsed = match read {
            Ok(parsed) => parsed,
            Err(error) => return self.reject(&error.to_string()),
        };
        let mut config = parsed.config;
        if self.cluster.is_some()
            && let Err(error) = cluster::settings_only(&config)
        {
            return self.reject(&error.to_string());
        }
        if self.admin_overridden {
            config.admin.clone_from(&self.config.admin);
        }
        if let Some(section) = needs_restart(&self.config, &config) {
            return self.reject(&format!(
                "section `{section}` has changed, which takes effect only at a restart; put it back or restart the agent"
            ));
        }
        let before = self.parts.snapshot.load_full();
        let (snapshot, delta) = match self.cluster {
            Some(_) => before.update(&[Change::Routing(&config.routing)]),
            None => before.replaced(&config.topology, &config.routing),
        };
        let snapshot = Arc::new(snapshot);
        self.config = without_topology(config);
        self.parts.snapshot.store(Arc::clone(&snapshot));
        let warnings = if self.cluster.is_some() { self.warnings.clone() } else { texts(&parsed.warnings) };
        self.in_force(&snapshot, &delta, warnings);
        tracing::info!(version = snapshot.version, "configuration in force");
    }

    fn reject(&self, error: &str) {
        tracing::warn!(%error, "the configuration was refused; the last good one stays in force");
        self.parts.status.set_source_error(error.to_owned());
        self.parts.metrics.snapshot_rejected();
    }

    /// Brings the kernel to a snapshot that is published, and says that it is in force.
    fn in_force(&mut self, snapshot: &Snapshot, delta: &Delta, warnings: Vec<String>) {
        for warning in warnings.iter().filter(|warning| !self.warnings.contains(warning)) {
            tracing::warn!("{warning}");
        }
        self.warnings.clone_from(&warnings);
        self.parts.metrics.set_source_warnings(warnings.len());
        self.parts.controller.update(snapshot, delta);
        self.parts.metrics.snapshot_accepted(snapshot.version);
        // Last: whoever waits for this version finds it in the kernel, too.
        self.parts.status.set_source_ok(snapshot.version, warnings);
    }

    /// Lets new connections pass, gives those under way some time, and ends.
    pub(super) async fn stop(mut self) {
        tracing::info!("ending: new connections pass directly");
        self.parts.status.set_ready(false);
        drop(self.parts.heartbeat.take());
        self.parts.controller.stop();
        self.parts.stop.send_replace(true);
        let until = Instant::now() + DRAIN;
        while self.parts.open.load(Ordering::Relaxed) > 0 && Instant::now() < until {
            sleep(Duration::from_millis(20)).await;
        }
        self.parts.shutdown.send_replace(true);
        drop(self.parts.controller);
        // One turn of the runtime, so that the servers see that they are to end.
        sleep(Duration::from_millis(20)).await;
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
