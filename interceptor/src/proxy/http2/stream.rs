//! One stream of a client's connection: routed, sent to its upstream, answered; both directions at once.
//!
//! A task of its own, so that streams wait for each other nowhere. Resets pass with their code both ways; what fails on the
//! way to the upstream is answered here, as HTTP or as gRPC.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::header::SET_COOKIE;
use http::{HeaderMap, Request, Response};
use tokio::time::{Sleep, sleep};

use super::answer::{self, trailers};
use super::pump::{Broken, Pump, grpc_status, reason_of};
use super::request::{InFlight, never_index};
use super::upstreams::{Lease, Upstreams};
use super::{Site, answer::is_grpc};
use crate::flow::ErrorSide;
use crate::net::budget::Held;
use crate::proxy::respond::Answer;

/// How a stream ended.
enum End {
    /// The response was delivered.
    Done,
    /// The client has reset it, or is gone.
    Client(Reason),
    /// The upstream has reset it, or is gone.
    Upstream(h2::Error),
    /// The upstream sent nothing in time.
    Slow,
    /// More would have to be held for the workload than it leaves for others.
    Crowded,
}

/// An open stream without what it carries.
const STREAM: usize = 4096;

/// What a field takes beside its text (RFC 9113, section 6.5.2).
const FIELD: usize = 32;

/// A request and its response under way.
struct Exchange {
    request: Pump,
    response: Option<ResponseFuture>,
    body: Option<Pump>,
    /// For the stream and its heads.
    held: Held,
    /// Set once the request was passed on, where there is a limit.
    patience: Option<Pin<Box<Sleep>>>,
}

/// Serves one stream to its end.
pub(super) async fn serve(
    site: Rc<Site>,
    upstreams: Rc<Upstreams>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let (mut head, body) = request.into_parts();
    let (mut flight, checked) = InFlight::begin(&site, &mut head);
    let hold = || site.account.hold(STREAM + size(&head.headers)).ok_or_else(|| Answer::no_memory("an open stream"));
    let held = match checked.and_then(|()| hold()) {
        Ok(held) => held,
        Err(answer) => return refuse(&site, &mut flight, &mut respond, &answer),
    };
    let lease = obtain(&site, &upstreams, &mut flight, &mut respond, body.is_end_stream()).await;
    let lease = match lease {
        Ok(lease) => lease,
        Err(Some(answer)) => return refuse(&site, &mut flight, &mut respond, &answer),
        Err(None) => return,
    };
    if head.extensions.get::<h2::ext::Protocol>().is_some() && !lease.takes_extended_connect() {
        return refuse(&site, &mut flight, &mut respond, &no_extended_connect());
    }
    let ends = body.is_end_stream();
    let (response, to) = match lease.sender().send_request(Request::from_parts(head, ()), ends) {
        Ok(sent) => sent,
        Err(error) => return upstream_failed(&site, &mut flight, &mut respond, None, &error),
    };
    let request = if ends { Pump::done(body, to, &site) } else { Pump::new(body, to, None, &site) };
    let mut exchange = Exchange { request, response: Some(response), body: None, held, patience: None };
    let end = poll_fn(|cx| exchange.poll(cx, &site, &mut flight, &mut respond)).await;
    finish(&site, &mut flight, &mut respond, exchange, end);
    drop(lease);
}

/// A connection with room, unless the client takes its request back meanwhile. To another endpoint where the one that was
/// chosen cannot be reached.
async fn obtain(
    site: &Site,
    upstreams: &Upstreams,
    flight: &mut InFlight,
    respond: &mut SendResponse<Bytes>,
    ends: bool,
) -> Result<Lease, Option<Answer>> {
    let mut body = None;
    loop {
        let mut lease = pin!(upstreams.get(flight.key()));
        let obtained = poll_fn(|cx| {
            if let Poll::Ready(lease) = lease.as_mut().poll(cx) {
                return Poll::Ready(Some(lease));
            }
            // Meanwhile the client may send as much of its body as its window has room for.
            if !ends && body.is_none() {
                body = site.hold_window();
                if body.is_none() {
                    return Poll::Ready(Some(Err(Answer::no_memory("a request that waits for its upstream"))));
                }
            }
            respond.poll_reset(cx).map(|_| None)
        })
        .await;
        match obtained {
            Some(Ok(lease)) => {
                flight.note_connect(lease.took);
                return Ok(lease);
            }
            Some(Err(answer)) if answer.is_unreachable() && flight.move_on() => {}
            Some(Err(answer)) => return Err(Some(answer)),
            None => {
                client_left(flight, Reason::CANCEL);
                return Err(None);
            }
        }
    }
}

impl Exchange {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        site: &Rc<Site>,
        flight: &mut InFlight,
        respond: &mut SendResponse<Bytes>,
    ) -> Poll<End> {
        match self.request.poll(cx) {
            Poll::Ready(Err(Broken::From(error))) => return Poll::Ready(End::Client(reason_of(&error))),
            Poll::Ready(Err(Broken::Crowded)) => return Poll::Ready(End::Crowded),
            // What the upstream has to say about it comes with its response.
            Poll::Ready(Ok(()) | Err(Broken::To(_))) | Poll::Pending => {}
        }
        if let Some(response) = &mut self.response {
            match poll_head(cx, site, response, flight, respond, &mut self.held) {
                Poll::Ready(Ok(body)) => (self.body, self.response, self.patience) = (Some(body), None, None),
                Poll::Ready(Err(end)) => return Poll::Ready(end),
                Poll::Pending if self.request.is_done() => {
                    if let Poll::Ready(reason) = respond.poll_reset(cx) {
                        return Poll::Ready(End::Client(reason.unwrap_or_else(|error| reason_of(&error))));
                    }
                    return self.poll_patience(cx, site);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        let Some(body) = &mut self.body else { return Poll::Pending };
        match body.poll(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(End::Done),
            Poll::Ready(Err(Broken::From(error))) => Poll::Ready(End::Upstream(error)),
            Poll::Ready(Err(Broken::To(reason))) => Poll::Ready(End::Client(reason)),
            Poll::Ready(Err(Broken::Crowded)) => Poll::Ready(End::Crowded),
            Poll::Pending => body.poll_refused(cx).map(End::Client),
        }
    }

    fn poll_patience(&mut self, cx: &mut Context<'_>, site: &Site) -> Poll<End> {
        let Some(limit) = site.context.settings.first_byte_timeout else { return Poll::Pending };
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(limit)));
        patience.as_mut().poll(cx).map(|()| End::Slow)
    }
}

/// Passes on heads up to the final one; ready with what moves the body.
fn poll_head(
    cx: &mut Context<'_>,
    site: &Rc<Site>,
    response: &mut ResponseFuture,
    flight: &mut InFlight,
    respond: &mut SendResponse<Bytes>,
    held: &mut Held,
) -> Poll<Result<Pump, End>> {
    while let Poll::Ready(Some(interim)) = response.poll_informational(cx) {
        match interim {
            Ok(interim) => {
                if let Err(error) = respond.send_informational(interim) {
                    return Poll::Ready(Err(End::Client(reason_of(&error))));
                }
            }
            Err(error) => return Poll::Ready(Err(End::Upstream(error))),
        }
    }
    Pin::new(response).poll(cx).map(|response| match response {
        Err(error) => Err(End::Upstream(error)),
        Ok(response) => {
            let (head, body) = response.into_parts();
            let mut head = Response::from_parts(head, ());
            flight.note_head(head.status().as_u16(), head.headers());
            flight.is_grpc |= is_grpc(head.headers());
            flight.note_grpc(grpc_status(head.headers()));
            never_index(head.headers_mut(), &[SET_COOKIE]);
            let ends = body.is_end_stream();
            if !held.add(size(head.headers())) {
                return Err(End::Crowded);
            }
            match respond.send_response(head, ends) {
                Ok(to) if ends => Ok(Pump::done(body, to, site)),
                Ok(to) => Ok(Pump::new(body, to, Some(Rc::clone(&site.meter)), site)),
                Err(error) => Err(End::Client(reason_of(&error))),
            }
        }
    })
}

fn finish(site: &Site, flight: &mut InFlight, respond: &mut SendResponse<Bytes>, mut exchange: Exchange, end: End) {
    let sent = exchange.body.as_ref().map_or(0, |body| body.moved);
    flight.note_moved(exchange.request.moved, sent);
    flight.note_grpc(exchange.body.as_ref().and_then(|body| body.grpc_status));
    match end {
        // A request that is not over is given up with the stream, towards the client with NO_ERROR (RFC 9113, section 8.1).
        End::Done => {}
        End::Client(reason) => {
            exchange.request.reset(reason);
            client_left(flight, reason);
        }
        End::Upstream(error) => upstream_failed(site, flight, respond, exchange.body.as_mut(), &error),
        End::Crowded => {
            exchange.request.reset(Reason::CANCEL);
            let answer = Answer::no_memory("a stream whose receiver does not keep up");
            match exchange.body {
                None => refuse(site, flight, respond, &answer),
                Some(_) => {
                    respond.send_reset(Reason::ENHANCE_YOUR_CALM);
                    flight.failed(answer.reason, answer.side, answer.error);
                }
            }
        }
        End::Slow => {
            exchange.request.reset(Reason::CANCEL);
            let error = "the upstream sent nothing within first_byte_timeout".to_owned();
            let answer = Answer { status: 504, reason: "first_byte_timeout", side: ErrorSide::Upstream, error };
            refuse(site, flight, respond, &answer);
        }
    }
}

/// What a head takes.
fn size(fields: &HeaderMap) -> usize {
    fields.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD).sum()
}

fn client_left(flight: &mut InFlight, reason: Reason) {
    flight.failed("client_reset", ErrorSide::Downstream, format!("the client has left the stream: {reason:?}"));
}

/// Tells the client that the upstream has failed: its own code where it gave one, else what fits how far the response was.
fn upstream_failed(
    site: &Site,
    flight: &mut InFlight,
    respond: &mut SendResponse<Bytes>,
    body: Option<&mut Pump>,
    error: &h2::Error,
) {
    let told = if error.is_remote() { error.reason() } else { None };
    let passed = match told {
        // The server is leaving and has not looked at this stream: the client may safely ask again.
        Some(_) if error.is_go_away() => Some(("upstream_goaway", Reason::REFUSED_STREAM)),
        Some(reason) => Some(("upstream_stream_reset", reason)),
        None => None,
    };
    if let Some((word, code)) = passed {
        respond.send_reset(code);
        return flight.failed(word, ErrorSide::Upstream, format!("the upstream's stream: {error}"));
    }
    let (reason, error) = match error.is_io() {
        true => ("upstream_closed", format!("the upstream's connection ended: {error}")),
        false => ("bad_response", format!("the upstream's response: {error}")),
    };
    let answer = Answer { status: 502, reason, side: ErrorSide::Upstream, error };
    match body {
        None => refuse(site, flight, respond, &answer),
        Some(body) => {
            if flight.is_grpc && body.end_with(trailers(&answer)).is_ok() {
                return flight.answered(&answer, 0);
            }
            respond.send_reset(Reason::INTERNAL_ERROR);
            flight.failed(answer.reason, answer.side, answer.error);
        }
    }
}

fn refuse(site: &Site, flight: &mut InFlight, respond: &mut SendResponse<Bytes>, answer: &Answer) {
    let sent = answer::send(respond, answer, flight.is_grpc, site.connection);
    flight.answered(answer, sent.unwrap_or(0));
}

fn no_extended_connect() -> Answer {
    let error = "the upstream does not take extended CONNECT (RFC 8441)".to_owned();
    Answer { status: 501, reason: "no_extended_connect", side: ErrorSide::Upstream, error }
}
