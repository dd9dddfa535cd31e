//! The endpoint that a request goes to, and which one it goes to instead where that cannot be reached.
//!
//! Asked by `http1` and `http2` when connecting has failed: not a byte of the request was sent then, so that it may go to
//! another ready endpoint of the same copy, whatever its method. Never to another copy: that would be another space's answer.

use std::net::SocketAddr;

use smallvec::SmallVec;

use super::routing::At;
use crate::flow::{Note, RequestRecord, TargetKind, TargetRecord};
use crate::headers::TraceIds;
use crate::propagate::Entered;
use crate::route::ServiceRef;
use crate::snapshot::Snapshot;

/// Endpoints that one request tries: a client waits for each as long as `connect_timeout`.
const MOST: usize = 3;

/// An endpoint that was chosen for a request.
pub(super) struct Endpoint {
    address: SocketAddr,
    service: ServiceRef,
    /// What the request is known by where it goes.
    ids: TraceIds,
    /// Those that could not be reached.
    failed: SmallVec<[SocketAddr; 2]>,
}

impl Endpoint {
    pub(super) fn new(address: SocketAddr, service: &ServiceRef, ids: TraceIds) -> Self {
        Self { address, service: service.clone(), ids, failed: SmallVec::new() }
    }

    /// Where it is.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// For records.
    pub(super) fn target(&self) -> TargetRecord {
        TargetRecord { kind: TargetKind::Endpoint, address: self.address, service: Some(self.service.clone()) }
    }

    /// Turns to another endpoint, which then expects the request; false where there is none to turn to.
    pub(super) fn move_on(&mut self, at: At<'_>, entered: &mut Entered, record: &mut RequestRecord) -> bool {
        let snapshot = at.context.snapshot.load();
        // Not the next turn of all requests: of two endpoints it would be the failed one's again.
        let turn = usize::try_from(record.id).unwrap_or_default();
        let Some(next) = self.next(&snapshot, turn) else { return false };
        self.failed.push(self.address);
        self.address = next;
        if let Some(memory) = at.context.neighbours.at(next.ip()) {
            entered.expect(&memory, record.space.as_ref(), self.ids, &snapshot.routing.propagate);
        }
        record.notes.add(Note::AnotherEndpoint);
        true
    }

    /// Another ready endpoint of the copy as it is now; of the same family if there is one, as the first was.
    fn next(&self, snapshot: &Snapshot, turn: usize) -> Option<SocketAddr> {
        if self.failed.len() + 1 >= MOST {
            return None;
        }
        let service = snapshot.service_named(snapshot.space_named(&self.service.space)?, &self.service.name)?;
        // The same number may stand for several ports, the first that has this endpoint is the one that was meant.
        let port = service.ports.iter().find(|port| port.has_endpoint(self.address))?;
        let untried = || port.ready().filter(|at| *at != self.address && !self.failed.contains(at));
        let alike = || untried().filter(|at| at.is_ipv4() == self.address.is_ipv4());
        let one = |count: usize| turn.checked_rem(count);
        match one(alike().count()) {
            Some(index) => alike().nth(index),
            None => untried().nth(one(untried().count())?),
        }
    }
}
