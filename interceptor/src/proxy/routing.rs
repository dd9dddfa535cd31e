//! From what a request's fields say to where it goes, and to what is remembered of it: the same for every HTTP version.
//!
//! Called once per request, by `http1` and `http2`, as soon as its head is there. `route` decides; here the space of a
//! request that names none is looked for in the workload's memory, and the request is made known to the memories of those
//! that will get it. What is returned goes with the request until it is answered.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime};

use super::record::ABANDONED;
use super::threads::Traced;
use super::{Connection, Context};
use crate::captured::Captured;
use crate::flow::{Note, Notes, Protocol, ProtocolFrom, RequestRecord, RouteHeader, Verdict};
use crate::headers::{Found, TraceIds};
use crate::propagate::{Entered, Recalled};
use crate::route::{self, Chain, Decision, Direction, Query, ServiceRef, SpaceFrom, Target};
use crate::snapshot::Snapshot;

/// Bytes of a path, host or header value that a record keeps.
pub(super) const MAX_TEXT: usize = 256;

/// The connection that a request came on, as far as its way depends on it.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) context: &'a Context,
    pub(super) workload: &'a Captured,
    pub(super) direction: Direction,
    pub(super) original: SocketAddr,
    pub(super) client: SocketAddr,
}

impl<'a> From<&'a Connection> for At<'a> {
    fn from(connection: &'a Connection) -> Self {
        let Connection { context, workload, direction, original, client, .. } = connection;
        At { context, workload, direction: *direction, original: *original, client: *client }
    }
}

impl At<'_> {
    /// A record that says nothing yet of a request of the connection with that number. Costs no memory.
    pub(super) fn unread(
        self,
        protocol: Protocol,
        protocol_from: ProtocolFrom,
        connection: u64,
        service: Option<ServiceRef>,
    ) -> RequestRecord {
        RequestRecord {
            id: 0,
            connection,
            time: SystemTime::now(),
            workload: self.workload.name.clone(),
            direction: self.direction,
            client: self.client,
            original_destination: self.original,
            service,
            protocol,
            protocol_from,
            method: Box::default(),
            path: Box::default(),
            host: None,
            route_header: None,
            injected: false,
            space: None,
            space_from: SpaceFrom::None,
            chain: Chain::default(),
            route_reason: None,
            target: None,
            status: None,
            grpc_status: None,
            bytes_in: 0,
            bytes_out: 0,
            connect: None,
            first_byte: None,
            duration: Duration::ZERO,
            verdict: Verdict::Error,
            reason: ABANDONED,
            side: None,
            error: None,
            notes: Notes::default(),
        }
    }
}

/// What was decided of a request.
pub(super) struct Routed<'s> {
    /// Where it goes and why.
    pub(super) decision: Decision<'s>,
    /// Whether what carries a space has to be taken off it (`routing.strip_from_outside`).
    pub(super) strip: bool,
    /// What else is worth knowing.
    pub(super) notes: Notes,
    /// To be kept until the request is answered: it is in flight for that long.
    pub(super) entered: Entered,
}

/// Decides where a request goes that came there. `found` is what its fields say, `host` its Host or authority, `traced`
/// what its thread does.
pub(super) fn route<'s>(
    connection: At<'_>,
    snapshot: &'s Snapshot,
    found: &Found<&[u8]>,
    host: Option<&[u8]>,
    traced: &Traced,
) -> Routed<'s> {
    let mut notes = Notes::default();
    let strip = found.route.is_some() && must_strip(connection, snapshot);
    let carried = found.route.filter(|_| !strip).map(|(place, value)| snapshot.reader().decoded(place, value));
    notes.add_if(strip, Note::HeaderStripped);
    notes.add_if(found.differ && !strip, Note::DifferingHeaders);

    let recalled = match (connection.direction, &carried) {
        (Direction::Outbound, None) => match connection.workload.memory.recall(&found.ids) {
            Recalled::Unknown => traced.recalled(),
            by_id => by_id,
        },
        _ => Recalled::Unknown,
    };
    let decision = route::decide(
        snapshot,
        &Query {
            direction: connection.direction,
            workload: &connection.workload.name,
            destination: connection.original,
            header: carried.as_deref(),
            host,
            recalled: recalled.space(),
            turn: connection.context.next_turn(),
        },
    );
    if let Recalled::Ambiguous(how) = recalled
        && matches!(decision.space_from, SpaceFrom::Caller | SpaceFrom::None)
    {
        notes.add(match how {
            SpaceFrom::Flight => Note::AmbiguousFlight,
            SpaceFrom::Thread => Note::AmbiguousThread,
            _ => Note::AmbiguousTrace,
        });
    }
    let entered = enter(connection, snapshot, &decision, found.ids);
    notes.add_if(entered.found_no_room(), Note::NotRemembered);
    Routed { decision, strip, notes, entered }
}

impl Routed<'_> {
    /// Writes what was decided into the request's record.
    pub(super) fn note(&self, record: &mut RequestRecord, snapshot: &Snapshot, found: &Found<&[u8]>) {
        let decision = &self.decision;
        record.service = decision.service.cloned();
        record.route_header = found.route.and_then(|(place, value)| {
            let name = snapshot.route_header(place)?.clone();
            Some(RouteHeader { name, value: text(&snapshot.reader().decoded(place, value), MAX_TEXT) })
        });
        record.injected = decision.inject;
        record.space = decision.space_name().cloned();
        record.space_from = decision.space_from;
        record.chain = decision.chain();
        record.route_reason = Some(decision.reason);
        record.reason = decision.reason.as_str();
        record.notes = self.notes;
        if matches!(decision.target, Target::Endpoint { .. }) {
            record.verdict = Verdict::Redirected;
        }
    }
}

/// Whether the caller is outside: neither a captured workload nor an endpoint of a service in a space tree.
fn must_strip(connection: At<'_>, snapshot: &Snapshot) -> bool {
    let inside =
        |ip: IpAddr| connection.context.neighbours.contains(ip) || snapshot.destinations_at(ip).next().is_some();
    snapshot.routing.strip_from_outside
        && connection.direction == Direction::Inbound
        && !inside(connection.client.ip().to_canonical())
}

/// Makes a request known to the memories of those that will get it.
fn enter(connection: At<'_>, snapshot: &Snapshot, decision: &Decision<'_>, ids: TraceIds) -> Entered {
    let (settings, space) = (&snapshot.routing.propagate, decision.space_name());
    let neighbours = &connection.context.neighbours;
    match (connection.direction, &decision.target) {
        (Direction::Inbound, Target::Original) => connection.workload.memory.enter(space, ids, settings),
        // Who carries no id can be found again only by a workload that sees all its requests itself.
        _ if ids.is_empty() => Entered::default(),
        (_, Target::Endpoint { address, .. }) => {
            let mut entered = Entered::default();
            if let Some(memory) = neighbours.at(address.ip()) {
                entered.expect(&memory, space, ids, settings);
            }
            entered
        }
        (Direction::Outbound, Target::Original) => {
            let mut entered = Entered::default();
            for memory in neighbours.behind(snapshot, connection.original) {
                entered.expect(&memory, space, ids, settings);
            }
            entered
        }
    }
}

/// An inbound connection on which requests cannot be told apart: as long as it is open, one of no space may be under way.
pub(super) fn enter_unseen(workload: &Captured, direction: Direction, snapshot: &Snapshot) -> Entered {
    match direction {
        Direction::Inbound => workload.memory.enter(None, TraceIds::default(), &snapshot.routing.propagate),
        Direction::Outbound => Entered::default(),
    }
}

/// Bytes of the network as text, bounded.
pub(super) fn text(bytes: &[u8], limit: usize) -> Box<str> {
    String::from_utf8_lossy(bytes.get(..limit).unwrap_or(bytes)).into()
}
