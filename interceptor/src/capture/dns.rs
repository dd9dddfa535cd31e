//! Captures the DNS of workloads in derived spaces: opens the sockets that stand for their servers, tells the hooks and the
//! workers. Owned by [`Controller`](super::Controller).
//!
//! What ends does so in two steps: new queries pass at once, while the sockets stay for as long as answers are awaited.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use interceptor_common::dns::PORT;
use interceptor_common::{DnsKey, Endpoint};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::bpf::{BpfError, CaptureMaps};
use crate::captured::Captured;
use crate::config::Dns;
use crate::dns::{self, StandIn};
use crate::snapshot::{Snapshot, Workload};
use crate::status::{DnsReport, LeftOut};
use crate::worker::{WorkerGone, WorkerHandle};

/// How long sockets stay that get no new queries: as long as a client usually waits for an answer.
const GRACE: Duration = Duration::from_secs(5);

/// Every how many sweeps the servers of workloads that have some are looked for again.
const LOOK_EVERY: u32 = 30;

/// A server that cannot be captured; its queries pass.
#[derive(Debug, thiserror::Error)]
enum CaptureError {
    /// No socket can stand for it.
    #[error("opening a socket that stands for the DNS server {server}: {source}; its queries pass")]
    Open {
        /// The server.
        server: IpAddr,
        /// Why.
        source: io::Error,
    },
    /// The hooks refused it.
    #[error(transparent)]
    Bpf(#[from] BpfError),
    /// A worker has ended.
    #[error(transparent)]
    Worker(#[from] WorkerGone),
}

/// One captured server of one workload. Its sockets are open as long as the sender is there.
#[derive(Debug)]
struct Server {
    to: DnsKey,
    from: DnsKey,
    _open: watch::Sender<()>,
}

/// Whose DNS is captured.
#[derive(Debug)]
pub(super) struct Names {
    settings: Dns,
    off_because: Option<&'static str>,
    captured: HashMap<Arc<str>, BTreeMap<IpAddr, Server>>,
    not_captured: BTreeMap<Arc<str>, String>,
    /// What gets no new queries, and since when.
    leaving: Vec<(Instant, Server)>,
    sweeps: u32,
    /// Something is to be told that was not told yet.
    news: bool,
}

impl Names {
    /// `possible`: the kernel has taken the hooks.
    pub(super) fn new(settings: &Dns, possible: bool) -> Self {
        let off_because = match (settings.enabled, possible) {
            (false, _) => Some("dns.enabled is false"),
            (true, false) => Some("this kernel refuses the sendmsg or recvmsg hooks (they need Linux 5.2)"),
            (true, true) => None,
        };
        Self {
            settings: settings.clone(),
            off_because,
            captured: HashMap::new(),
            not_captured: BTreeMap::new(),
            leaving: Vec::new(),
            sweeps: 0,
            news: true,
        }
    }

    /// What `status` does not know yet.
    pub(super) fn news(&mut self) -> Option<DnsReport> {
        std::mem::take(&mut self.news).then(|| self.report())
    }

    fn report(&self) -> DnsReport {
        let left_out = |(name, why): (&Arc<str>, &String)| LeftOut { workload: name.to_string(), why: why.clone() };
        DnsReport {
            off_because: self.off_because.map(str::to_owned),
            workloads: self.captured.values().filter(|servers| !servers.is_empty()).count(),
            not_captured: self.not_captured.iter().map(left_out).collect(),
        }
    }

    /// Brings hooks and workers to what the snapshot says of the attached workloads. A sweep also looks for servers.
    pub(super) fn apply<'a>(
        &mut self,
        maps: &mut CaptureMaps,
        workers: &[WorkerHandle],
        snapshot: &Snapshot,
        attached: impl Iterator<Item = (&'a Arc<str>, &'a Arc<Captured>)>,
        sweep: bool,
    ) {
        if self.off_because.is_some() {
            return;
        }
        self.sweeps = self.sweeps.wrapping_add(u32::from(sweep));
        self.end_what_left(maps);
        for (name, captured) in attached {
            let Some(workload) = snapshot.workload(name).filter(|workload| is_derived(snapshot, workload)) else {
                self.release(maps, name);
                continue;
            };
            // Its files seldom change, and there may be many workloads.
            let known = self.captured.contains_key(name);
            if !known || (sweep && (self.not_captured.contains_key(name) || self.sweeps.is_multiple_of(LOOK_EVERY))) {
                self.capture(maps, workers, workload, captured);
            }
        }
    }

    /// Removes what the agent before left in the hooks' maps, once this agent's own sockets have taken the place of what is
    /// still wanted. Answers of its sockets are shown as before until it ends.
    pub(super) fn purge(&self, maps: &mut CaptureMaps) {
        let own = self.captured.values().flat_map(BTreeMap::values).map(|server| server.to).collect();
        maps.dns_agents.remove_others(&own).into_iter().map(Err).for_each(log);
    }

    /// Removes what tells whose answers those of the agent before were, which has ended with its sockets.
    pub(super) fn purge_answers(&self, maps: &mut CaptureMaps) {
        let leaving = self.leaving.iter().map(|(_, server)| server);
        let servers = self.captured.values().flat_map(BTreeMap::values).chain(leaving);
        let own = servers.map(|server| server.from).collect();
        maps.dns_servers.remove_others(&own).into_iter().map(Err).for_each(log);
    }

    /// Whether there is anything that a successor has taken the place of.
    pub(super) fn is_any_captured(&self) -> bool {
        self.captured.values().any(|servers| !servers.is_empty())
    }

    /// Removes what tells whose answers these are: the agent ends, and its successor has sockets of its own.
    pub(super) fn end(&mut self, maps: &mut CaptureMaps) {
        let leaving = self.leaving.drain(..).map(|(_, server)| server);
        for server in self.captured.drain().flat_map(|(_, servers)| servers.into_values()).chain(leaving) {
            log(maps.dns_servers.remove(&server.from));
        }
    }

    /// A workload is gone with its namespace.
    pub(super) fn forget(&mut self, maps: &mut CaptureMaps, name: &str) {
        self.news = true;
        for (_, server) in self.captured.remove(name).unwrap_or_default() {
            log(maps.dns_agents.remove(&server.to));
            log(maps.dns_servers.remove(&server.from));
        }
        self.not_captured.remove(name);
    }

    fn release(&mut self, maps: &mut CaptureMaps, name: &str) {
        // Most workloads have nothing to release.
        let Some(servers) = self.captured.remove(name) else { return };
        self.news = true;
        for (_, server) in servers {
            self.leave(maps, server);
        }
        self.not_captured.remove(name);
    }

    /// New queries pass.
    fn leave(&mut self, maps: &mut CaptureMaps, server: Server) {
        log(maps.dns_agents.remove(&server.to));
        self.leaving.push((Instant::now(), server));
    }

    fn end_what_left(&mut self, maps: &mut CaptureMaps) {
        self.leaving.retain(|(since, server)| {
            let stays = since.elapsed() < GRACE;
            if !stays {
                log(maps.dns_servers.remove(&server.from));
            }
            stays
        });
    }

    fn capture(
        &mut self,
        maps: &mut CaptureMaps,
        workers: &[WorkerHandle],
        workload: &Workload,
        captured: &Arc<Captured>,
    ) {
        let name = &workload.name;
        self.news = true;
        if captured.netns.is_home() {
            // Every process of the node would be taken for one of that space.
            self.captured.insert(Arc::clone(name), BTreeMap::new());
            self.not_captured.insert(Arc::clone(name), "it shares the node's network namespace".to_owned());
            return;
        }
        let wanted: HashSet<IpAddr> = match self.settings.servers.as_slice() {
            [] => dns::servers_of(workload, captured).into_iter().collect(),
            servers => servers.iter().copied().collect(),
        };
        let mut servers = self.captured.remove(name).unwrap_or_default();
        // A resolv.conf that cannot be seen any more says nothing.
        if !wanted.is_empty() {
            let gone: Vec<IpAddr> = servers.keys().filter(|server| !wanted.contains(server)).copied().collect();
            for server in gone.iter().filter_map(|server| servers.remove(server)) {
                self.leave(maps, server);
            }
        }
        let mut failed = None;
        for server in wanted {
            if servers.contains_key(&server) {
                continue;
            }
            match open(maps, workers, captured, server) {
                Ok(opened) => drop(servers.insert(server, opened)),
                Err(error) => failed = Some(error.to_string()),
            }
        }
        if servers.is_empty() && failed.is_none() {
            failed = Some("no DNS server is found in its processes' resolv.conf; set dns.servers".to_owned());
        }
        self.captured.insert(Arc::clone(name), servers);
        match failed {
            Some(why) => {
                if self.not_captured.get(name) != Some(&why) {
                    tracing::info!(workload = %name, why, "short names do not resolve for now");
                }
                self.not_captured.insert(Arc::clone(name), why);
            }
            None => drop(self.not_captured.remove(name)),
        }
    }
}

/// Whether a workload lives in a space that has an ancestor to share services with.
fn is_derived(snapshot: &Snapshot, workload: &Workload) -> bool {
    workload.space.is_some_and(|space| snapshot.space(space).chain.len() > 1)
}

/// Order matters: the sockets are served, and answers shown as the server's, before anything is sent to them.
fn open(
    maps: &mut CaptureMaps,
    workers: &[WorkerHandle],
    captured: &Arc<Captured>,
    server: IpAddr,
) -> Result<Server, CaptureError> {
    let refused = |source| CaptureError::Open { server, source };
    let stand_in = StandIn::open(&captured.netns, server).map_err(refused)?;
    let at = Endpoint::from(stand_in.address().map_err(refused)?);
    let original = Endpoint::from(SocketAddr::new(server, PORT));
    let (to, from) = (DnsKey::new(captured.cookie, original), DnsKey::new(captured.cookie, at));
    let (open, closed) = watch::channel(());
    // All of a workload's DNS is one worker's: it is little, and a client's queries stay in order.
    let turn = usize::try_from(captured.cookie).unwrap_or_default();
    let worker = turn.checked_rem(workers.len()).and_then(|at| workers.get(at)).ok_or(WorkerGone)?;
    worker.serve_dns(Arc::clone(captured), stand_in, closed)?;
    maps.dns_servers.insert(from, original)?;
    if let Err(error) = maps.dns_agents.insert(to, at) {
        log(maps.dns_servers.remove(&from));
        return Err(error.into());
    }
    Ok(Server { to, from, _open: open })
}

fn log(result: Result<(), BpfError>) {
    if let Err(error) = result {
        tracing::warn!(%error, "forgetting a DNS server failed; its queries pass when the agent ends");
    }
}
