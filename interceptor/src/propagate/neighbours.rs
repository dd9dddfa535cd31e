//! The memories of all captured workloads by address: a request that this agent sends to one of them is expected there.
//!
//! Calls between captured pods of a node pass the callee's listener (rule R7), so that nobody else would tell its memory.
//! Written by `capture` as workloads come and go, read by workers.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;

use super::Memory;
use crate::snapshot::{DestinationKind, Snapshot};

type ByAddress = HashMap<IpAddr, Arc<Memory>, RandomState>;

/// Captured workloads by address.
#[derive(Debug, Default)]
pub struct Neighbours(ArcSwap<ByAddress>);

impl Neighbours {
    /// These are all that there are now.
    pub fn set(&self, all: impl Iterator<Item = (IpAddr, Arc<Memory>)>) {
        self.0.store(Arc::new(all.collect()));
    }

    /// The workload at an address.
    pub fn at(&self, ip: IpAddr) -> Option<Arc<Memory>> {
        self.0.load().get(&ip).map(Arc::clone)
    }

    /// Whether a captured workload has that address.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.load().contains_key(&ip)
    }

    /// The workloads that may get a request to that destination: the one at the address, or those behind the service.
    /// Which of these it will be is for the cluster to choose.
    pub fn behind(&self, snapshot: &Snapshot, destination: SocketAddr) -> Vec<Arc<Memory>> {
        let all = self.0.load();
        if let Some(memory) = all.get(&destination.ip()) {
            return vec![Arc::clone(memory)];
        }
        let Some(behind) = snapshot.destination(destination).and_then(|destination| destination.first()) else {
            return Vec::new();
        };
        if behind.kind == DestinationKind::Endpoint {
            return Vec::new();
        }
        let mut found: Vec<Arc<Memory>> = Vec::new();
        if behind.service.endpoints <= all.len() {
            found.extend(behind.port.ready().filter_map(|address| all.get(&address.ip())).map(Arc::clone));
        } else {
            // A large service: the node's own pods are fewer.
            let is_behind = |ip: &IpAddr| {
                let mut of_pod = snapshot.destinations_at(*ip).flat_map(|(_, pod)| pod.services());
                of_pod.any(|of_pod| Arc::ptr_eq(of_pod.service, behind.service))
            };
            found.extend(all.iter().filter(|(ip, _)| is_behind(ip)).map(|(_, memory)| Arc::clone(memory)));
        }
        // A pod of both families is there twice.
        found.sort_unstable_by_key(Arc::as_ptr);
        found.dedup_by(|a, b| Arc::ptr_eq(a, b));
        found
    }
}
