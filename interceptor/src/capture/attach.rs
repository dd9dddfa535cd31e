//! Attaches one workload: its namespace, listeners for every worker, the sk_lookup link. Dropping it detaches.

use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use interceptor_common as common;

use crate::bpf::{BpfError, CaptureMaps, Kernel, NetnsLink};
use crate::captured::{Captured, Threads};
use crate::config::{NetnsRef, PropagateMode};
use crate::discovery::{Missing, Pods};
use crate::metrics::Metrics;
use crate::net::netns::{Identity, Netns};
use crate::net::socket::{self, Listeners};
use crate::propagate::Memory;
use crate::snapshot::Workload;
use crate::takeover::Holding;
use crate::worker::{WorkerGone, WorkerHandle};

/// A workload that could not be captured; it keeps its direct traffic.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttachError {
    /// It is a pod that is not found.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// Its namespace is not there.
    #[error("opening network namespace {path}: {source}; is the pod gone?")]
    Netns {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Its listeners could not be opened.
    #[error("listening on port {port} in its network namespace: {source}{}", listen_hint(.source))]
    Listen {
        /// The outbound port.
        port: u16,
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

impl AttachError {
    /// Whether it comes by itself, as opposed to what somebody has to mend.
    pub(super) fn is_yet_to_come(&self) -> bool {
        matches!(self, Self::Missing(missing) if missing.is_yet_to_come())
    }

    /// Whether it is the agent or the kernel that could not, as opposed to a workload that is gone or not there yet.
    pub(super) fn is_ours(&self) -> bool {
        !matches!(self, Self::Missing(_) | Self::Netns { .. })
    }
}

fn listen_hint(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::AddrInUse {
        "; the pod uses that port itself: choose another one with capture.outbound_port"
    } else {
        ""
    }
}

/// A workload that is captured; dropping it detaches it.
pub(super) struct Attached {
    /// What the workers know of it.
    pub(super) captured: Arc<Captured>,
    /// How it was last described; another namespace or other addresses mean to attach anew.
    pub(super) workload: Workload,
    /// Whether the hooks take it for a pod of a root space.
    pub(super) in_root: bool,
    pub(super) link: Option<NetnsLink>,
}

/// Where a workload is: its network namespace, and a cgroup with its processes where one is known.
pub(super) struct Located {
    netns: Netns,
    cgroup: Option<PathBuf>,
}

/// Finds a workload and opens its network namespace.
pub(super) fn open(pods: &Pods, workload: &Workload) -> Result<Located, AttachError> {
    let (name, netns, cgroup) = match (&workload.netns, workload.netns.path()) {
        (NetnsRef::Pod(uid), _) => {
            let found = pods.find(uid)?;
            (format!("of pod {uid}"), found.netns.try_clone(), Some(found.cgroup.to_path_buf()))
        }
        (_, path) => {
            let path = path.unwrap_or_default();
            (path.display().to_string(), Netns::open(&path), workload.cgroup.clone())
        }
    };
    let netns = netns.map_err(|source| AttachError::Netns { path: name, source })?;
    Ok(Located { netns, cgroup })
}

impl Located {
    /// Which namespace.
    pub(super) fn identity(&self) -> Identity {
        self.netns.identity()
    }
}

/// What workloads are attached with.
pub(super) struct Means<'a> {
    pub(super) kernel: &'a mut Kernel,
    pub(super) maps: &'a mut CaptureMaps,
    pub(super) workers: &'a [WorkerHandle],
    pub(super) outbound_port: u16,
}

/// Attaches a workload. Order matters: its listeners accept before anything is sent to them. `handed` is what the agent
/// before had there: connections wait at its listeners.
pub(super) fn attach(
    Means { kernel, maps, workers, outbound_port }: Means<'_>,
    workload: &Workload,
    Located { netns, cgroup }: Located,
    in_root: bool,
    handed: Option<Holding>,
) -> Result<Attached, AttachError> {
    let listen = |source| AttachError::Listen { port: outbound_port, source };
    let (mut listeners, link) = handed.map_or_else(Default::default, |held| (held.listeners, held.link));
    let missing = workers.len().saturating_sub(listeners.len());
    let more = socket::listen_beside(&netns, outbound_port, &listeners, missing).map_err(listen)?;
    listeners.extend(more);
    let cookie = match listeners.first() {
        Some(first) => kernel.netns_cookie(&netns, &first.outbound)?,
        None => return Err(WorkerGone.into()),
    };
    let captured = Arc::new(Captured {
        name: Arc::clone(&workload.name),
        netns,
        cookie,
        addresses: workload.addresses.clone(),
        cgroup,
        open: Arc::default(),
        turned_away: Default::default(),
        threads: Threads::default(),
        refused: AtomicBool::new(false),
        memory: Memory::new(PropagateMode::Off),
    });
    let link = match link.map(NetnsLink::new).map_or_else(|| kernel.attach_netns(&captured.netns), Ok) {
        Ok(link) => Some(link),
        // Outbound capture still works; `status` says what is missing.
        Err(BpfError::Unavailable(_)) => None,
        Err(error) => return Err(error.into()),
    };
    register(maps, &captured, &listeners)?;
    let mut begin = || -> Result<(), AttachError> {
        // The agent before may have had more workers.
        for (worker, listeners) in workers.iter().cycle().zip(std::mem::take(&mut listeners)) {
            worker.listen(Arc::clone(&captured), listeners)?;
        }
        Ok(maps.workloads.insert(cookie, entry(&captured, in_root))?)
    };
    if let Err(error) = begin() {
        // It is tried again with listeners of its own: these must not stay beside them.
        workers.iter().for_each(|worker| worker.close(cookie));
        return Err(error);
    }
    Ok(Attached { captured, workload: workload.clone(), in_root, link })
}

impl Attached {
    /// Tells the hooks whether it is now a pod of a root space.
    pub(super) fn set_in_root(&mut self, maps: &mut CaptureMaps, in_root: bool) -> Result<(), BpfError> {
        maps.workloads.insert(self.captured.cookie, entry(&self.captured, in_root))?;
        self.in_root = in_root;
        Ok(())
    }

    /// Follows its threads, or leaves them, and tells the hooks.
    pub(super) fn follow_threads(
        &self,
        maps: &mut CaptureMaps,
        metrics: &Metrics,
        followed: bool,
    ) -> Result<(), BpfError> {
        let Captured { name, threads, .. } = &*self.captured;
        if followed {
            threads.follow(|| metrics.thread_calls(name));
        } else {
            threads.leave();
        }
        maps.workloads.insert(self.captured.cookie, entry(&self.captured, self.in_root))
    }
}

fn register(maps: &mut CaptureMaps, captured: &Captured, listeners: &[Listeners]) -> Result<(), BpfError> {
    let Some(first) = listeners.first() else { return Ok(()) };
    maps.set_outbound(captured.cookie, first.outbound.as_raw_fd())?;
    for address in &captured.addresses {
        let same_family =
            |listener: &&TcpListener| listener.local_addr().is_ok_and(|own| own.is_ipv4() == address.is_ipv4());
        if let Some(listener) = first.inbound.iter().find(same_family) {
            maps.set_listener((*address).into(), listener.as_raw_fd())?;
        }
    }
    Ok(())
}

fn entry(captured: &Captured, in_root: bool) -> common::Workload {
    let all = &captured.addresses;
    let unspecified = common::Address([0; 16]);
    let first = |v4: bool| all.iter().find(|ip| ip.is_ipv4() == v4).map_or(unspecified, |ip| (*ip).into());
    let threads = u32::from(captured.threads.are_followed());
    common::Workload { v4: first(true), v6: first(false), in_root: u32::from(in_root), threads }
}
