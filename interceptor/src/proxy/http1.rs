//! HTTP/1 on one intercepted connection: each request is read, routed, sent to its upstream and answered in turn (rule R6).
//!
//! Entered by `proxy` once the first bytes are known to be HTTP/1. One task drives the client and the upstream. Upstream
//! connections belong to their client's connection, as without us: when the server closes an idle one, so do we, and a
//! client never sends a request into a connection that its server has left.

pub mod chunked;
mod edits;
pub mod exchange;
pub mod framing;
pub mod head;
mod inherited;
pub mod message;
#[cfg(test)]
mod refusals;
mod request;
mod upstreams;

#[cfg(test)]
mod tests;

pub use inherited::Inherited;

use std::future::{Future as _, poll_fn};
use std::io;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use self::exchange::{End, Exchange, Failure, RequestFacts};
use self::head::RequestHead;
use self::message::Message;
use self::request::RequestInFlight;
use self::upstreams::{Key, Upstreams};
use super::connect::Upstream;
use super::respond::Answer;
use super::threads::{self, Traced};
use super::{Connection, Drain, Phase, opaque};
use crate::config::Splice;
use crate::flow::TargetRecord;
use crate::net::side::Side;
use crate::propagate::Entered;

/// How long a client may take to read our last words before the connection is closed under it.
const LINGER: Duration = Duration::from_secs(2);

/// How waiting for a request ended.
#[expect(clippy::large_enum_variant, reason = "it is moved once a request; a box would be an allocation each time")]
enum Next {
    Request(RequestHead),
    /// The client ended its direction between requests.
    Ended,
    /// The server closed the idle connection that the client's stands for.
    ServerClosed,
    /// The agent is about to end, and the client has asked nothing for a while.
    Drained,
    /// The client's connection broke.
    Broken(io::Error),
    Refused(Answer),
}

/// Serves requests until the connection ends. `dialled` is a connection to the original destination that was made while
/// the protocol was not known.
pub async fn serve(connection: &mut Connection, mut client: Side, dialled: Option<Upstream>) {
    let mut upstreams = Upstreams::new(dialled, connection.context.settings.idle_timeout);
    loop {
        let head = match next_request(connection, &mut client, &mut upstreams).await {
            Next::Request(head) => head,
            Next::Ended => {
                upstreams.leave(connection);
                return connection.record.ended("end_of_stream");
            }
            Next::ServerClosed => return connection.record.ended("server_closed"),
            Next::Drained => return close(connection, client, "drained").await,
            Next::Broken(error) => return connection.record.failed_client(&error),
            Next::Refused(answer) => return refuse(connection, client, None, answer).await,
        };
        match handle(connection, &mut client, &mut upstreams, head).await {
            Outcome::Next => {}
            Outcome::Close => return close(connection, client, "connection_close").await,
            Outcome::Abort => return client.reset().await,
            Outcome::Refuse(request, answer) => return refuse(connection, client, Some(*request), answer).await,
            Outcome::Switched(switched) => {
                let (upstream, target, _in_flight) = *switched;
                return opaque::relay(connection, client, upstream, target).await;
            }
        }
    }
}

/// What follows a request.
enum Outcome {
    Next,
    Close,
    Abort,
    Refuse(Box<RequestInFlight>, Answer),
    Switched(Box<(Upstream, TargetRecord, Entered)>),
}

async fn handle(
    connection: &mut Connection,
    client: &mut Side,
    upstreams: &mut Upstreams,
    head: RequestHead,
) -> Outcome {
    let traced = match &head.found.route {
        None => threads::trace(connection, client).await,
        Some(_) => Traced::Off,
    };
    let (mut request, edits) = RequestInFlight::begin(connection, client.buffer.data(), &head, &traced);
    let mut message = match Message::new(client, head.len, head.framing.clone()) {
        Ok(message) => message,
        Err(error) => return Outcome::Refuse(Box::new(request), Answer::bad_body(error)),
    };
    message.edit(edits);
    let key = request.key();
    if head.binds_credentials {
        upstreams.keep_to_ourselves();
    }
    let repeatable = head.idempotent && message.is_buffered();
    let mut may_reuse = true;
    loop {
        let taken = match may_reuse {
            true => upstreams.take(key).or_else(|| repeatable.then(|| upstreams.inherit(connection, key)).flatten()),
            false => None,
        };
        let reused = taken.is_some();
        let mut upstream = match taken {
            Some(upstream) => upstream,
            None => {
                upstreams.make_room(connection);
                match request.connect(connection).await {
                    Ok(upstream) => upstream,
                    Err(error) => return Outcome::Refuse(Box::new(request), Answer::connect(&error)),
                }
            }
        };
        let settings = &connection.context.settings;
        let facts = RequestFacts {
            kind: head.kind,
            idempotent: head.idempotent,
            keep_alive: head.keep_alive,
            reused: reused && upstreams.has_served(&upstream),
            may_splice: settings.splice != Splice::Copy,
        };
        // Before a byte of it can reach the application.
        let _given = threads::give(connection, &upstream, request.id(), request.space());
        let mut exchange = Exchange::new(message, facts, settings.max_head_bytes, &connection.account);
        let mut patience = settings.first_byte_timeout.map(|limit| Box::pin(sleep(limit)));
        let drain = &connection.context.drain;
        let end = poll_fn(|cx| {
            match drain.phase() {
                Phase::Off => {}
                Phase::Last | Phase::Idle => exchange.be_last(),
                Phase::Over => return Poll::Ready(End::Failed(Failure::Ending)),
            }
            let end = exchange.poll(cx, client, &mut upstream.side);
            request.note_status(&exchange);
            match &mut patience {
                Some(patience) if end.is_pending() && exchange.awaits_response() => {
                    patience.as_mut().poll(cx).map(|()| End::Failed(Failure::Slow))
                }
                _ => end,
            }
        })
        .await;
        match end {
            End::Stale => {
                message = exchange.into_request();
                may_reuse = false;
                continue;
            }
            End::Done { reusable } => {
                // Not where it was to lead at first, if that could not be reached.
                let place = request.key();
                request.finish(connection, &exchange);
                let more_can_come = !client.ended || !client.buffer.is_empty();
                if reusable && more_can_come && upstream.side.buffer.is_empty() {
                    upstreams.put(place, upstream);
                    return Outcome::Next;
                }
                return Outcome::Close;
            }
            End::Switched => {
                let (target, entered) = (request.target(connection), request.take_entered());
                request.finish(connection, &exchange);
                return Outcome::Switched(Box::new((upstream, target, entered)));
            }
            End::Failed(failure) => {
                let untold = exchange.sent() == 0 && exchange.status().is_none();
                // The server left the connection that the client's stands for just when the client used it again. The
                // client knows better than we do whether to repeat the request: it sees what it would see without us.
                let race = matches!(failure, Failure::NoResponse(_)) && facts.reused && key == Key::Original;
                match Answer::failed(&failure).filter(|_| untold && !race) {
                    Some(answer) => {
                        request.note_received(&exchange);
                        return Outcome::Refuse(Box::new(request), answer);
                    }
                    None => {
                        request.fail(connection, &exchange, &failure);
                        return Outcome::Abort;
                    }
                }
            }
        }
    }
}

/// Waits for a request's head; meanwhile watches the idle upstreams.
async fn next_request(connection: &Connection, client: &mut Side, upstreams: &mut Upstreams) -> Next {
    let settings = &connection.context.settings;
    if client.buffer.is_empty() {
        let drain = &connection.context.drain;
        let idle = poll_fn(|cx| poll_idle(cx, client, upstreams, drain)).await;
        if let Some(next) = idle {
            return next;
        }
    }
    // Most heads come in one piece; only for the others a clock is set.
    if let Some(next) = read_head(connection, client) {
        return next;
    }
    let rest = poll_fn(|cx| poll_head(cx, connection, client));
    match timeout(settings.head_timeout, rest).await {
        Ok(next) => next,
        Err(_) => Next::Refused(Answer::slow_head()),
    }
}

/// The head at the front of the buffer; `None` while it is incomplete.
fn read_head(connection: &Connection, client: &Side) -> Option<Next> {
    let snapshot = connection.context.snapshot.load();
    let data = client.buffer.data();
    let data = data.get(..connection.context.settings.max_head_bytes).unwrap_or(data);
    match head::request(data, snapshot.reader()) {
        Ok(None) => None,
        Ok(Some(head)) => Some(Next::Request(head)),
        Err(error) => Some(Next::Refused(Answer::bad_request(error))),
    }
}

/// Ready with `None` when bytes of a request have come.
fn poll_idle(
    cx: &mut TaskContext<'_>,
    client: &mut Side,
    upstreams: &mut Upstreams,
    drain: &Drain,
) -> Poll<Option<Next>> {
    match client.poll_fill(cx) {
        Poll::Ready(Ok(0)) => return Poll::Ready(Some(Next::Ended)),
        Poll::Ready(Ok(_)) => return Poll::Ready(None),
        Poll::Ready(Err(error)) => return Poll::Ready(Some(Next::Broken(error))),
        Poll::Pending => {}
    }
    if upstreams.poll_closed(cx) {
        return Poll::Ready(Some(Next::ServerClosed));
    }
    if drain.phase() >= Phase::Idle { Poll::Ready(Some(Next::Drained)) } else { Poll::Pending }
}

fn poll_head(cx: &mut TaskContext<'_>, connection: &Connection, client: &mut Side) -> Poll<Next> {
    let limit = connection.context.settings.max_head_bytes;
    loop {
        if client.buffer.len() >= limit {
            return Poll::Ready(Next::Refused(Answer::large_head(limit)));
        }
        if client.buffer.is_full() && !client.buffer.grow(limit, &connection.account) {
            return Poll::Ready(Next::Refused(Answer::no_memory("a request head of more than 16 KiB")));
        }
        match client.poll_fill(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(0)) => return Poll::Ready(Next::Ended),
            Poll::Ready(Err(error)) => return Poll::Ready(Next::Broken(error)),
            Poll::Ready(Ok(_)) => {}
        }
        if let Some(next) = read_head(connection, client) {
            return Poll::Ready(next);
        }
    }
}

/// Sends an answer of our own and closes.
async fn refuse(connection: &mut Connection, mut client: Side, request: Option<RequestInFlight>, answer: Answer) {
    let bytes = answer.to_bytes(connection.record.id());
    let sent = u64::try_from(say(&mut client, &bytes).await).unwrap_or(u64::MAX);
    connection.record.refused(&answer);
    match request {
        Some(request) => request.refuse(connection, &answer, sent),
        None => RequestInFlight::unread(connection, &answer, sent),
    }
    linger(client).await;
}

/// Says a client's last words to it, and how many bytes of them it took.
pub(super) async fn say(client: &mut Side, bytes: &[u8]) -> usize {
    let mut written = 0;
    // A client that does not read gets no more than its socket's buffer takes.
    let write = poll_fn(|cx| {
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match client.poll_write(cx, rest) {
                Poll::Ready(Ok(count)) => written += count,
                Poll::Ready(Err(_)) => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    });
    timeout(LINGER, write).await.ok();
    written
}

async fn close(connection: &mut Connection, client: Side, reason: &'static str) {
    connection.record.ended(reason);
    linger(client).await;
}

/// Ends our direction and reads on for a while: closing with unread bytes would make the kernel send RST, and the client
/// could lose what we said last.
pub(super) async fn linger(mut client: Side) {
    client.shutdown();
    let drain = poll_fn(|cx| {
        loop {
            let rest = client.buffer.len();
            client.buffer.consume(rest);
            match client.poll_fill(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    });
    timeout(LINGER, drain).await.ok();
}
