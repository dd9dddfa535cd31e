//! What all DNS of one worker shares.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::answer::{self, Limit, Verdict};
use super::name::Zone;
use crate::config;
use crate::metrics::{DnsOutcome, DnsTransport, Metrics};
use crate::snapshot::Snapshot;

/// The largest datagram.
const DATAGRAM: usize = 65_535;

/// What all DNS of one worker shares. Lives on the worker's thread.
pub struct Context {
    snapshot: Arc<ArcSwap<Snapshot>>,
    pub(super) metrics: Arc<Metrics>,
    zone: Zone,
    /// Queries and connections under way for one workload and server.
    pub(super) max_in_flight: usize,
    /// Spreads clients over the endpoints of headless services.
    turn: Cell<usize>,
    /// For datagrams; never borrowed across an await.
    pub(super) datagram: RefCell<Box<[u8]>>,
}

impl Context {
    /// A context over the snapshot in force.
    pub fn new(snapshot: Arc<ArcSwap<Snapshot>>, metrics: Arc<Metrics>, settings: &config::Dns) -> Self {
        Self {
            snapshot,
            metrics,
            zone: Zone::new(&settings.cluster_domain),
            max_in_flight: settings.max_in_flight,
            turn: Cell::new(0),
            datagram: RefCell::new(vec![0; DATAGRAM].into_boxed_slice()),
        }
    }

    /// What becomes of a workload's query.
    pub(super) fn judge(&self, workload: &str, query: &[u8], limit: Limit) -> Verdict {
        let snapshot = self.snapshot.load();
        // A workload that has left its space a moment ago still asks through us; its server knows.
        let Some(space) = snapshot.workload(workload).and_then(|workload| workload.space) else {
            return Verdict::Forward;
        };
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        answer::judge(&answer::Asker { snapshot: &snapshot, space, zone: &self.zone, turn }, query, limit)
    }

    pub(super) fn count(&self, transport: DnsTransport, outcome: DnsOutcome) {
        self.metrics.dns_query(transport, outcome);
    }
}
