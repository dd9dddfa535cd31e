//! One stream's request between its head and its record: what routing said of it, what is changed in its head, what became
//! of it.
//!
//! The record is published when this is dropped: exactly once, whatever ends the stream.

use std::rc::Rc;
use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE, HOST, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName, HeaderValue, request};
use tokio::time::Instant;

use super::answer::{grpc_code, is_grpc};
use super::pump::head_len;
use super::upstreams::Key;
use super::{Site, edits};
use crate::flow::{ErrorSide, Protocol, Record, RequestRecord, TargetRecord, Verdict};
use crate::propagate::Entered;
use crate::proxy::endpoint::Endpoint;
use crate::proxy::respond::Answer;
use crate::proxy::routing::{self, MAX_TEXT};
use crate::proxy::threads::Traced;
use crate::route::Target;

/// Fields that belong to somebody. The library does not tell whether they came as never to be indexed (RFC 7541, section
/// 7.1.3), so they always leave as such.
const SECRETS: [HeaderName; 3] = [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION];

/// A request between its head and its record.
pub(super) struct InFlight {
    site: Rc<Site>,
    /// Where it goes, if not to the original destination.
    endpoint: Option<Endpoint>,
    /// In flight as long as this is kept.
    entered: Entered,
    begin: Instant,
    /// Whether it is gRPC's.
    pub(super) is_grpc: bool,
    record: RequestRecord,
}

impl InFlight {
    /// Routes a request and makes its head what is to be sent on.
    ///
    /// # Errors
    /// Where the head says two things at once.
    pub(super) fn begin(site: &Rc<Site>, head: &mut request::Parts) -> (Self, Result<(), Answer>) {
        let mut request = Self {
            site: Rc::clone(site),
            endpoint: None,
            entered: Entered::default(),
            begin: Instant::now(),
            is_grpc: is_grpc(&head.headers),
            record: empty(site, head),
        };
        request.record.bytes_in = head_len(&head.headers) + head.uri.path().len() as u64;
        let checked = check(head);
        if checked.is_ok() {
            request.route(head);
            never_index(&mut head.headers, &SECRETS);
            if head.uri.authority().is_none() {
                // The library takes a target without an authority for a request of HTTP/1 only, and sends it as it came.
                head.version = http::Version::HTTP_11;
            }
        }
        (request, checked)
    }

    /// Decides where it goes, and changes of its head what is to be changed.
    fn route(&mut self, head: &mut request::Parts) {
        let site = &self.site;
        let snapshot = site.context.snapshot.load();
        let reader = snapshot.reader();
        let fields = head.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        let found = reader.read(fields);
        let mut routed = routing::route(site.at(), &snapshot, &found, host(head), &Traced::Off);
        let space = routed.decision.space_name().filter(|_| routed.decision.inject);
        self.record.verdict = Verdict::Forwarded;
        let added = edits::additions(reader, &found, space, routed.strip, &mut routed.notes);
        routed.note(&mut self.record, &snapshot, &found);
        if let Target::Endpoint { address, service } = routed.decision.target {
            self.endpoint = Some(Endpoint::new(address, service, found.ids));
        }
        let strip = routed.strip;
        self.entered = routed.entered;
        if strip {
            edits::strip(reader, &mut head.headers);
        }
        edits::add(added, &mut head.headers);
    }

    /// Where its upstream connection leads.
    pub(super) fn key(&self) -> Key {
        self.endpoint.as_ref().map_or(Key::Original, |endpoint| Key::Endpoint(endpoint.address()))
    }

    /// Turns to another endpoint, as the one that was chosen cannot be reached; false where there is none.
    pub(super) fn move_on(&mut self) -> bool {
        let Self { site, endpoint, entered, record, .. } = self;
        endpoint.as_mut().is_some_and(|endpoint| endpoint.move_on(site.at(), entered, record))
    }

    /// Notes how long connecting took, if it was done for this request.
    pub(super) fn note_connect(&mut self, took: Option<Duration>) {
        self.record.connect = took;
    }

    /// Notes the response's head.
    pub(super) fn note_head(&mut self, status: u16, fields: &HeaderMap) {
        self.record.status = Some(status);
        self.record.first_byte = Some(self.begin.elapsed());
        self.record.bytes_out += head_len(fields);
    }

    /// Notes how much of both bodies has moved.
    pub(super) fn note_moved(&mut self, received: u64, sent: u64) {
        self.record.bytes_in += received;
        self.record.bytes_out += sent;
    }

    /// Notes the status of gRPC.
    pub(super) fn note_grpc(&mut self, status: Option<u16>) {
        self.record.grpc_status = status.or(self.record.grpc_status);
    }

    /// Notes a failure for which the agent has no answer.
    pub(super) fn failed(&mut self, reason: &'static str, side: ErrorSide, error: String) {
        self.record.verdict = Verdict::Error;
        self.record.reason = reason;
        self.record.side = Some(side);
        self.record.error = Some(error.into());
    }

    /// Notes an answer of our own, of which `sent` bytes were.
    pub(super) fn answered(&mut self, answer: &Answer, sent: u64) {
        self.failed(answer.reason, answer.side, answer.error.clone());
        if answer.side == ErrorSide::Downstream {
            self.record.verdict = Verdict::Refused;
        }
        if self.is_grpc {
            self.record.grpc_status = Some(grpc_code(answer));
            self.record.status = self.record.status.or(Some(200));
        } else {
            self.record.status = Some(answer.status);
        }
        self.record.bytes_out += sent;
    }

    /// Where it goes, for records.
    fn target(&self) -> TargetRecord {
        match &self.endpoint {
            None => TargetRecord { service: self.record.service.clone(), ..self.site.original_target() },
            Some(endpoint) => endpoint.target(),
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.site.requests.set(self.site.requests.get() + 1);
        self.record.target = Some(self.target());
        self.record.duration = self.begin.elapsed();
        let record = std::mem::replace(&mut self.record, blank(&self.site));
        self.site.context.publish(Record::Request(record));
    }
}

/// What the library lets pass and two servers could read differently (RFC 9113, section 8.3.1).
fn check(head: &request::Parts) -> Result<(), Answer> {
    let refuse = |error: &str| {
        Err(Answer {
            status: 400,
            reason: "bad_request",
            side: ErrorSide::Downstream,
            error: format!("the request head: {error}"),
        })
    };
    let mut hosts = head.headers.get_all(HOST).iter();
    let first = hosts.next();
    if hosts.next().is_some() {
        return refuse("several Host fields");
    }
    let Some(authority) = head.uri.authority() else { return Ok(()) };
    if authority.as_str().contains('@') {
        return refuse("user information in :authority");
    }
    if first.is_some_and(|host| !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes())) {
        return refuse("Host differs from :authority");
    }
    Ok(())
}

/// The authority, or what stands for it in a request that was HTTP/1 once.
fn host(head: &request::Parts) -> Option<&[u8]> {
    let authority = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    authority.or_else(|| head.headers.get(HOST).map(HeaderValue::as_bytes))
}

/// Marks fields as never to be indexed.
pub(super) fn never_index(fields: &mut HeaderMap, names: &[HeaderName]) {
    for name in names {
        if fields.contains_key(name)
            && let http::header::Entry::Occupied(mut found) = fields.entry(name)
        {
            found.iter_mut().for_each(|value| value.set_sensitive(true));
        }
    }
}

fn empty(site: &Site, head: &request::Parts) -> RequestRecord {
    RequestRecord {
        id: site.context.hub.next_request_id(),
        method: text(head.method.as_str().as_bytes()),
        path: text(head.uri.path().as_bytes()),
        host: host(head).map(text),
        ..blank(site)
    }
}

/// A record that says nothing of its request yet.
fn blank(site: &Site) -> RequestRecord {
    site.at().unread(Protocol::Http2, site.protocol_from, site.connection, site.service.clone())
}

fn text(bytes: &[u8]) -> Box<str> {
    routing::text(bytes, MAX_TEXT)
}
