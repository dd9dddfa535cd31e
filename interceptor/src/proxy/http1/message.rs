//! One direction of an exchange: moves one message, head and body, from one side to the other as it arrives.
//!
//! Bytes go out as they came; lines may be added at two places of the head, or another head put in its place. Nothing is
//! collected: what was read is written before more is read.

use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::chunked::ChunkError;
use super::framing::Framing;
use crate::net::budget::Budget;
use crate::net::side::Side;
use crate::proxy::splice::Pipe;

/// Bytes of a body, still to come, from which a pipe costs less than it saves.
const SPLICE_FROM: u64 = 128 * 1024;

/// How a message could not be moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// Reading from the sender failed.
    #[error("reading: {0}")]
    Read(io::Error),
    /// Writing to the receiver failed.
    #[error("writing: {0}")]
    Write(io::Error),
    /// The sender ended before the body did.
    #[error("the body ended early")]
    Truncated,
    /// The sender's chunks break their grammar.
    #[error("{0}")]
    Chunk(#[from] ChunkError),
}

/// A message under way.
#[derive(Debug)]
pub struct Message {
    framing: Framing,
    /// Bytes at the front of the sender's buffer that may be written.
    ready: usize,
    /// How many of them (and of what was added) were written.
    written: usize,
    edits: Edits,
    /// Keep what was written in the buffer, to be able to write it again to another upstream.
    hold: bool,
    moved: u64,
    /// A long body may move by splice(2), with a pipe's descriptors from there.
    may_splice: Option<Rc<Budget>>,
    /// What it moves through.
    pipe: Option<Pipe>,
}

/// What is changed of a head: at most two places, in order.
pub type Edits = [Option<Edit>; 2];

/// Something put into a head, perhaps in the place of something else.
#[derive(Debug)]
pub struct Edit {
    /// Where, counted from the head's front.
    pub at: usize,
    /// How many bytes are left out there.
    pub skip: usize,
    /// What comes in their place.
    pub text: Box<[u8]>,
}

impl Message {
    /// The message whose head of `head_len` bytes is at the front of `from`'s buffer, with what has arrived of its body.
    ///
    /// # Errors
    /// Where that part of the body is broken already.
    pub fn new(from: &Side, head_len: usize, mut framing: Framing) -> Result<Self, ChunkError> {
        let body = framing.take(from.buffer.data().get(head_len..).unwrap_or_default())?;
        let ready = head_len + body;
        Ok(Self {
            framing,
            ready,
            written: 0,
            edits: Edits::default(),
            hold: false,
            moved: 0,
            may_splice: None,
            pipe: None,
        })
    }

    /// Lets a long body move by splice(2), which does not touch the bytes.
    pub fn allow_splice(&mut self, budget: &Rc<Budget>) {
        self.may_splice = Some(Rc::clone(budget));
    }

    /// Changes the head. Only before anything was written.
    pub fn edit(&mut self, edits: Edits) {
        self.edits = edits;
    }

    /// Whether all of it is in the buffer, so that it can be written again.
    pub fn is_buffered(&self) -> bool {
        self.framing.is_done()
    }

    /// Keeps what is written in the buffer until [`Message::release`]. Only for a message that is all there.
    pub fn hold(&mut self) {
        self.hold = true;
    }

    /// Whether all of it is still there to be written again.
    pub fn is_held(&self) -> bool {
        self.hold
    }

    /// How much of the sender's buffer is only kept.
    pub fn held(&self) -> usize {
        if self.hold { self.ready } else { 0 }
    }

    /// Lets go of what [`Message::hold`] kept.
    pub fn release(&mut self, from: &mut Side) {
        if self.hold {
            self.hold = false;
            if self.written == self.total() {
                self.consume(from);
            }
        }
    }

    /// Begins again, for another receiver: the last one, nothing is kept for a third.
    pub fn rewind(&mut self) {
        (self.written, self.hold) = (0, false);
    }

    /// Whether any of it was written to the receiver.
    pub fn has_begun(&self) -> bool {
        self.written > 0 || self.moved > 0
    }

    /// Whether all of it was written.
    pub fn is_done(&self) -> bool {
        self.framing.is_done() && self.written == self.total() && self.pipe.is_none()
    }

    /// Bytes taken from the sender: head and body as they came.
    pub fn moved(&self) -> u64 {
        self.moved + if self.hold { u64::try_from(self.ready).unwrap_or(u64::MAX) } else { 0 }
    }

    /// Moves what can be moved; ready when all of the message is written.
    ///
    /// # Errors
    /// Where either side fails or the body is broken.
    pub fn poll(&mut self, cx: &mut Context<'_>, from: &mut Side, to: &mut Side) -> Poll<Result<(), MoveError>> {
        loop {
            while self.written < self.total() {
                let count = ready!(self.poll_write(cx, from, to)).map_err(MoveError::Write)?;
                self.written += count;
            }
            if !self.hold {
                self.consume(from);
            }
            if self.pipe.is_some() {
                ready!(self.poll_splice(cx, from, to))?;
            }
            if self.framing.is_done() {
                return Poll::Ready(Ok(()));
            }
            if self.framing.unseen() >= SPLICE_FROM
                && from.buffer.is_empty()
                && let Some(budget) = self.may_splice.take()
            {
                self.pipe = Pipe::new(&budget);
                continue;
            }
            if from.buffer.is_empty() && ready!(from.poll_fill(cx)).map_err(MoveError::Read)? == 0 {
                if self.framing != Framing::UntilClose {
                    return Poll::Ready(Err(MoveError::Truncated));
                }
                self.framing = Framing::NONE;
                return Poll::Ready(Ok(()));
            }
            self.ready = self.framing.take(from.buffer.data())?;
        }
    }

    /// Moves the rest of the body, as far as nobody has to look at it.
    fn poll_splice(&mut self, cx: &mut Context<'_>, from: &mut Side, to: &mut Side) -> Poll<Result<(), MoveError>> {
        let Some(pipe) = &mut self.pipe else { return Poll::Ready(Ok(())) };
        loop {
            while pipe.len() > 0 {
                let count = ready!(pipe.poll_drain(cx, &to.stream)).map_err(MoveError::Write)?;
                let count = u64::try_from(count).unwrap_or(u64::MAX);
                self.moved += count;
                to.written += count;
            }
            let left = usize::try_from(self.framing.unseen()).unwrap_or(usize::MAX);
            if left == 0 {
                break;
            }
            let count = ready!(pipe.poll_fill(cx, &from.stream, left)).map_err(MoveError::Read)?;
            let passed = u64::try_from(count).unwrap_or(u64::MAX);
            self.framing.pass(passed);
            from.read += passed;
            if count == 0 {
                from.ended = true;
                break;
            }
        }
        self.pipe = None;
        Poll::Ready(Ok(()))
    }

    fn total(&self) -> usize {
        let edits = self.edits.iter().flatten();
        edits.fold(self.ready, |total, edit| (total + edit.text.len()).saturating_sub(edit.skip))
    }

    fn consume(&mut self, from: &mut Side) {
        from.buffer.consume(self.ready);
        self.moved += u64::try_from(self.ready).unwrap_or(u64::MAX);
        (self.ready, self.written, self.edits) = (0, 0, Edits::default());
    }

    fn poll_write(&self, cx: &mut Context<'_>, from: &Side, to: &mut Side) -> Poll<io::Result<usize>> {
        let data = from.buffer.data().get(..self.ready).unwrap_or_default();
        let count = match &self.edits {
            [None, None] => ready!(to.poll_write(cx, data.get(self.written..).unwrap_or_default()))?,
            edits => {
                let mut skip = self.written;
                let parts = pieces(data, edits).map(|part| {
                    let rest = part.get(skip..).unwrap_or_default();
                    skip = skip.saturating_sub(part.len());
                    IoSlice::new(rest)
                });
                ready!(to.poll_write_vectored(cx, &parts))?
            }
        };
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        Poll::Ready(Ok(count))
    }
}

/// What goes out: the data between the edits, and the edits' texts.
fn pieces<'p>(data: &'p [u8], edits: &'p Edits) -> [&'p [u8]; 5] {
    let mut from = 0;
    let mut piece = |edit: &'p Option<Edit>| match edit {
        Some(edit) => {
            let before = data.get(from..edit.at).unwrap_or_default();
            from = edit.at + edit.skip;
            [before, &edit.text]
        }
        None => [&[][..]; 2],
    };
    let ([a, b], [c, d]) = (piece(&edits[0]), piece(&edits[1]));
    [a, b, c, d, data.get(from..).unwrap_or_default()]
}
