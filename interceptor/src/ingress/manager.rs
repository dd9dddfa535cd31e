//! The controller: watches, the Lease, rounds of planning and writing, and the endpoint; until SIGTERM.
//!
//! Everything runs on one thread. A round begins when something has changed (after a moment, in which more may change),
//! when a failed write is to be tried again, and every ten minutes in any case.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep, timeout_at};

use super::events::Events;
use super::facts::Facts;
use super::problem::Problem;
use super::report::Board;
use super::view::{self, View};
use super::writer::Writer;
use super::{endpoint, lease};
use crate::admin::server;
use crate::config::Config;
use crate::kubernetes::{self, Access};

/// Changes come in flocks: a deployment makes and changes many objects within a moment.
const SETTLE: Duration = Duration::from_millis(200);
/// A round though nothing seems to have changed.
const RESYNC: Duration = Duration::from_secs(600);
/// Clusters forget Events after an hour.
const RETELL: Duration = Duration::from_secs(1800);
/// For the Lease to be given up at the end.
const FAREWELL: Duration = Duration::from_secs(5);

/// What `interceptor ingress-manager` was told.
#[derive(Debug, Clone)]
pub struct ManagerOptions {
    /// Suffixes, class, TLS and annotations.
    pub config: Config,
    /// How the API server is found.
    pub kubeconfig: Vec<PathBuf>,
    /// Its name as a holder of the Lease, unique among managers.
    pub identity: String,
    /// The namespace of the Lease; that of the service account where it is not given.
    pub namespace: Option<String>,
    /// Where it serves `/healthz`, `/readyz`, `/metrics` and `/status`.
    pub listen: Option<SocketAddr>,
}

/// Runs the manager until SIGTERM or SIGINT.
///
/// # Errors
/// Where it cannot start; a running manager goes on with what it has.
pub fn run(options: ManagerOptions) -> Result<()> {
    runtime()?.block_on(LocalSet::new().run_until(serve(options)))
}

/// The cluster's facts as they are now.
///
/// # Errors
/// Where the cluster cannot be asked.
pub fn ask(kubeconfig: Vec<PathBuf>) -> Result<Facts> {
    runtime()?.block_on(async {
        let cluster = kubernetes::connect(&access(kubeconfig)).await?;
        view::once(&cluster.client).await.with_context(|| format!("listing the objects of the cluster {}", cluster.url))
    })
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")
}

fn access(kubeconfig: Vec<PathBuf>) -> Access {
    Access { kubeconfig, user_agent: format!("interceptor-ingress-manager/{}", env!("CARGO_PKG_VERSION")) }
}

async fn serve(options: ManagerOptions) -> Result<()> {
    let ManagerOptions { config, kubeconfig, identity, namespace, listen } = options;
    if config.routing.ingress_suffixes.is_empty() {
        bail!("routing.ingress_suffixes is empty: no host can be made; name the suffix of your hosts there");
    }
    let mut terminate = signal(SignalKind::terminate()).context("handling SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("handling SIGINT")?;
    let cluster = kubernetes::connect(&access(kubeconfig)).await?;
    let (stop, stopping) = watch::channel(false);
    let board = Board::new(&identity);
    if let Some(address) = listen {
        let listener = bind(address)?;
        tracing::info!(address = %listener.local_addr().unwrap_or(address), "serving /healthz, /readyz, /metrics and /status");
        let answers = board.clone();
        let answer = move |request| std::future::ready(endpoint::respond(&answers, &request));
        tokio::task::spawn_local(server::serve(listener, endpoint::CONNECTIONS, answer, stopping.clone()));
    }
    let mut watches = JoinSet::new();
    let view = View::start(&cluster.client, &mut watches);
    let (leading_tx, leading) = watch::channel(false);
    let leases: Api<Lease> =
        Api::namespaced(cluster.client.clone(), namespace.as_deref().unwrap_or(&cluster.namespace));
    let election = tokio::spawn(lease::elect(leases, identity.clone(), leading_tx, stopping));
    tracing::info!(cluster = cluster.url, identity, "the ingress manager is running");

    let writer = Writer::new(cluster.client.clone(), config, leading.clone(), board.clone());
    let mut controller = Controller {
        view,
        writer,
        events: Events::new(cluster.client, &identity),
        board,
        leading,
        told: Instant::now(),
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = controller.work() => {}
    }
    // Nobody writes any more when the Lease is given up.
    drop(controller);
    drop(watches);
    stop.send_replace(true);
    if tokio::time::timeout(FAREWELL, election).await.is_err() {
        tracing::warn!("the lease was not given up in time");
    }
    Ok(())
}

fn bind(address: SocketAddr) -> Result<tokio::net::TcpListener> {
    let listener = TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .and_then(tokio::net::TcpListener::from_std);
    listener.with_context(|| format!("listening on {address}; is the port in use? Give another --listen"))
}

struct Controller {
    view: View,
    writer: Writer,
    events: Events,
    board: Board,
    leading: watch::Receiver<bool>,
    /// When all problems were told of last.
    told: Instant,
}

impl Controller {
    /// Returns only where the watches have ended, which they do with the runtime.
    async fn work(&mut self) {
        while !self.view.is_complete() {
            if !self.view.listen().await {
                return;
            }
        }
        self.board.set_synced();
        loop {
            let leads = *self.leading.borrow_and_update();
            self.board.set_leading(leads);
            let pause = if leads { self.round().await.unwrap_or(RESYNC).min(RESYNC) } else { self.rest() };
            let goes_on = tokio::select! {
                goes_on = self.view.listen() => goes_on && self.settle().await,
                () = sleep(pause) => true,
                changed = self.leading.changed() => changed.is_ok(),
            };
            if !goes_on {
                return;
            }
        }
    }

    /// What was known when it last led is another's business now.
    fn rest(&self) -> Duration {
        self.board.set_problems(&BTreeSet::new());
        self.board.set_objects(0, 0);
        RESYNC
    }

    /// Takes in what follows within a moment.
    async fn settle(&mut self) -> bool {
        let end = Instant::now() + SETTLE;
        while let Ok(goes_on) = timeout_at(end, self.view.listen()).await {
            if !goes_on {
                return false;
            }
        }
        true
    }

    /// Plans and writes; when to come back for what failed.
    async fn round(&mut self) -> Option<Duration> {
        let outcome = self.writer.reconcile(&self.view.facts(), self.view.there()).await;
        let before = self.board.set_problems(&outcome.problems);
        for solved in before.difference(&outcome.problems) {
            tracing::info!(about = %solved.about, reason = solved.reason.as_str(), "no longer a problem");
        }
        let new: Vec<&Problem> = outcome.problems.difference(&before).collect();
        for problem in &new {
            tracing::warn!(about = %problem.about, reason = problem.reason.as_str(), "{}", problem.message);
        }
        if self.told.elapsed() >= RETELL {
            self.told = Instant::now();
            self.events.tell(outcome.problems.iter(), &self.view).await;
        } else {
            self.events.tell(new.into_iter(), &self.view).await;
        }
        outcome.retry
    }
}
