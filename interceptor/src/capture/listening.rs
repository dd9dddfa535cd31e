//! Which inbound ports are intercepted only while their application listens.
//!
//! The agent's listener accepts before it knows whether the application does: a probe that only connects would find a
//! port open that is not. So the hooks count the sockets that begin and cease to listen, and sk_lookup lets a connection
//! to a port without one pass, which the kernel refuses. A socket that listened before the hooks were there is counted by
//! nobody: its port is intercepted always, until the kernel's list shows none. The list is asked for when a port is new,
//! and when an application has refused what the agent brought. Owned by [`Addresses`](super::addresses::Addresses).

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;

use interceptor_common::Endpoint;
use interceptor_common::policy::{Bound, Inbound};

use crate::bpf::{BpfError, CaptureMaps};
use crate::captured::Captured;
use crate::sock_diag::{DiagError, Family, SockDiag};

/// The ports that are intercepted always.
#[derive(Debug, Default)]
pub(super) struct Always {
    ports: HashMap<SocketAddr, Port>,
}

/// A port that is intercepted always.
#[derive(Debug, Clone, Copy)]
struct Port {
    /// Whether the kernel's list was asked since it is.
    asked: bool,
    /// Whether connections of captured workloads are intercepted, too.
    from_peers: bool,
}

impl Always {
    /// Intercepts a port, for the time being always.
    pub(super) fn begin(&mut self, maps: &mut CaptureMaps, port: SocketAddr, from_peers: bool) -> Result<(), BpfError> {
        maps.inbound.insert(Endpoint::from(port), Inbound { always: true, from_peers }.to_word())?;
        self.ports.insert(port, Port { asked: false, from_peers });
        Ok(())
    }

    /// The port is not intercepted any more.
    pub(super) fn end(&mut self, port: &SocketAddr) {
        self.ports.remove(port);
    }

    /// Leaves those ports on which nobody listens to what the hooks see from now on. They see what becomes of workloads at
    /// the addresses `seen`, which they must have known before this.
    pub(super) fn settle<'w>(
        &mut self,
        maps: &mut CaptureMaps,
        seen: &HashSet<IpAddr>,
        workloads: impl Iterator<Item = &'w Captured>,
    ) {
        let new = self.ports.values().any(|port| !port.asked);
        for workload in workloads {
            // What is refused from now on is seen at the next sweep.
            let refused = workload.refused.swap(false, Ordering::Relaxed);
            if !new && !refused {
                continue;
            }
            let is_due = |(port, kept): &(&SocketAddr, &Port)| {
                (refused || !kept.asked) && seen.contains(&port.ip()) && workload.is_known_to_hooks_at(port.ip())
            };
            let due: Vec<SocketAddr> = self.ports.iter().filter(is_due).map(|(port, _)| *port).collect();
            if due.is_empty() {
                continue;
            }
            match listening(workload) {
                Ok(sockets) => due.into_iter().for_each(|port| self.settle_one(maps, &sockets, port)),
                Err(error) => {
                    let error = error.to_string();
                    tracing::debug!(workload = %workload.name, error, "its ports are intercepted whether it listens or not");
                    due.iter().for_each(|port| self.was_asked(port));
                }
            }
        }
    }

    fn was_asked(&mut self, port: &SocketAddr) {
        if let Some(kept) = self.ports.get_mut(port) {
            kept.asked = true;
        }
    }

    fn settle_one(&mut self, maps: &mut CaptureMaps, sockets: &[(Bound, u16)], port: SocketAddr) {
        let takes = |(bound, at): &(Bound, u16)| *at == port.port() && bound.takes(&port.ip().into());
        if sockets.iter().any(takes) {
            return self.was_asked(&port);
        }
        let from_peers = self.ports.get(&port).is_some_and(|kept| kept.from_peers);
        match maps.inbound.insert(Endpoint::from(port), Inbound { always: false, from_peers }.to_word()) {
            Ok(()) => _ = self.ports.remove(&port),
            // Asked again at the next sweep.
            Err(error) => tracing::debug!(%port, %error, "leaving a port to what the hooks see"),
        }
    }
}

/// The sockets that listen in a workload's namespace, and their ports.
fn listening(workload: &Captured) -> Result<Vec<(Bound, u16)>, DiagError> {
    let diag = workload.netns.enter(SockDiag::open).map_err(DiagError::Open)??;
    let mut found = Vec::new();
    for family in Family::ALL {
        diag.listening(family, |local, v6_only| {
            found.push((Bound { to: local.ip().into(), v6_only }, local.port()));
        })?;
    }
    Ok(found)
}
