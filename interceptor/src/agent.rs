//! The composition root: reads the configuration, loads the kernel side, starts workers and servers, and keeps the
//! snapshot in force until it is told to stop. Called by `interceptor run`; everything else gets what it needs from here.
//!
//! Threads: this one (control: source, capture, admin, metrics), the workers (connections), the heartbeat.

mod control;
mod parts;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use self::control::Control;
use self::parts::Parts;
use crate::source::file::FileSource;

/// What `interceptor run` was told.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The configuration file.
    pub config: PathBuf,
    /// Overrides the configuration's admin socket.
    pub admin_socket: Option<PathBuf>,
    /// Where the host's cgroup v2 is mounted, if not where the agent's own mounts say.
    pub cgroup_root: Option<PathBuf>,
    /// Whether the hooks' debug messages are carried into the log.
    pub ebpf_log: bool,
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
    let mut source = FileSource::new(&options.config);
    let mut parsed = source.read()?;
    if let Some(socket) = &options.admin_socket {
        parsed.config.admin.socket.clone_from(socket);
    }
    // Before anything else is done: the old agent must be untouched by one that may not start.
    let mut hangup = signal(SignalKind::hangup()).context("handling SIGHUP")?;
    let mut terminate = signal(SignalKind::terminate()).context("handling SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("handling SIGINT")?;
    let parts = Parts::start(&parsed.config, options, &source)?;
    let mut control = Control::new(parts, source, parsed, options.admin_socket.is_some());
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
