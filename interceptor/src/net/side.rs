//! One side of a proxied connection: a TCP stream and what was read from it.
//!
//! Poll functions only: one task drives both sides of a connection and is woken by either.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::buffer::{Buffer, BufferPool};

/// How long a peer may take to receive what was written before it is reset: a reset throws away what is still unsent.
const RESET_PATIENCE: Duration = Duration::from_secs(2);
const RESET_LOOK: Duration = Duration::from_millis(2);

/// A TCP stream with its read buffer.
#[derive(Debug)]
pub struct Side {
    /// The stream.
    pub stream: Stream,
    /// What was read and not yet passed on.
    pub buffer: Buffer,
    /// Whether the peer has ended its direction.
    pub ended: bool,
    /// Bytes that were read from the stream, whether they went through the buffer or not.
    pub read: u64,
    /// Bytes that were written to the stream, likewise.
    pub written: u64,
}

/// A TCP stream that the kernel would reset if the process died; dropping it ends it in order.
#[derive(Debug)]
pub struct Stream {
    inner: TcpStream,
    /// Whether it is closed with RST.
    broken: bool,
}

impl Deref for Stream {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.inner
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Where a bug has ended the task, the peer sees a broken connection as well.
        if !self.broken && !std::thread::panicking() {
            // Fails only on a socket that is closed already.
            super::socket::orderly(&self.inner).ok();
        }
    }
}

impl Side {
    /// Wraps a stream.
    pub fn new(stream: TcpStream, pool: &BufferPool) -> Self {
        let stream = Stream { inner: stream, broken: false };
        Self { stream, buffer: Buffer::new(pool), ended: false, read: 0, written: 0 }
    }

    /// Reads more into the buffer, as far as it has room. 0 bytes: the peer ended its direction.
    ///
    /// Takes memory from the pool only when there is something to read.
    ///
    /// # Errors
    /// What read(2) says; a full buffer is an error of the caller and reads as out of memory.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Ok(0));
        }
        if self.buffer.is_empty() {
            ready!(self.stream.poll_read_ready(cx))?;
        }
        let space = self.buffer.space();
        if space.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
        }
        let mut read = ReadBuf::new(space);
        let polled = Pin::new(&mut self.stream.inner).poll_read(cx, &mut read);
        let count = read.filled().len();
        self.buffer.filled(count);
        self.buffer.release();
        self.read += bytes(count);
        ready!(polled)?;
        self.ended = count == 0;
        Poll::Ready(Ok(count))
    }

    /// Writes as much as the socket takes.
    ///
    /// # Errors
    /// What write(2) says.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream.inner).poll_write(cx, bytes))?;
        self.written += self::bytes(count);
        Poll::Ready(Ok(count))
    }

    /// Writes as much as the socket takes of several slices, in one call.
    ///
    /// # Errors
    /// What writev(2) says.
    pub fn poll_write_vectored(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream.inner).poll_write_vectored(cx, parts))?;
        self.written += bytes(count);
        Poll::Ready(Ok(count))
    }

    /// Where in the stream the buffer's first byte was, bytes from its beginning.
    pub fn position(&self) -> u64 {
        self.read - bytes(self.buffer.len())
    }

    /// Ends our direction (FIN).
    pub fn shutdown(&mut self) {
        // The peer may be gone already; then there is no one to tell.
        nix::sys::socket::shutdown(
            std::os::fd::AsRawFd::as_raw_fd(&self.stream.inner),
            nix::sys::socket::Shutdown::Write,
        )
        .ok();
    }

    /// Closes with RST, so that the peer sees a broken connection, not an orderly end. What was written before is
    /// delivered first, as far as the peer takes it in time.
    pub async fn reset(mut self) {
        let begin = Instant::now();
        // After a reset by the peer the kernel still counts bytes as unsent, which nobody will ever take.
        let unsent =
            || self.peer().is_some() && crate::sys::unsent_bytes(&self.stream.inner).is_ok_and(|count| count > 0);
        while begin.elapsed() < RESET_PATIENCE && unsent() {
            sleep(RESET_LOOK).await;
        }
        // Fails only on a socket that is closed already.
        self.stream.set_zero_linger().ok();
        self.stream.broken = true;
    }

    /// The peer's address.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.stream.peer_addr().ok().map(super::socket::canonical)
    }
}

fn bytes(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
