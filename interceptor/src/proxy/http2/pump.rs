//! One direction of a stream: data, then trailers, from one connection to another.
//!
//! Takes from the sender only what the receiver has room for, so that a slow reader stalls its own stream and nothing else.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;

use super::Site;
use super::wire::Meter;
use crate::net::budget::Held;

/// One direction of a stream.
pub(super) struct Pump {
    from: RecvStream,
    to: SendStream<Bytes>,
    /// The client's connection, where it is the receiver.
    client: Option<Rc<Meter>>,
    site: Rc<Site>,
    /// What the sender may have sent, while the receiver takes nothing.
    stalled: Option<Held>,
    /// Taken and not yet passed on.
    rest: Bytes,
    state: State,
    /// Bytes that were passed on, data and trailers.
    pub(super) moved: u64,
    /// The gRPC status that the trailers had.
    pub(super) grpc_status: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Data,
    Trailers,
    Done,
}

/// Why a direction ended early.
#[derive(Debug)]
pub(super) enum Broken {
    /// The sender reset it, or its connection is gone.
    From(h2::Error),
    /// The receiver takes no more: it reset the stream, or its connection is gone.
    To(Reason),
    /// The receiver does not keep up, and no more can be held for the workload.
    Crowded,
}

impl Pump {
    /// Where the receiver is the client, its connection is watched.
    pub(super) fn new(from: RecvStream, to: SendStream<Bytes>, client: Option<Rc<Meter>>, site: &Rc<Site>) -> Self {
        let (site, stalled) = (Rc::clone(site), None);
        Self { from, to, client, site, stalled, rest: Bytes::new(), state: State::Data, moved: 0, grpc_status: None }
    }

    /// One that has nothing to move: the message had only a head.
    pub(super) fn done(from: RecvStream, to: SendStream<Bytes>, site: &Rc<Site>) -> Self {
        Self { state: State::Done, ..Self::new(from, to, None, site) }
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Breaks it off, towards the receiver.
    pub(super) fn reset(&mut self, reason: Reason) {
        self.to.send_reset(reason);
    }

    /// Ends it in good order, with trailers of our own.
    pub(super) fn end_with(&mut self, trailers: HeaderMap) -> Result<(), h2::Error> {
        self.state = State::Done;
        self.to.send_trailers(trailers)
    }

    /// Whether the receiver has reset the stream.
    pub(super) fn poll_refused(&mut self, cx: &mut Context<'_>) -> Poll<Reason> {
        self.to.poll_reset(cx).map(|reason| reason.unwrap_or_else(|error| reason_of(&error)))
    }

    /// Moves what can be moved; ready when all was.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        loop {
            match self.state {
                State::Done => return Poll::Ready(Ok(())),
                State::Data if !self.rest.is_empty() => ready!(self.poll_send(cx))?,
                State::Data => match ready!(self.from.poll_data(cx)) {
                    Some(Ok(data)) if data.is_empty() && !self.from.is_end_stream() => {}
                    Some(Ok(data)) if data.is_empty() => self.end()?,
                    Some(Ok(data)) => self.rest = data,
                    Some(Err(error)) => return Poll::Ready(Err(Broken::From(error))),
                    None => self.state = State::Trailers,
                },
                State::Trailers => match ready!(self.from.poll_trailers(cx)) {
                    Ok(None) => self.end()?,
                    Ok(Some(trailers)) => {
                        self.moved += head_len(&trailers);
                        self.grpc_status = grpc_status(&trailers);
                        self.end_with(trailers).map_err(|error| Broken::To(reason_of(&error)))?;
                    }
                    Err(error) => return Poll::Ready(Err(Broken::From(error))),
                },
            }
        }
    }

    /// Passes on as much of the rest as the receiver has room for.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.to.reserve_capacity(self.rest.len());
        let mut room = self.to.capacity();
        if room == 0 {
            room = match self.to.poll_capacity(cx) {
                Poll::Ready(Some(Ok(room))) => room,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(Broken::To(reason_of(&error)))),
                Poll::Ready(None) => return Poll::Ready(Err(Broken::To(Reason::CANCEL))),
                Poll::Pending => return self.stall(),
            };
        }
        self.stalled = None;
        let waiting = self.rest.len();
        let part = self.rest.split_to(room.min(waiting));
        let len = part.len();
        self.moved += len as u64;
        self.client.iter().for_each(|client| client.cut(len, waiting));
        // Only now may the sender send as much again.
        self.from.flow_control().release_capacity(len).map_err(Broken::From)?;
        let ends = self.rest.is_empty() && self.from.is_end_stream();
        self.to.send_data(part, ends).map_err(|error| Broken::To(reason_of(&error)))?;
        if ends {
            self.state = State::Done;
        }
        Poll::Ready(Ok(()))
    }

    /// The receiver takes nothing: from now on what the sender may still send counts as held.
    fn stall(&mut self) -> Poll<Result<(), Broken>> {
        if self.stalled.is_none() {
            self.stalled = self.site.hold_window();
            if self.stalled.is_none() {
                return Poll::Ready(Err(Broken::Crowded));
            }
        }
        Poll::Pending
    }

    fn end(&mut self) -> Result<(), Broken> {
        self.state = State::Done;
        self.to.send_data(Bytes::new(), true).map_err(|error| Broken::To(reason_of(&error)))
    }
}

/// The code to pass on for an error; a connection that is gone cancels its streams.
pub(super) fn reason_of(error: &h2::Error) -> Reason {
    error.reason().unwrap_or(Reason::CANCEL)
}

/// Bytes of header fields without framing and compression.
pub(super) fn head_len(fields: &HeaderMap) -> u64 {
    fields.iter().map(|(name, value)| (name.as_str().len() + value.len()) as u64).sum()
}

/// The status that gRPC puts into trailers, or into the only head of a response without messages.
pub(super) fn grpc_status(fields: &HeaderMap) -> Option<u16> {
    fields.get("grpc-status")?.to_str().ok()?.parse().ok()
}
