//! Passes bytes between two sides unchanged until both directions have ended (rule R8). Half-closes and resets are passed
//! on as what they were.
//!
//! Starts by copying through the sides' buffers, which also holds what was read during detection. A direction that moves
//! much goes over to splice(2), which does not touch the bytes.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use super::Connection;
use super::connect::Upstream;
use super::error::io_reason;
use super::splice::Pipe;
use crate::config::Splice;
use crate::flow::{ErrorSide, TargetRecord};
use crate::net::side::Side;

/// Bytes that a direction has copied before it goes over to splice(2): short exchanges never pay for a pipe.
const SPLICE_AFTER: u64 = 64 * 1024;

/// One direction of a relayed connection.
#[derive(Debug, Default)]
struct Direction {
    moved: u64,
    pipe: Option<Pipe>,
    /// No pipe could be had, or none is wanted.
    copy_only: bool,
    ended: bool,
}

/// How a direction failed: on which end.
enum Broken {
    Reading(io::Error),
    Writing(io::Error),
}

/// Relays until both directions have ended. `target` is what `upstream` leads to.
pub(super) async fn relay(connection: &mut Connection, mut client: Side, upstream: Upstream, target: TargetRecord) {
    connection.record.target(target, &upstream);
    let copy_only = connection.context.settings.splice == Splice::Copy;
    let Upstream { side: mut server, .. } = upstream;
    let mut up = Direction { copy_only, ..Direction::default() };
    let mut down = Direction { copy_only, ..Direction::default() };
    let mut broken = None;
    poll_fn(|cx| {
        let ends = [
            (up.poll(cx, &mut client, &mut server), ErrorSide::Downstream, ErrorSide::Upstream),
            (down.poll(cx, &mut server, &mut client), ErrorSide::Upstream, ErrorSide::Downstream),
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
    connection.record.add_bytes(up.moved, down.moved);
    match broken {
        None => connection.record.ended("end_of_stream"),
        Some((side, error)) => {
            connection.record.failed(io_reason(side, &error), &format!("relaying: {error}"));
            // Whoever is still there learns that the other broke, not that it ended.
            tokio::join!(client.reset(), server.reset());
        }
    }
}

impl Direction {
    /// Moves what can be moved; ready when the direction has ended, in order or broken. Broken is told once.
    fn poll(&mut self, cx: &mut Context<'_>, from: &mut Side, to: &mut Side) -> Poll<Result<(), Broken>> {
        let moved = ready!(self.poll_move(cx, from, to));
        self.ended = true;
        self.pipe = None;
        Poll::Ready(moved)
    }

    fn poll_move(&mut self, cx: &mut Context<'_>, from: &mut Side, to: &mut Side) -> Poll<Result<(), Broken>> {
        while !self.ended {
            if self.pipe.is_some() {
                ready!(self.poll_splice(cx, from, to))?;
                continue;
            }
            while !from.buffer.is_empty() {
                let count = ready!(to.poll_write(cx, from.buffer.data())).map_err(Broken::Writing)?;
                if count == 0 {
                    return Poll::Ready(Err(Broken::Writing(io::ErrorKind::WriteZero.into())));
                }
                from.buffer.consume(count);
                self.moved += u64::try_from(count).unwrap_or(u64::MAX);
            }
            if self.moved >= SPLICE_AFTER && !self.copy_only && !from.ended {
                self.pipe = Pipe::new();
                self.copy_only = self.pipe.is_none();
                continue;
            }
            if ready!(from.poll_fill(cx)).map_err(Broken::Reading)? == 0 {
                self.end(to);
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_splice(&mut self, cx: &mut Context<'_>, from: &mut Side, to: &mut Side) -> Poll<Result<(), Broken>> {
        let Some(pipe) = &mut self.pipe else { return Poll::Ready(Ok(())) };
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

    fn end(&mut self, to: &mut Side) {
        self.ended = true;
        to.shutdown();
    }
}
