//! One request and its response on two sides: both directions at once, until both are done.
//!
//! Called by `serve` with the request's head parsed and its upstream chosen. Knows nothing of routing and records.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::head::{self, HeadError, RequestKind, ResponseHead};
use super::message::{Edit, Message, MoveError};
use crate::net::budget::Account;
use crate::net::side::Side;

/// How an exchange ended.
#[derive(Debug)]
pub enum End {
    /// The response was delivered.
    Done {
        /// Whether both sides can carry another exchange.
        reusable: bool,
    },
    /// The protocol has changed: everything that follows is opaque.
    Switched,
    /// The upstream closed before a byte of the response, and the request can be sent to another one.
    Stale,
    /// It failed.
    Failed(Failure),
}

/// Why an exchange failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The client is gone, or sent a broken body.
    #[error("the client's side: {0}")]
    Client(MoveError),
    /// The upstream failed while the response was under way: the client has a part of it.
    #[error("the upstream's response: {0}")]
    Response(MoveError),
    /// The upstream failed before any of the response.
    #[error("the upstream closed without a response: {0}")]
    NoResponse(io::Error),
    /// The upstream sent nothing in time.
    #[error("the upstream sent nothing within first_byte_timeout")]
    Slow,
    /// The agent ends, and does not wait any longer.
    #[error("drain_timeout is over, the agent ends")]
    Ending,
    /// The upstream's response head cannot be passed on.
    #[error("the upstream's response head: {0}")]
    BadResponse(HeadError),
    /// The upstream's response head is larger than the bound.
    #[error("the upstream's response head is larger than max_head_bytes")]
    LargeResponse,
    /// The upstream's response head is larger than what can be held for it at the moment.
    #[error("the upstream's response head of more than 16 KiB")]
    Crowded,
}

/// A request and its response under way.
#[derive(Debug)]
pub struct Exchange {
    kind: RequestKind,
    request: Message,
    request_failed: bool,
    reused: bool,
    response: Response,
    status: Option<u16>,
    keep_alive: bool,
    sent: u64,
    /// The client's end was passed on to the upstream.
    end_told: bool,
    max_head: usize,
    account: Rc<Account>,
    may_splice: bool,
    /// The client is told that this exchange is the connection's last.
    last: bool,
}

/// Added to the last response of a connection that the agent ends.
const CLOSE: &[u8] = b"connection: close\r\n";

#[derive(Debug)]
enum Response {
    Head,
    Interim(Message),
    Body(Message),
    Done,
}

/// What [`Exchange::new`] needs to know of the request.
#[derive(Debug, Clone, Copy)]
pub struct RequestFacts {
    /// What kind of answer follows.
    pub kind: RequestKind,
    /// Whether a repetition does no harm.
    pub idempotent: bool,
    /// Whether the client keeps the connection.
    pub keep_alive: bool,
    /// Whether the upstream connection has carried an exchange before, so that it may turn out stale.
    pub reused: bool,
    /// Whether long bodies may move by splice(2).
    pub may_splice: bool,
}

impl Exchange {
    /// An exchange that begins with `request`, whose head is at the front of the client's buffer.
    pub fn new(mut request: Message, facts: RequestFacts, max_head: usize, account: &Rc<Account>) -> Self {
        if facts.reused && facts.idempotent && request.is_buffered() {
            request.hold();
        }
        if facts.may_splice {
            request.allow_splice(account.budget());
        }
        Self {
            kind: facts.kind,
            request,
            request_failed: false,
            reused: facts.reused,
            response: Response::Head,
            status: None,
            keep_alive: facts.keep_alive,
            sent: 0,
            end_told: false,
            max_head,
            account: Rc::clone(account),
            may_splice: facts.may_splice,
            last: false,
        }
    }

    /// Makes this the connection's last exchange, if its response has not begun and the client has asked nothing more yet.
    pub fn be_last(&mut self) {
        self.last = true;
    }

    /// The final status, once its head has come.
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// Whether not a byte of a response has come.
    pub fn awaits_response(&self) -> bool {
        matches!(self.response, Response::Head) && self.sent == 0
    }

    /// Bytes of the request that were taken from the client.
    pub fn received(&self) -> u64 {
        self.request.moved()
    }

    /// Bytes of the response that were sent to the client.
    pub fn sent(&self) -> u64 {
        self.sent
            + match &self.response {
                Response::Interim(message) | Response::Body(message) => message.moved(),
                Response::Head | Response::Done => 0,
            }
    }

    /// Gives the request back for another upstream, after [`End::Stale`].
    pub fn into_request(mut self) -> Message {
        self.request.rewind();
        self.request
    }

    /// Drives both directions.
    pub fn poll(&mut self, cx: &mut Context<'_>, client: &mut Side, upstream: &mut Side) -> Poll<End> {
        if let Poll::Ready(end) = self.poll_request(cx, client, upstream) {
            return Poll::Ready(end);
        }
        if let Poll::Ready(end) = self.poll_response(cx, client, upstream) {
            return Poll::Ready(end);
        }
        // The response may have released what the request still waits for.
        self.poll_client(cx, client, upstream)
    }

    fn poll_request(&mut self, cx: &mut Context<'_>, client: &mut Side, upstream: &mut Side) -> Poll<End> {
        if self.request_failed || self.request.is_done() {
            return Poll::Pending;
        }
        match self.request.poll(cx, client, upstream) {
            Poll::Ready(Err(MoveError::Write(error))) => {
                if self.reused && !self.request.has_begun() {
                    return Poll::Ready(End::Stale);
                }
                // The upstream may have answered before it closed; what it said is read first.
                tracing::trace!(%error, "the upstream takes no more of the request");
                self.request_failed = true;
            }
            Poll::Ready(Err(error)) => return Poll::Ready(End::Failed(Failure::Client(error))),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        Poll::Pending
    }

    fn poll_response(&mut self, cx: &mut Context<'_>, client: &mut Side, upstream: &mut Side) -> Poll<End> {
        loop {
            match &mut self.response {
                Response::Head => match self.poll_response_head(cx, client, upstream) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(end)) => return Poll::Ready(end),
                    Poll::Pending => return Poll::Pending,
                },
                Response::Interim(message) | Response::Body(message) => {
                    match message.poll(cx, upstream, client) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(MoveError::Write(error))) => {
                            return Poll::Ready(End::Failed(Failure::Client(MoveError::Write(error))));
                        }
                        Poll::Ready(Err(error)) => return Poll::Ready(End::Failed(Failure::Response(error))),
                    }
                    self.sent += message.moved();
                    self.response = match (&self.response, self.status) {
                        (Response::Interim(_), None) => Response::Head,
                        _ => Response::Done,
                    };
                }
                Response::Done => return self.finished(),
            }
        }
    }

    fn poll_response_head(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut Side,
        upstream: &mut Side,
    ) -> Poll<Result<(), End>> {
        loop {
            if !upstream.buffer.is_empty() {
                match head::response(upstream.buffer.data(), self.kind) {
                    Ok(Some(head)) => return Poll::Ready(self.begin_response(cx, &head, client, upstream)),
                    Err(error) => return Poll::Ready(Err(End::Failed(Failure::BadResponse(error)))),
                    Ok(None) if upstream.buffer.is_full() => {
                        if upstream.buffer.len() >= self.max_head {
                            return Poll::Ready(Err(End::Failed(Failure::LargeResponse)));
                        }
                        if !upstream.buffer.grow(self.max_head, &self.account) {
                            return Poll::Ready(Err(End::Failed(Failure::Crowded)));
                        }
                    }
                    Ok(None) => {}
                }
            }
            let error = match upstream.poll_fill(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => io::ErrorKind::UnexpectedEof.into(),
                Poll::Ready(Err(error)) => error,
                Poll::Ready(Ok(_)) => continue,
            };
            let untouched = upstream.buffer.is_empty() && self.sent == 0;
            if untouched && self.request.is_held() {
                return Poll::Ready(Err(End::Stale));
            }
            return Poll::Ready(Err(End::Failed(Failure::NoResponse(error))));
        }
    }

    fn begin_response(
        &mut self,
        cx: &mut Context<'_>,
        head: &ResponseHead,
        client: &mut Side,
        upstream: &mut Side,
    ) -> Result<(), End> {
        self.request.release(client);
        let interim = matches!(head.status, 100..=199) && head.status != 101;
        let framing = if self.switches_at(head.status) { super::framing::Framing::NONE } else { head.framing.clone() };
        let broken = |error| End::Failed(Failure::Response(MoveError::Chunk(error)));
        let mut message = Message::new(upstream, head.len, framing).map_err(broken)?;
        if self.may_splice {
            message.allow_splice(self.account.budget());
        }
        if interim {
            self.response = Response::Interim(message);
        } else {
            self.status = Some(head.status);
            self.keep_alive &= head.keep_alive;
            let convenient = self.last && self.keep_alive && self.request.is_done() && !self.switches_at(head.status);
            // A client that has sent its next request already would lose it.
            if convenient && !has_asked_more(cx, client) {
                // Before the empty line that ends the head.
                let at = head.len.saturating_sub(2);
                message.edit([Some(Edit { at, skip: 0, text: CLOSE.into() }), None]);
                self.keep_alive = false;
            }
            self.response = Response::Body(message);
        }
        Ok(())
    }

    /// Whether what follows a response of that status is no HTTP any more (RFC 9110, sections 9.3.6 and 15.2.2).
    fn switches_at(&self, status: u16) -> bool {
        status == 101 || (self.kind == RequestKind::Connect && matches!(status, 200..=299))
    }

    fn finished(&self) -> Poll<End> {
        let status = self.status.unwrap_or_default();
        if self.switches_at(status) {
            return Poll::Ready(End::Switched);
        }
        if self.request.is_done() {
            return Poll::Ready(End::Done { reusable: self.keep_alive });
        }
        // An early answer: the rest of the request still has to be taken off the client, unless the server is gone.
        if self.request_failed || !self.keep_alive {
            return Poll::Ready(End::Done { reusable: false });
        }
        Poll::Pending
    }

    /// While the response is awaited: notices a client that has gone, and takes in what it pipelines.
    fn poll_client(&mut self, cx: &mut Context<'_>, client: &mut Side, upstream: &mut Side) -> Poll<End> {
        while self.request.is_done() && !client.ended && !client.buffer.is_full() {
            match client.poll_fill(cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(End::Failed(Failure::Client(MoveError::Read(error))));
                }
            }
        }
        // A client may end its direction after its last request and still read the answer, or it may have left. The
        // server decides what it makes of that, as it would without us: many cancel what nobody waits for.
        if client.ended && !self.end_told && self.request.is_done() && client.buffer.len() == self.request.held() {
            self.end_told = true;
            upstream.shutdown();
        }
        Poll::Pending
    }
}

/// Whether something of a further request has come, be it that it still lies in the socket. An error shows again when the
/// response is written.
fn has_asked_more(cx: &mut Context<'_>, client: &mut Side) -> bool {
    !client.buffer.is_empty() || matches!(client.poll_fill(cx), Poll::Ready(Ok(1..)))
}
