//! One request between its head and its record: what routing said of it, where it goes, what became of it.

use std::sync::Arc;

use tokio::time::Instant;

use super::edits;
use super::exchange::{Exchange, Failure};
use super::head::RequestHead;
use super::message::{Edits, MoveError};
use super::upstreams::Key;
use crate::flow::{ErrorSide, Protocol, Record, RequestRecord, TargetRecord, Verdict};
use crate::propagate::Entered;
use crate::proxy::Connection;
use crate::proxy::connect::{Upstream, connect};
use crate::proxy::endpoint::Endpoint;
use crate::proxy::error::{ConnectError, io_reason};
use crate::proxy::respond::Answer;
use crate::proxy::routing::{self, At, MAX_TEXT, text};
use crate::proxy::threads::Traced;
use crate::route::Target;

/// A request between its head and its record.
pub(super) struct RequestInFlight {
    /// Where it goes, if not to the original destination.
    endpoint: Option<Endpoint>,
    /// In flight as long as this is kept.
    entered: Entered,
    begin: Instant,
    record: RequestRecord,
}

impl RequestInFlight {
    /// Routes the request whose head is at the front of `bytes`, and says what is to be changed of that head. `traced` is
    /// what its thread says of it.
    pub(super) fn begin(connection: &Connection, bytes: &[u8], head: &RequestHead, traced: &Traced) -> (Self, Edits) {
        let part = |range: &std::ops::Range<usize>| bytes.get(range.clone()).unwrap_or_default();
        let snapshot = connection.context.snapshot.load();
        let found = head.found.clone().map(|range| part(&range));
        let mut routed = routing::route(connection.into(), &snapshot, &found, head.host.as_ref().map(part), traced);
        let space = routed.decision.space_name().filter(|_| routed.decision.inject);
        let edits = if routed.strip {
            edits::strip(snapshot.reader(), head, bytes, &found, space.map(|name| &**name), &mut routed.notes)
        } else if let Some(space) = space {
            edits::inject(snapshot.reader(), head, bytes, &found, space, &mut routed.notes)
        } else {
            Edits::default()
        };
        let mut record = empty(connection);
        record.method = text(part(&head.method), MAX_TEXT);
        record.path = text(path(part(&head.target)), MAX_TEXT);
        record.host = head.host.as_ref().map(|range| text(part(range), MAX_TEXT));
        routed.note(&mut record, &snapshot, &found);
        let endpoint = match routed.decision.target {
            Target::Original => None,
            Target::Endpoint { address, service } => Some(Endpoint::new(address, service, found.ids)),
        };
        (Self { endpoint, entered: routed.entered, begin: Instant::now(), record }, edits)
    }

    /// Its number.
    pub(super) fn id(&self) -> u64 {
        self.record.id
    }

    /// The space that was decided for it.
    pub(super) fn space(&self) -> Option<&Arc<str>> {
        self.record.space.as_ref()
    }

    /// Where its upstream connection leads.
    pub(super) fn key(&self) -> Key {
        self.endpoint.as_ref().map_or(Key::Original, |endpoint| Key::Endpoint(endpoint.address()))
    }

    /// Connects to where the request goes; to another endpoint where the one that was chosen cannot be reached.
    pub(super) async fn connect(&mut self, connection: &Connection) -> Result<Upstream, ConnectError> {
        loop {
            let connected = match &self.endpoint {
                None => connection.connect_original().await,
                Some(endpoint) => connect(&connection.context, &connection.workload, endpoint.address()).await,
            };
            self.record.connect = connected.as_ref().ok().map(|upstream| upstream.took);
            match connected {
                Err(error) if error.side() == ErrorSide::Upstream && self.move_on(connection) => {}
                connected => return connected,
            }
        }
    }

    fn move_on(&mut self, connection: &Connection) -> bool {
        let Self { endpoint, entered, record, .. } = self;
        endpoint.as_mut().is_some_and(|endpoint| endpoint.move_on(connection.into(), entered, record))
    }

    /// Notes when the response's head came.
    pub(super) fn note_status(&mut self, exchange: &Exchange) {
        if self.record.status.is_none()
            && let Some(status) = exchange.status()
        {
            self.record.status = Some(status);
            self.record.first_byte = Some(self.begin.elapsed());
        }
    }

    /// What keeps it in flight, for a request that goes on after its answer: the protocol has changed.
    pub(super) fn take_entered(&mut self) -> Entered {
        std::mem::take(&mut self.entered)
    }

    /// Publishes the record of a request that was answered.
    pub(super) fn finish(self, connection: &mut Connection, exchange: &Exchange) {
        self.publish(connection, exchange.received(), exchange.sent());
    }

    /// Publishes the record of a request that failed after the client had got a part of the response, or had gone.
    pub(super) fn fail(mut self, connection: &mut Connection, exchange: &Exchange, failure: &Failure) {
        let (side, reason) = match failure {
            Failure::Client(MoveError::Read(error) | MoveError::Write(error)) => {
                (ErrorSide::Downstream, io_reason(ErrorSide::Downstream, error))
            }
            Failure::Client(MoveError::Truncated) => (ErrorSide::Downstream, "client_truncated"),
            Failure::Client(MoveError::Chunk(_)) => (ErrorSide::Downstream, "bad_request"),
            Failure::Response(MoveError::Truncated) => (ErrorSide::Upstream, "upstream_truncated"),
            Failure::Response(MoveError::Chunk(_)) => (ErrorSide::Upstream, "bad_response"),
            Failure::Response(MoveError::Read(error) | MoveError::Write(error)) => {
                (ErrorSide::Upstream, io_reason(ErrorSide::Upstream, error))
            }
            Failure::Slow => (ErrorSide::Upstream, "first_byte_timeout"),
            Failure::Crowded => (ErrorSide::Agent, "agent_memory"),
            Failure::Ending => (ErrorSide::Agent, "drain_timeout"),
            Failure::NoResponse(_) => (ErrorSide::Upstream, "upstream_closed"),
            Failure::BadResponse(_) | Failure::LargeResponse => (ErrorSide::Upstream, "bad_response"),
        };
        self.record.verdict = Verdict::Error;
        self.record.reason = reason;
        self.record.side = Some(side);
        self.record.error = Some(failure.to_string().into());
        connection.record.failed(reason, &failure.to_string());
        self.publish(connection, exchange.received(), exchange.sent());
    }

    /// Notes how much of a request was taken that the agent is going to answer itself.
    pub(super) fn note_received(&mut self, exchange: &Exchange) {
        self.record.bytes_in = exchange.received();
    }

    /// Publishes the record of a request that the agent answered itself.
    pub(super) fn refuse(mut self, connection: &mut Connection, answer: &Answer, sent: u64) {
        note_answer(&mut self.record, answer);
        let received = self.record.bytes_in;
        self.publish(connection, received, sent);
    }

    /// Publishes the record of a request whose head could not be read.
    pub(super) fn unread(connection: &mut Connection, answer: &Answer, sent: u64) {
        let mut request =
            Self { endpoint: None, entered: Entered::default(), begin: Instant::now(), record: empty(connection) };
        note_answer(&mut request.record, answer);
        request.publish(connection, 0, sent);
    }

    /// The one place where a request is counted: every record of one, and nothing else.
    fn publish(mut self, connection: &mut Connection, received: u64, sent: u64) {
        connection.record.add_request(received, sent);
        self.record.target = Some(self.target(connection));
        self.record.bytes_in = received;
        self.record.bytes_out = sent;
        self.record.duration = self.begin.elapsed();
        let record = Record::Request(self.record);
        connection.context.publish(record);
    }

    /// Where it goes, for records.
    pub(super) fn target(&self, connection: &Connection) -> TargetRecord {
        match &self.endpoint {
            None => TargetRecord { service: self.record.service.clone(), ..connection.original_target() },
            Some(endpoint) => endpoint.target(),
        }
    }
}

fn note_answer(record: &mut RequestRecord, answer: &Answer) {
    record.status = Some(answer.status);
    record.verdict = if answer.side == ErrorSide::Downstream { Verdict::Refused } else { Verdict::Error };
    record.reason = answer.reason;
    record.side = Some(answer.side);
    record.error = Some(answer.error.as_str().into());
}

fn empty(connection: &Connection) -> RequestRecord {
    let Connection { record, context, .. } = connection;
    RequestRecord {
        id: context.hub.next_request_id(),
        reason: "unread",
        verdict: Verdict::Forwarded,
        ..At::from(connection).unread(Protocol::Http1, record.protocol_from(), record.id(), record.service())
    }
}

/// What stands before the query.
fn path(target: &[u8]) -> &[u8] {
    target.split(|byte| *byte == b'?').next().unwrap_or_default()
}
