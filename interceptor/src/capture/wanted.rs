//! What the kernel is to do with connections to an address: a pure function of the snapshot.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use crate::snapshot::Snapshot;

/// What the kernel is to do with connections to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Those that workloads make are redirected.
    pub(super) outbound: bool,
    /// Those that come to a workload are intercepted.
    pub(super) inbound: bool,
}

/// `local` are the addresses of the workloads that are attached.
pub(super) fn wanted(snapshot: &Snapshot, addr: SocketAddr, local: &HashSet<IpAddr>) -> Wanted {
    let destination = snapshot.destination(addr);
    let inbound = destination.is_some_and(|destination| destination.is_endpoint()) && local.contains(&addr.ip());
    Wanted { outbound: destination.is_some(), inbound }
}
