//! Which ports of which workloads are intercepted inbound: a pure function of the snapshot.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};

use crate::snapshot::Snapshot;
use crate::wanted::Wanted;

/// Endpoint addresses of services that are addresses of these workloads, as far as they are wanted.
pub(super) fn ports(
    snapshot: &Snapshot,
    wanted: &Wanted<'_>,
    workload_addresses: &HashSet<IpAddr>,
) -> HashSet<SocketAddr> {
    snapshot
        .destinations()
        .filter(|(addr, destination)| workload_addresses.contains(&addr.ip()) && wanted.inbound(destination))
        .map(|(addr, _)| *addr)
        .collect()
}
