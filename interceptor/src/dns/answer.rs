//! Answers a query for a name that only an ancestor space has; anything else is for the server. Pure.
//!
//! The answer is what CoreDNS would say of the service in its own space: authoritative, recursion neither offered nor refused
//! differently, the same TTL, EDNS echoed, and an SOA where the name has nothing of the kind asked for.

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::DNSClass;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};

use super::name::Zone;
use super::records::{Records, records, shared, start_of_authority};
use crate::snapshot::{Snapshot, SpaceId};

/// What a client without EDNS takes over UDP (RFC 1035, section 4.2.1).
const PLAIN_UDP: usize = 512;
/// No record of ours is smaller in a message, its name being a pointer.
const SMALLEST_RECORD: usize = 16;
/// The DNS cookie option (RFC 7873).
const COOKIE: u16 = 10;
/// A cookie of the client alone; a longer one has a server's part.
const CLIENT_COOKIE: usize = 8;

/// What becomes of a query.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// This is the answer.
    Answer(Vec<u8>),
    /// The server answers.
    Forward,
    /// Not understood: the server answers, or does not.
    Malformed,
}

/// How large an answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// What the client says that it takes.
    Udp,
    /// 65 535 bytes.
    Tcp,
}

/// Who asks, and by what it is answered.
pub(super) struct Asker<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) space: SpaceId,
    pub(super) zone: &'a Zone,
    /// Spreads clients over endpoints.
    pub(super) turn: usize,
}

/// What becomes of a query.
pub(super) fn judge(asker: &Asker<'_>, query: &[u8], limit: Limit) -> Verdict {
    match Message::from_vec(query) {
        Ok(query) => answer(asker, &query, limit).map_or(Verdict::Forward, Verdict::Answer),
        Err(_) => Verdict::Malformed,
    }
}

/// "That server does not answer", as a client is told that waits for it; `None` where the query is not understood.
pub(super) fn server_failure(query: &[u8]) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    let mut message = response(&query);
    message.metadata.response_code = ResponseCode::ServFail;
    message.to_vec().ok()
}

fn answer(asker: &Asker<'_>, query: &Message, limit: Limit) -> Option<Vec<u8>> {
    let question = plain_question(query)?;
    let space = asker.snapshot.space(asker.space);
    let asked = asker.zone.asked(&question.name, &space.name)?;
    let service = shared(asker.snapshot, asker.space, asked.service())?;
    let Records { answers, additionals, .. } =
        records(&asked, &question.name, question.query_type, service, asker.turn)?;
    let mut message = response(query);
    message.metadata.authoritative = true;
    if answers.is_empty() {
        message.authorities.extend(start_of_authority(asker.zone, asker.snapshot.version));
    }
    message.answers = answers;
    message.additionals = additionals;
    let limit = match limit {
        Limit::Udp => query.edns.as_ref().map_or(PLAIN_UDP, |edns| PLAIN_UDP.max(edns.max_payload().into())),
        Limit::Tcp => usize::from(u16::MAX),
    };
    fit(message, limit)
}

/// The question of a query of the usual form: one, of the Internet, without what only a server can judge.
fn plain_question(query: &Message) -> Option<&Query> {
    let metadata = &query.metadata;
    let [question] = query.queries.as_slice() else { return None };
    let plain = metadata.message_type == MessageType::Query
        && metadata.op_code == OpCode::Query
        && !metadata.truncation
        && query.answers.is_empty()
        && query.authorities.is_empty()
        && query.additionals.is_empty()
        && query.signature.is_none()
        && query.version() == 0
        && question.query_class == DNSClass::IN;
    plain.then_some(question)
}

/// An empty response to a query, with EDNS where the query has it.
fn response(query: &Message) -> Message {
    let mut message = Message::new(query.metadata.id, MessageType::Response, query.metadata.op_code);
    message.metadata = Metadata::response_from_request(&query.metadata);
    message.queries.clone_from(&query.queries);
    message.edns = query.edns.as_ref().map(|asked| {
        let mut edns = Edns::new();
        edns.set_max_payload(asked.max_payload()).set_dnssec_ok(asked.flags().dnssec_ok);
        // A client that had a cookie from its server takes no answer without one for that server's.
        if let Some(EdnsOption::Unknown(_, cookie)) = asked.option(EdnsCode::Cookie)
            && cookie.len() > CLIENT_COOKIE
        {
            edns.options_mut().insert(EdnsOption::Unknown(COOKIE, cookie.clone()));
        }
        edns
    });
    message
}

/// The message's bytes with as many records as fit. Answers that are missing are told by the TC bit.
fn fit(mut message: Message, limit: usize) -> Option<Vec<u8>> {
    loop {
        let bytes = message.to_vec();
        match &bytes {
            Ok(fitting) if fitting.len() <= limit => return bytes.ok(),
            _ if message.answers.is_empty() && message.additionals.is_empty() => return None,
            _ => {}
        }
        // One that cannot be encoded is too large for it.
        let over = bytes.map_or(usize::from(u16::MAX), |bytes| bytes.len() - limit);
        let surplus = (over / 64).max(1);
        if message.additionals.is_empty() {
            message.metadata.truncation = true;
            let keep = message.answers.len().saturating_sub(surplus);
            message.answers.truncate(keep);
        } else {
            let keep = message.additionals.len().saturating_sub((over / SMALLEST_RECORD).max(1));
            message.additionals.truncate(keep);
        }
    }
}

#[cfg(test)]
mod tests;
