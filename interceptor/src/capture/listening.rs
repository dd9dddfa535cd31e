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
use interceptor_common::policy::{Bound, Callers, Inbound, When};

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
    /// Whose connections are.
    callers: Callers,
    /// Whether the kernel's list was asked since.
    asked: bool,
}

impl Always {
    /// Intercepts a port, for the time being always.
    pub(super) fn begin(&mut self, maps: &mut CaptureMaps, port: SocketAddr, callers: Callers) -> Result<(), BpfError> {
        maps.inbound.insert(Endpoint::from(port), Inbound { callers, when: When::Always }.to_word())?;
        self.ports.insert(port, Port { callers, asked: false });
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
            let is_due = |(at, port): &(&SocketAddr, &Port)| {
                (refused || !port.asked) && seen.contains(&at.ip()) && workload.is_known_to_hooks_at(at.ip())
            };
            let due: Vec<(SocketAddr, Port)> =
                self.ports.iter().filter(is_due).map(|(at, port)| (*at, *port)).collect();
            if due.is_empty() {
                continue;
            }
            match listening(workload) {
                Ok(sockets) => due.into_iter().for_each(|(at, port)| self.settle_one(maps, &sockets, at, port)),
                Err(error) => {
                    let error = error.to_string();
                    tracing::debug!(workload = %workload.name, error, "its ports are intercepted whether it listens or not");
                    self.ports.extend(due.into_iter().map(|(at, port)| (at, Port { asked: true, ..port })));
                }
            }
        }
    }

    fn settle_one(&mut self, maps: &mut CaptureMaps, sockets: &[(Bound, u16)], at: SocketAddr, port: Port) {
        let takes = |(bound, own): &(Bound, u16)| *own == at.port() && bound.takes(&at.ip().into());
        if sockets.iter().any(takes) {
            self.ports.insert(at, Port { asked: true, ..port });
            return;
        }
        let word = Inbound { callers: port.callers, when: When::Listening }.to_word();
        match maps.inbound.insert(Endpoint::from(at), word) {
            Ok(()) => _ = self.ports.remove(&at),
            // Asked again at the next sweep.
            Err(error) => tracing::debug!(port = %at, %error, "leaving a port to what the hooks see"),
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
