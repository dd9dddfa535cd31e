//! A connection's record while it is open. Published exactly once, when the guard is dropped: also on a panic, a
//! cancelled task or a refusal.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use interceptor_common::{FactsKey, NetPort};
use tokio::time::Instant;

use super::connect::Upstream;
use super::context::Context;
use super::error::{ConnectError, io_reason};
use super::respond::Answer;
use super::threads;
use crate::captured::Captured;
use crate::flow::{ConnectionRecord, ErrorSide, KernelFacts, Protocol, ProtocolFrom, Record, TargetRecord, Verdict};
use crate::room::Place;
use crate::route::{Direction, ServiceRef};

/// What the reason says of a connection whose task vanished before it could.
pub(super) const ABANDONED: &str = "agent_abandoned";

/// An open connection's record.
pub(super) struct RecordGuard {
    context: Rc<Context>,
    workload: Arc<Captured>,
    begin: Instant,
    /// The upstream address that the application sees, for an inbound connection.
    agent_source: Option<SocketAddr>,
    /// Its place, unless it is refused for want of one.
    place: Option<Place>,
    record: ConnectionRecord,
}

impl RecordGuard {
    /// Opens a record of a connection that has a place, or is told that it gets none.
    pub(super) fn begin(
        context: &Rc<Context>,
        workload: &Arc<Captured>,
        direction: Direction,
        client: SocketAddr,
        original: SocketAddr,
        place: Option<Place>,
    ) -> Self {
        context.metrics.connection_opened(direction);
        let snapshot = context.snapshot.load();
        let behind = snapshot.destination(original).and_then(|destination| destination.first());
        let service = behind.map(|behind| behind.service.id.clone());
        Self {
            context: Rc::clone(context),
            workload: Arc::clone(workload),
            begin: Instant::now(),
            agent_source: None,
            place,
            record: ConnectionRecord {
                id: context.hub.next_connection_id(),
                time: SystemTime::now(),
                workload: Arc::clone(&workload.name),
                direction,
                client,
                original_destination: original,
                service,
                protocol: Protocol::Unknown,
                protocol_from: ProtocolFrom::Nothing,
                target: None,
                requests: 0,
                bytes_in: 0,
                bytes_out: 0,
                connect: None,
                duration: Duration::ZERO,
                verdict: Verdict::Error,
                reason: ABANDONED,
                error: None,
                kernel: None,
            },
        }
    }

    /// The connection's number.
    pub(super) fn id(&self) -> u64 {
        self.record.id
    }

    /// The service behind the original destination.
    pub(super) fn service(&self) -> Option<ServiceRef> {
        self.record.service.clone()
    }

    /// How the protocol was known.
    pub(super) fn protocol_from(&self) -> ProtocolFrom {
        self.record.protocol_from
    }

    /// Notes what is spoken.
    pub(super) fn protocol(&mut self, protocol: Protocol, from: ProtocolFrom) {
        self.record.protocol = protocol;
        self.record.protocol_from = from;
    }

    /// Notes where opaque bytes go.
    pub(super) fn target(&mut self, target: TargetRecord, upstream: &Upstream) {
        self.record.connect = Some(upstream.took);
        self.agent_source = Some(upstream.source);
        self.record.target = Some(target);
    }

    /// Counts a request.
    pub(super) fn add_request(&mut self, received: u64, sent: u64) {
        self.record.requests += 1;
        self.add_bytes(received, sent);
    }

    /// Counts the requests of a connection whose bytes are those of the wire.
    pub(super) fn served(&mut self, requests: u64, received: u64, sent: u64) {
        self.record.requests += requests;
        self.add_bytes(received, sent);
    }

    /// Counts bytes.
    pub(super) fn add_bytes(&mut self, received: u64, sent: u64) {
        self.record.bytes_in += received;
        self.record.bytes_out += sent;
    }

    /// Notes an orderly end.
    pub(super) fn ended(&mut self, reason: &'static str) {
        self.record.verdict = Verdict::Forwarded;
        self.record.reason = reason;
    }

    /// Notes a failure.
    pub(super) fn failed(&mut self, reason: &'static str, error: &str) {
        self.record.verdict = Verdict::Error;
        self.record.reason = reason;
        self.record.error = Some(error.into());
    }

    /// Notes that the client's connection broke.
    pub(super) fn failed_client(&mut self, error: &io::Error) {
        self.failed(io_reason(ErrorSide::Downstream, error), &format!("reading from the client: {error}"));
    }

    /// Notes that the original destination cannot be reached.
    pub(super) fn unreachable(&mut self, error: &ConnectError) {
        self.failed(error.reason(), &error.to_string());
    }

    /// Notes an answer of our own.
    pub(super) fn refused(&mut self, answer: &Answer) {
        self.failed(answer.reason, &answer.error);
        if answer.side == ErrorSide::Downstream {
            self.record.verdict = Verdict::Refused;
        }
    }

    /// Notes that there is no place for it, and for how many before it that have no record.
    pub(super) fn no_place(&mut self, answer: &Answer, unrecorded: u64) {
        match unrecorded {
            0 => self.failed(answer.reason, &answer.error),
            _ => {
                let text = format!("{}; {unrecorded} more were refused since the last record", answer.error);
                self.failed(answer.reason, &text);
            }
        }
        self.record.verdict = Verdict::Refused;
    }

    /// Notes that the client was cut off for what it did.
    pub(super) fn refused_excess(&mut self, reason: &'static str, error: &str) {
        self.failed(reason, error);
        self.record.verdict = Verdict::Refused;
    }

    /// How the hooks name the application's socket.
    fn facts_key(&self) -> Option<FactsKey> {
        let record = &self.record;
        match record.direction {
            Direction::Outbound => {
                threads::outbound_key(&self.context, &self.workload, record.original_destination, record.client)
            }
            Direction::Inbound => {
                let port = NetPort::from_host(record.original_destination.port());
                Some(FactsKey { netns: self.workload.cookie, agent: self.agent_source?.into(), port, pad: 0 })
            }
        }
    }

    /// What the kernel gathered of the application's socket.
    fn facts(&self) -> Option<KernelFacts> {
        let facts = self.context.kernel.borrow_mut().take_facts(&self.facts_key()?)?;
        let open_ns = facts.closed_ns.checked_sub(facts.established_ns);
        Some(KernelFacts {
            srtt_us: facts.srtt_us,
            retransmits: facts.retransmits,
            bytes_sent: facts.bytes_acked,
            bytes_received: facts.bytes_received,
            open_us: open_ns.map(|ns| ns / 1000),
        })
    }
}

impl Drop for RecordGuard {
    fn drop(&mut self) {
        self.record.duration = self.begin.elapsed();
        self.record.kernel = self.facts();
        if self.record.direction == Direction::Outbound {
            threads::forget(&self.context, &self.workload, self.facts_key());
        }
        self.context.metrics.connection_closed(self.record.direction);
        drop(self.place.take());
        self.context.publish(Record::Connection(self.record.clone()));
    }
}
