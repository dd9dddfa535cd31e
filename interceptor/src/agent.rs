//! The composition root: reads the configuration, loads the kernel side, starts workers and servers, and keeps the
//! snapshot in force until it is told to stop. Called by `interceptor run`; everything else gets what it needs from here.
//!
//! Threads: this one (control: source, capture, admin, metrics), the workers (connections), the heartbeat.

mod cluster;
mod control;
mod parts;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use self::control::Control;
use self::parts::Parts;
use crate::config::Parsed;
use crate::kubernetes::{Access, connect};
use crate::source::file::FileSource;

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
    let mut terminate = signal(SignalKind::terminate()).context("handling SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("handling SIGINT")?;
    let origin = match (&cluster, &options.config) {
        (Some((cluster, node)), _) => ("kubernetes", format!("{} (node {node})", cluster.url)),
        (None, Some(path)) => ("file", path.display().to_string()),
        (None, None) => bail!("there is neither a configuration file nor a cluster: give --config or --kubernetes"),
    };
    let parts = Parts::start(&parsed.config, options, (origin.0, &origin.1))?;
    let mut control = Control::new(parts, file, cluster, parsed, options.admin_socket.is_some());
    loop {
        tokio::select! {
            _ = hangup.recv() => control.reload(),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = control.tick() => {}
        }
    }
    control.stop().await;
    Ok(())
}
