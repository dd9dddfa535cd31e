//! Which ports of which workloads are intercepted inbound: a pure function of the snapshot.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use crate::snapshot::Snapshot;

/// Endpoint addresses of services that are addresses of these workloads.
pub(super) fn ports(snapshot: &Snapshot, workload_addresses: &HashSet<IpAddr>) -> HashSet<SocketAddr> {
    snapshot
        .destinations()
        .filter(|(addr, destination)| destination.is_endpoint() && workload_addresses.contains(&addr.ip()))
        .map(|(addr, _)| addr)
        .collect()
}
