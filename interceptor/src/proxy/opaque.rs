//! Passes bytes between two sides unchanged until both directions have ended (rule R8). Half-closes and resets are passed
//! on as what they were.
//!
//! Starts by copying through the sides' buffers, which also holds what was read during detection. A direction that moves
//! much goes over to splice(2), which does not touch the bytes, or is handed to the kernel. Also what the self-test runs.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::timeout;

use super::Connection;
use super::connect::Upstream;
use super::drain::{Drain, Phase};
use super::error::io_reason;
use super::handed::Handed;
use super::splice::Pipe;
use crate::config::Splice;
use crate::flow::{ErrorSide, TargetRecord};
use crate::kernel::KernelSide;
use crate::metrics::{Metrics, SpliceEvent};
use crate::net::budget::Budget;
use crate::net::side::Side;

/// Bytes that a direction has copied before it goes over to splice(2): short exchanges never pay for a pipe.
pub(super) const SPLICE_AFTER: u64 = 64 * 1024;

/// How long what was sent before a reset may take to be delivered by the kernel.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// By what bytes may be moved.
#[derive(Clone, Copy)]
pub(super) struct Means<'a> {
    pub(super) splice: Splice,
    pub(super) kernel: &'a RefCell<Box<dyn KernelSide>>,
    pub(super) metrics: &'a Metrics,
    /// Bytes that a direction copies first.
    pub(super) after: u64,
    /// Whether the agent is about to end.
    pub(super) drain: &'a Drain,
    /// Where a pipe's descriptors come from.
    pub(super) budget: &'a Rc<Budget>,
}

/// What became of two directions.
pub(super) struct Moved {
    /// Bytes from the client to the server.
    pub(super) up: u64,
    /// Bytes from the server to the client.
    pub(super) down: u64,
    /// On which side it broke and how, if it did.
    pub(super) broken: Option<(ErrorSide, io::Error)>,
}

/// One direction of a relayed connection.
struct Direction<'a> {
    means: Means<'a>,
    moved: u64,
    way: Way<'a>,
    ended: bool,
}

/// How a direction moves.
enum Way<'a> {
    /// Through the buffer, until it has moved enough for more.
    Copy,
    /// Through the buffer to its end: no pipe could be had, or none is wanted.
    CopyOnly,
    Pipe(Pipe),
    Kernel(Handed<'a>),
    /// The kernel's queue runs empty before anything else is done.
    Draining(Handed<'a>, Then),
    /// Through the buffer to its end, from a socket that the kernel still looks at.
    Left(Handed<'a>),
}

/// What follows when the kernel's queue is empty.
enum Then {
    End,
    Copy,
    Fail(io::Error),
}

/// How a direction failed: on which end.
enum Broken {
    Reading(io::Error),
    Writing(io::Error),
}

/// Relays until both directions have ended. `target` is what `upstream` leads to.
pub(super) async fn relay(connection: &mut Connection, mut client: Side, upstream: Upstream, target: TargetRecord) {
    connection.record.target(target, &upstream);
    let context = &connection.context;
    let (splice, drain, budget) = (context.settings.splice, &context.drain, &context.budget);
    let means =
        Means { splice, kernel: &context.kernel, metrics: &context.metrics, after: SPLICE_AFTER, drain, budget };
    let Upstream { side: mut server, .. } = upstream;
    let moved = pump(means, &mut client, &mut server).await;
    connection.record.add_bytes(moved.up, moved.down);
    match moved.broken {
        None => connection.record.ended("end_of_stream"),
        Some((side, error)) => {
            let reason = if side == ErrorSide::Agent { "drain_timeout" } else { io_reason(side, &error) };
            connection.record.failed(reason, &format!("relaying: {error}"));
            // Whoever is still there learns that the other broke, not that it ended.
            tokio::join!(client.reset(), server.reset());
        }
    }
}

/// Moves bytes both ways until both directions have ended or one has broken.
pub(super) async fn pump(means: Means<'_>, client: &mut Side, server: &mut Side) -> Moved {
    let mut up = Direction::new(means);
    let mut down = Direction::new(means);
    let mut broken = None;
    poll_fn(|cx| {
        if means.drain.phase() == Phase::Over {
            broken.get_or_insert((ErrorSide::Agent, io::Error::other("drain_timeout is over, the agent ends")));
            return Poll::Ready(());
        }
        let ends = [
            (up.poll(cx, client, server), ErrorSide::Downstream, ErrorSide::Upstream),
            (down.poll(cx, server, client), ErrorSide::Upstream, ErrorSide::Downstream),
        ];
        let mut over = true;
        for (end, from, to) in ends {
            match end {
                Poll::Pending => over = false,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(Broken::Reading(error))) => {
                    broken.get_or_insert((from, error));
                    return Poll::Ready(());
                }
                // A server may answer and close without reading on: what it said is still passed on.
                Poll::Ready(Err(Broken::Writing(error))) => _ = broken.get_or_insert((to, error)),
            }
        }
        if over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    if broken.is_some() {
        // What one side said before the other broke is under way in the kernel, as it would be in a socket.
        let last = poll_fn(|cx| {
            let drained = [up.poll_last_words(cx, server), down.poll_last_words(cx, client)];
            if drained.iter().all(Poll::is_ready) { Poll::Ready(()) } else { Poll::Pending }
        });
        // Nobody waits for ever for a peer that does not read.
        timeout(LAST_WORDS, last).await.ok();
    }
    Moved { up: up.total(), down: down.total(), broken }
}

impl<'a> Direction<'a> {
    fn new(means: Means<'a>) -> Self {
        let way = if means.splice == Splice::Copy { Way::CopyOnly } else { Way::Copy };
        Self { means, moved: 0, way, ended: false }
    }

    /// Moves what can be moved; ready when the direction has ended, in order or broken. Broken is told once.
    fn poll(&mut self, cx: &mut Context<'_>, from: &mut Side, to: &mut Side) -> Poll<Result<(), Broken>> {
        let moved = ready!(self.poll_move(cx, from, to));
        self.ended = true;
        if let Way::Pipe(_) = self.way {
            self.way = Way::CopyOnly;
        }
        Poll::Ready(moved)
    }

    fn poll_move(&mut self, cx: &mut Context<'_>, from: &mut Side, to: &mut Side) -> Poll<Result<(), Broken>> {
        while !self.ended {
            match &self.way {
                Way::Copy | Way::CopyOnly | Way::Left(_) => ready!(self.poll_copy(cx, from, to))?,
                Way::Pipe(_) => ready!(self.poll_splice(cx, from, to))?,
                Way::Kernel(_) => ready!(self.poll_kernel(cx, from, to))?,
                Way::Draining(..) => ready!(self.poll_drain(cx, to))?,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// One buffer's worth, or on to a better way.
    fn poll_copy(&mut self, cx: &mut Context<'_>, from: &mut Side, to: &mut Side) -> Poll<Result<(), Broken>> {
        if let Way::Left(handed) = &self.way {
            handed.check().map_err(Broken::Reading)?;
        }
        while !from.buffer.is_empty() {
            let count = ready!(to.poll_write(cx, from.buffer.data())).map_err(Broken::Writing)?;
            if count == 0 {
                return Poll::Ready(Err(Broken::Writing(io::ErrorKind::WriteZero.into())));
            }
            from.buffer.consume(count);
            self.moved += u64::try_from(count).unwrap_or(u64::MAX);
        }
        let upgrade = self.moved >= self.means.after && matches!(self.way, Way::Copy) && !from.ended;
        if upgrade && self.means.splice != Splice::Kernel {
            self.way = Pipe::new(self.means.budget).map_or(Way::CopyOnly, Way::Pipe);
            return Poll::Ready(Ok(()));
        }
        match from.poll_fill(cx) {
            // Only now: with nothing left to read, no segment is half read.
            Poll::Pending if upgrade => {
                self.hand_over(from, to);
                Poll::Ready(Ok(()))
            }
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(0)) => {
                self.end(to);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(Broken::Reading(error))),
        }
    }

    fn hand_over(&mut self, from: &Side, to: &Side) {
        match Handed::begin(self.means.kernel, from, to) {
            Ok(handed) => {
                self.means.metrics.kernel_splice(SpliceEvent::Handed);
                self.way = Way::Kernel(handed);
            }
            Err(error) => {
                tracing::debug!(%error, "a direction stays with splice(2)");
                self.means.metrics.kernel_splice(SpliceEvent::Refused);
                self.way = Pipe::new(self.means.budget).map_or(Way::CopyOnly, Way::Pipe);
            }
        }
    }

    fn poll_splice(&mut self, cx: &mut Context<'_>, from: &mut Side, to: &mut Side) -> Poll<Result<(), Broken>> {
        let Way::Pipe(pipe) = &mut self.way else { return Poll::Ready(Ok(())) };
        loop {
            while pipe.len() > 0 {
                let count = ready!(pipe.poll_drain(cx, &to.stream)).map_err(Broken::Writing)?;
                self.moved += u64::try_from(count).unwrap_or(u64::MAX);
            }
            if ready!(pipe.poll_fill(cx, &from.stream, usize::MAX)).map_err(Broken::Reading)? == 0 {
                from.ended = true;
                self.end(to);
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Waits for what the kernel does not do itself: ends, breaks, and bytes for a receiver that does not keep up.
    fn poll_kernel(&mut self, cx: &mut Context<'_>, from: &mut Side, to: &mut Side) -> Poll<Result<(), Broken>> {
        let Way::Kernel(handed) = &mut self.way else { return Poll::Ready(Ok(())) };
        let then = match from.poll_fill(cx) {
            Poll::Pending => return handed.poll_gone(cx, to).map(|error| Err(Broken::Writing(error))),
            Poll::Ready(Ok(0)) => Then::End,
            Poll::Ready(Ok(_)) => {
                self.means.metrics.kernel_splice(SpliceEvent::Left);
                Then::Copy
            }
            Poll::Ready(Err(error)) => Then::Fail(error),
        };
        handed.drain();
        if let Way::Kernel(handed) = std::mem::replace(&mut self.way, Way::CopyOnly) {
            self.way = Way::Draining(handed, then);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>, to: &mut Side) -> Poll<Result<(), Broken>> {
        let Way::Draining(handed, then) = &mut self.way else { return Poll::Ready(Ok(())) };
        if !matches!(then, Then::Fail(_)) {
            ready!(handed.poll_drained(cx, to)).map_err(Broken::Writing)?;
            handed.check().map_err(Broken::Reading)?;
        }
        match std::mem::replace(&mut self.way, Way::CopyOnly) {
            Way::Draining(handed, Then::Copy) => self.way = Way::Left(handed),
            Way::Draining(handed, Then::End) => {
                self.way = Way::Left(handed);
                self.end(to);
            }
            Way::Draining(handed, Then::Fail(error)) => {
                self.way = Way::Left(handed);
                return Poll::Ready(Err(Broken::Reading(error)));
            }
            other => self.way = other,
        }
        Poll::Ready(Ok(()))
    }

    /// After a break: ready when nothing of this direction is under way in the kernel.
    fn poll_last_words(&mut self, cx: &mut Context<'_>, to: &Side) -> Poll<()> {
        match &mut self.way {
            Way::Kernel(handed) | Way::Draining(handed, _) | Way::Left(handed) => {
                handed.drain();
                handed.poll_drained(cx, to).map(drop)
            }
            Way::Copy | Way::CopyOnly | Way::Pipe(_) => Poll::Ready(()),
        }
    }

    /// Bytes that went this way, by whatever means.
    fn total(&self) -> u64 {
        match &self.way {
            Way::Kernel(handed) | Way::Draining(handed, _) | Way::Left(handed) => self.moved + handed.moved(),
            Way::Copy | Way::CopyOnly | Way::Pipe(_) => self.moved,
        }
    }

    fn end(&mut self, to: &mut Side) {
        self.ended = true;
        to.shutdown();
    }
}
