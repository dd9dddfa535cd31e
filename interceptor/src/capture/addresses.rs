//! Brings the kernel's maps of captured addresses to what a snapshot says, one address at a time.
//!
//! Owned by [`Controller`](super::Controller), which says which addresses to look at. Nothing here walks over all of them:
//! what an update or a sweep costs depends on what it changes. What fails is remembered and tried again at the next sweep.

use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use interceptor_common::Endpoint;

use super::wanted::wanted;
use crate::bpf::{BpfError, CaptureMaps};
use crate::captured::Destinations;
use crate::snapshot::Snapshot;

/// The kernel's maps of addresses, as they are and as far as they are not yet what they should be.
pub(super) struct Addresses {
    destinations: Arc<Destinations>,
    /// Ports that are intercepted inbound.
    inbound: HashSet<SocketAddr>,
    /// Addresses of the workloads that are attached.
    local: HashSet<IpAddr>,
    /// What the kernel refused, to be tried again.
    failed: BTreeSet<SocketAddr>,
    /// What found no index. Not tried again before there is one, as it can be very many.
    no_room: BTreeSet<SocketAddr>,
}

impl Addresses {
    pub(super) fn new(destinations: Arc<Destinations>) -> Self {
        let (failed, no_room) = (BTreeSet::new(), BTreeSet::new());
        Self { destinations, inbound: HashSet::new(), local: HashSet::new(), failed, no_room }
    }

    /// The addresses of the workloads that are attached.
    pub(super) fn local(&self) -> &HashSet<IpAddr> {
        &self.local
    }

    /// Brings the kernel to what the snapshot says of these addresses.
    pub(super) fn look_at(
        &mut self,
        maps: &mut CaptureMaps,
        snapshot: &Snapshot,
        addresses: impl IntoIterator<Item = SocketAddr>,
    ) {
        let before = self.no_room.len();
        for addr in addresses {
            self.look_at_one(maps, snapshot, addr);
        }
        // Only now: something may have been released by what came last.
        while self.destinations.has_room()
            && let Some(addr) = self.no_room.pop_first()
        {
            self.look_at_one(maps, snapshot, addr);
        }
        if self.no_room.len() > before {
            let destinations = self.no_room.len();
            tracing::warn!(destinations, "the capture map is full: these destinations pass uncaptured");
        }
    }

    /// Workloads were attached or detached: these are their addresses now.
    pub(super) fn set_local(&mut self, maps: &mut CaptureMaps, snapshot: &Snapshot, local: HashSet<IpAddr>) {
        let before = std::mem::replace(&mut self.local, local);
        let came = self.local.difference(&before);
        let mut changed: Vec<SocketAddr> =
            came.flat_map(|ip| snapshot.destinations_at(*ip)).map(|(at, _)| at).collect();
        changed.extend(self.inbound.iter().filter(|at| !self.local.contains(&at.ip())));
        self.look_at(maps, snapshot, changed);
    }

    /// Tries again what failed.
    pub(super) fn retry(&mut self, maps: &mut CaptureMaps, snapshot: &Snapshot) {
        let failed: Vec<SocketAddr> = self.failed.iter().copied().collect();
        self.look_at(maps, snapshot, failed);
    }

    fn look_at_one(&mut self, maps: &mut CaptureMaps, snapshot: &Snapshot, addr: SocketAddr) {
        self.no_room.remove(&addr);
        let again = self.failed.remove(&addr);
        let wanted = wanted(snapshot, addr, &self.local);
        let outbound = match (wanted.outbound, self.destinations.holds(addr)) {
            (true, held) if !held || again => self.capture(maps, addr),
            (false, true) => self.release(maps, addr),
            _ => Ok(()),
        };
        let inbound = match (wanted.inbound, self.inbound.contains(&addr)) {
            (true, false) => self.intercept(maps, addr),
            (false, true) => self.leave(maps, addr),
            _ => Ok(()),
        };
        for error in [outbound, inbound].into_iter().filter_map(Result::err) {
            // Told once: sweeps try again every second.
            if self.failed.insert(addr) && !again {
                tracing::warn!(%addr, %error, "bringing the kernel to what is captured failed; it is tried again");
            }
        }
    }

    fn capture(&mut self, maps: &mut CaptureMaps, addr: SocketAddr) -> Result<(), BpfError> {
        let Some(assigned) = self.destinations.assign(addr) else {
            self.no_room.insert(addr);
            return Ok(());
        };
        let endpoint = Endpoint::from(addr);
        maps.originals.insert(assigned.index, endpoint)?;
        maps.captured.insert(endpoint, assigned.index)
    }

    fn intercept(&mut self, maps: &mut CaptureMaps, addr: SocketAddr) -> Result<(), BpfError> {
        maps.inbound.insert(Endpoint::from(addr), 1)?;
        self.inbound.insert(addr);
        Ok(())
    }

    fn leave(&mut self, maps: &mut CaptureMaps, addr: SocketAddr) -> Result<(), BpfError> {
        maps.inbound.remove(&addr.into())?;
        self.inbound.remove(&addr);
        Ok(())
    }

    /// The original stays readable by index: connections that were redirected still ask for it.
    fn release(&mut self, maps: &mut CaptureMaps, addr: SocketAddr) -> Result<(), BpfError> {
        maps.captured.remove(&addr.into())?;
        self.destinations.retire(addr);
        Ok(())
    }
}
