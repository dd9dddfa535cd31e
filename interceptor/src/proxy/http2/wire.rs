//! The socket under HTTP/2's library: gives it first what was read while the protocol was found out, and watches frames.
//!
//! One per TCP connection, client's or server's. Shares the socket and the meter with the connection's task, which asks
//! what went over it after the library is done.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::frames::{Allowance, Excess, Frames, GOAWAY, HEADERS, SETTINGS};
use crate::config::Http2;
use crate::net::buffer::Buffer;
use crate::net::side::{Side, Stream};
use crate::proxy::connect::ClientEntry;

/// The client's preface (RFC 9113, section 3.4).
const PREFACE: usize = 24;

/// Heads that a connection reads before other connections have their turn: of a few bytes HPACK makes as much as a head may
/// have.
const HEADS: u32 = 16;

/// A TCP connection that speaks HTTP/2.
pub(super) struct Wire {
    stream: Rc<Stream>,
    /// What was read before.
    early: Buffer,
    meter: Rc<Meter>,
    /// Which client the kernel shows to the application, as long as the connection lives.
    _client: Option<ClientEntry>,
}

/// What went over a connection.
pub(super) struct Meter {
    received: Cell<u64>,
    sent: Cell<u64>,
    frames: RefCell<Frames>,
    sent_frames: RefCell<Frames>,
    first: Cell<First>,
    leaving: Cell<bool>,
    allowance: Option<RefCell<Allowance>>,
    excess: Cell<Option<Excess>>,
    /// Heads that came since others last had their turn.
    heads: Cell<u32>,
}

/// What a server said first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    /// Nothing, or not enough.
    Nothing,
    /// Its SETTINGS, as a server of HTTP/2 does.
    Settings,
    /// Something else.
    Foreign,
}

impl Wire {
    /// The client's connection, whose frames are bounded.
    pub(super) fn of_client(side: Side, bounds: &Http2) -> (Self, Rc<Meter>, Rc<Stream>) {
        let allowance = RefCell::new(Allowance::new(bounds, Instant::now()));
        let meter = Rc::new(Meter::new(Frames::after(PREFACE), Some(allowance)));
        let stream = Rc::new(side.stream);
        let wire = Self { stream: Rc::clone(&stream), early: side.buffer, meter: Rc::clone(&meter), _client: None };
        (wire, meter, stream)
    }

    /// A connection to a server.
    pub(super) fn of_server(side: Side, client: Option<ClientEntry>) -> (Self, Rc<Meter>) {
        let meter = Rc::new(Meter::new(Frames::default(), None));
        let stream = Rc::new(side.stream);
        (Self { stream, early: side.buffer, meter: Rc::clone(&meter), _client: client }, meter)
    }

    /// Ready with what a write has said, unless it has to be tried again.
    fn wrote(&self, written: io::Result<usize>, parts: &[IoSlice<'_>]) -> Option<Poll<io::Result<usize>>> {
        match &written {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            Ok(count) => self.meter.wrote(*count, parts),
            Err(_) => {}
        }
        Some(Poll::Ready(written))
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.meter.excess.get().is_some() {
            // The connection's task looks for this next, and ends the connection.
            return Poll::Pending;
        }
        if self.meter.heads.get() > HEADS {
            self.meter.heads.set(0);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = into.filled().len();
        if self.early.is_empty() {
            loop {
                ready!(self.stream.poll_read_ready(cx))?;
                match self.stream.try_read_buf(into) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Poll::Ready(Err(error)),
                    Ok(_) => break,
                }
            }
        } else {
            let data = self.early.data();
            let count = data.len().min(into.remaining());
            into.put_slice(data.get(..count).unwrap_or_default());
            self.early.consume(count);
        }
        self.meter.read(into.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            if let Some(written) = self.wrote(self.stream.try_write(bytes), &[IoSlice::new(bytes)]) {
                return written;
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            if let Some(written) = self.wrote(self.stream.try_write_vectored(parts), parts) {
                return written;
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        use nix::sys::socket::{Shutdown, shutdown};
        // The peer may be gone already; then there is no one to tell.
        shutdown(std::os::fd::AsRawFd::as_raw_fd(&**self.stream), Shutdown::Write).ok();
        Poll::Ready(Ok(()))
    }
}

impl Meter {
    fn new(frames: Frames, allowance: Option<RefCell<Allowance>>) -> Self {
        Self {
            received: Cell::new(0),
            sent: Cell::new(0),
            frames: RefCell::new(frames),
            sent_frames: RefCell::default(),
            first: Cell::new(First::Nothing),
            leaving: Cell::new(false),
            allowance,
            excess: Cell::new(None),
            heads: Cell::new(0),
        }
    }

    fn read(&self, bytes: &[u8]) {
        self.received.set(self.received.get() + bytes.len() as u64);
        self.frames.borrow_mut().feed(bytes, |frame| {
            if self.first.get() == First::Nothing {
                self.first.set(if frame.kind == SETTINGS { First::Settings } else { First::Foreign });
            }
            match frame.kind {
                GOAWAY => self.leaving.set(true),
                HEADERS => self.heads.set(self.heads.get() + 1),
                _ => {}
            }
            if let Some(allowance) = &self.allowance
                && let Some(excess) = allowance.borrow_mut().frame(frame, Instant::now)
            {
                self.excess.set(Some(excess));
            }
        });
    }

    fn wrote(&self, mut count: usize, parts: &[IoSlice<'_>]) {
        self.sent.set(self.sent.get() + count as u64);
        let Some(allowance) = &self.allowance else { return };
        let (mut frames, mut allowance) = (self.sent_frames.borrow_mut(), allowance.borrow_mut());
        for part in parts {
            let written = part.get(..count.min(part.len())).unwrap_or_default();
            frames.feed(written, |frame| allowance.sent(frame));
            count -= written.len();
        }
    }

    /// Notes that the client's window let only so much of `waiting` bytes through.
    pub(super) fn cut(&self, part: usize, waiting: usize) {
        if let Some(allowance) = &self.allowance
            && let Some(excess) = allowance.borrow_mut().cut(part, waiting, Instant::now)
        {
            self.excess.set(Some(excess));
        }
    }

    /// Bytes that were read and written.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.received.get(), self.sent.get())
    }

    /// What the server said first.
    pub(super) fn first(&self) -> First {
        self.first.get()
    }

    /// The beginning of what a peer says that does not speak HTTP/2.
    pub(super) fn first_bytes(&self) -> [u8; 9] {
        *self.frames.borrow().last_head()
    }

    /// Whether the peer has announced its end (GOAWAY).
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.get()
    }

    /// What the client has done too much of. Nothing is read any more then.
    pub(super) fn excess(&self) -> Option<Excess> {
        self.excess.get()
    }
}
