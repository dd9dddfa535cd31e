//! The control loop: puts configurations into force, all or nothing, and looks after what comes and goes by itself.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep};

use super::parts::Parts;
use crate::config::{Config, Diagnostic, Parsed, Topology};
use crate::snapshot::{Delta, Snapshot};
use crate::source::file::{FileError, FileSource};

/// How often the configuration file is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Every how many looks the workloads' namespaces are looked after.
const SWEEP_EVERY: u32 = 5;

/// How long connections under way have when the agent is told to end.
const DRAIN: Duration = Duration::from_secs(5);

/// The control loop's state.
pub(super) struct Control {
    parts: Parts,
    source: FileSource,
    config: Config,
    admin_overridden: bool,
    clock: Interval,
    ticks: u32,
}

impl Control {
    pub(super) fn new(parts: Parts, source: FileSource, parsed: Parsed, admin_overridden: bool) -> Self {
        let mut clock = interval(LOOK);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut control =
            Self { parts, source, config: without_topology(parsed.config), admin_overridden, clock, ticks: 0 };
        let snapshot = control.parts.snapshot.load_full();
        control.in_force(&snapshot, &Delta::whole(&snapshot), &parsed.warnings);
        control.parts.status.set_ready(true);
        let captured = control.parts.controller.captured_workloads();
        tracing::info!(workloads = snapshot.workloads().count(), captured, "ready");
        control
    }

    /// Waits for the next look at the file and the workloads, and takes it.
    pub(super) async fn tick(&mut self) {
        self.clock.tick().await;
        if let Some(read) = self.source.changed() {
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
        let read = self.source.read();
        self.take(read);
    }

    fn take(&mut self, read: Result<Parsed, FileError>) {
        let parsed = match read {
            Ok(parsed) => parsed,
            Err(error) => return self.reject(&error.to_string()),
        };
        let mut config = parsed.config;
        if self.admin_overridden {
            config.admin.clone_from(&self.config.admin);
        }
        if let Some(section) = needs_restart(&self.config, &config) {
            return self.reject(&format!(
                "section `{section}` has changed, which takes effect only at a restart; put it back or restart the agent"
            ));
        }
        let (snapshot, delta) = self.parts.snapshot.load().replaced(&config.topology, &config.routing);
        let snapshot = Arc::new(snapshot);
        self.config = without_topology(config);
        self.parts.snapshot.store(Arc::clone(&snapshot));
        self.in_force(&snapshot, &delta, &parsed.warnings);
        tracing::info!(version = snapshot.version, "configuration in force");
    }

    fn reject(&self, error: &str) {
        tracing::warn!(%error, "the configuration was refused; the last good one stays in force");
        self.parts.status.set_source_error(error.to_owned());
        self.parts.metrics.snapshot_rejected();
    }

    /// Brings the kernel to a snapshot that is published, and says that it is in force.
    fn in_force(&mut self, snapshot: &Snapshot, delta: &Delta, warnings: &[Diagnostic]) {
        let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
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
