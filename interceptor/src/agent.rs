//! The composition root: reads the configuration, loads the kernel side, starts workers and servers, and keeps the
//! snapshot in force until it is told to stop. Called by `interceptor run`; everything else gets what it needs from here.
//!
//! Threads: this one (control: source, capture, admin, metrics), the workers (connections), the heartbeat.

mod cluster;
mod control;
mod ending;
mod parts;
mod reloads;
mod servers;
mod succession;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use self::control::Control;
use self::ending::Signals;
use self::parts::Parts;
use self::servers::bind_admin;
use self::succession::{First, Tick};
use crate::config::{Config, Parsed};
use crate::kubernetes::{Access, connect};
use crate::source::file::FileSource;
use crate::takeover::claim::{Found, find};
use crate::telemetry::LogCounts;
use crate::vital::Vital;

/// What `interceptor run` was told.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The configuration file; with a cluster it holds settings only, and may be left out.
    pub config: Option<PathBuf>,
    /// The cluster that spaces, services and workloads come from, instead of the file.
    pub cluster: Option<ClusterOptions>,
    /// Overrides the configuration's admin socket.
    pub admin_socket: Option<PathBuf>,
    /// Where the host's cgroup v2 is mounted, if not where the agent's own mounts say.
    pub cgroup_root: Option<PathBuf>,
    /// Whether the hooks' debug messages are carried into the log.
    pub ebpf_log: bool,
    /// Whether to take over from the agent that runs, if one does.
    pub takeover: bool,
    /// What the log does not write.
    pub log: LogCounts,
}

/// A cluster, and which part of it is this node's.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// How its API server is found.
    pub access: Access,
    /// This node's name in the cluster.
    pub node: String,
}

/// Runs the agent until SIGTERM or SIGINT.
///
/// # Errors
/// Where it cannot start; a running agent goes on with what it has.
pub fn run(options: &RunOptions) -> Result<()> {
    let _vital = Vital::thread();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    LocalSet::new().block_on(&runtime, serve(options))
}

async fn serve(options: &RunOptions) -> Result<()> {
    let mut file = options.config.as_deref().map(FileSource::new);
    let mut parsed = file.as_mut().map_or_else(|| Ok(Parsed::default()), FileSource::read)?;
    let cluster = match &options.cluster {
        Some(cluster) => {
            cluster::settings_only(&parsed.config)?;
            Some((connect(&cluster.access).await?, cluster.node.clone()))
        }
        None => None,
    };
    if let Some(socket) = &options.admin_socket {
        parsed.config.admin.socket.clone_from(socket);
    }
    // Before anything else is done: the old agent must be untouched by one that may not start.
    let mut hangup = signal(SignalKind::hangup()).context("handling SIGHUP")?;
    let mut signals = Signals::new()?;
    let origin = match (&cluster, &options.config) {
        (Some((cluster, node)), _) => ("kubernetes", format!("{} (node {node})", cluster.url)),
        (None, Some(path)) => ("file", path.display().to_string()),
        (None, None) => bail!("there is neither a configuration file nor a cluster: give --config or --kubernetes"),
    };
    let first = first(&parsed.config, options).await?;
    let before = match &first {
        First::After(before) => Some(before),
        First::Alone(_) => None,
    };
    let parts = Parts::start(&parsed.config, options, (origin.0, &origin.1), before)?;
    let mut control = Control::new(parts, file, cluster, parsed, options.admin_socket.is_some(), first)?;
    let successor = loop {
        tokio::select! {
            _ = hangup.recv() => control.reload()?,
            () = signals.told() => break false,
            tick = control.tick() => match tick? {
                Tick::On => {}
                Tick::End => break false,
                Tick::Succeeded => break true,
            },
        }
    };
    match successor {
        true => control.succeeded(&mut signals).await,
        false => control.stop(&mut signals).await,
    }
    Ok(())
}

/// Takes the place of this node's agent, or finds the one that has it.
async fn first(config: &Config, options: &RunOptions) -> Result<First> {
    let socket = &config.admin.socket;
    if options.takeover {
        match find(socket, config.capture.outbound_port).context("taking over")? {
            Found::Nobody => tracing::info!("no agent runs that could be taken over from"),
            Found::Agent(predecessor) => {
                tracing::info!(
                    pid = predecessor.pid,
                    version = predecessor.version,
                    "an agent runs: taking over from it"
                );
                return Ok(First::After(predecessor));
            }
            Found::Ending(why) => {
                tracing::warn!(
                    why,
                    "the agent that runs cannot be taken over from: it ends, and this one starts afresh"
                );
            }
        }
    }
    Ok(First::Alone(bind_admin(socket, options.takeover).await?))
}
