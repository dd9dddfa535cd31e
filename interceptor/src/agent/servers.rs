//! The admin socket and the metrics endpoint: when they are served, when they end, and what of them a successor gets.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::admin::{AdminError, AdminHandle, AdminSocket, AdminState, MetricsServer};

/// How long an agent that is to succeed another waits for the path of one that ends.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often the port of the agent before is tried again.
const AGAIN: Duration = Duration::from_millis(50);

/// The endpoints of one agent.
pub(super) struct Servers {
    state: AdminState,
    admin_end: watch::Sender<bool>,
    metrics_end: watch::Sender<bool>,
    admin: Option<AdminHandle>,
}

impl Servers {
    /// Nothing is served yet.
    pub(super) fn new(state: AdminState) -> Self {
        Self { state, admin_end: watch::Sender::new(false), metrics_end: watch::Sender::new(false), admin: None }
    }

    /// Serves the admin socket.
    pub(super) fn serve_admin(&mut self, admin: AdminSocket) -> Result<()> {
        self.admin = Some(admin.handle().context("keeping the admin socket for a successor")?);
        self.state.status.set_listener("admin", &admin.path().display().to_string());
        tokio::task::spawn_local(admin.serve(self.state.clone(), self.admin_end.subscribe()));
        Ok(())
    }

    /// Serves metrics. With `wait` an address that is in use is tried until it is free: the agent before lets go of it as
    /// soon as this one has taken over.
    pub(super) fn serve_metrics(&self, address: SocketAddr, wait: bool) -> Result<()> {
        match MetricsServer::bind(address) {
            Ok(server) => self.serve(server),
            Err(error) if wait && error.source.kind() == std::io::ErrorKind::AddrInUse => {
                let (state, end) = (self.state.clone(), self.metrics_end.subscribe());
                tokio::task::spawn_local(serve_when_free(address, state, end));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn serve(&self, server: MetricsServer) {
        serve_metrics(server, self.state.clone(), self.metrics_end.subscribe());
    }

    /// What a successor gets of the admin socket.
    pub(super) fn admin(&self) -> Option<&AdminHandle> {
        self.admin.as_ref()
    }

    /// Lets go of the admin socket: its files are a successor's, or nobody's.
    pub(super) fn end_admin(&mut self, handed: bool) {
        if let Some(admin) = self.admin.take().filter(|_| handed) {
            admin.handed_over();
        }
        self.admin_end.send_replace(true);
    }

    /// Lets go of the metrics' address.
    pub(super) fn end_metrics(&self) {
        self.metrics_end.send_replace(true);
    }
}

fn serve_metrics(server: MetricsServer, state: AdminState, end: watch::Receiver<bool>) {
    // Not the configured one: port 0 lets the kernel choose.
    state.status.set_listener("metrics", &server.address().to_string());
    tokio::task::spawn_local(server.serve(state, end));
}

async fn serve_when_free(address: SocketAddr, state: AdminState, end: watch::Receiver<bool>) {
    while !*end.borrow() {
        match MetricsServer::bind(address) {
            Ok(server) => return serve_metrics(server, state, end),
            Err(error) => tracing::debug!(%error, "the metrics' address is not free yet"),
        }
        sleep(AGAIN).await;
    }
}

/// Takes the admin socket's path; `wait`: from an agent that is about to end.
pub(super) async fn bind_admin(path: &Path, wait: bool) -> Result<AdminSocket, AdminError> {
    let until = Instant::now() + PATIENCE;
    loop {
        match AdminSocket::bind(path) {
            Err(AdminError::InUse { .. }) if wait && Instant::now() < until => sleep(AGAIN).await,
            bound => return bound,
        }
    }
}
