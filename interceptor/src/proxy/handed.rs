//! A direction that was handed to the kernel: how far it has come, and when nothing of it is under way any more.
//!
//! The kernel has a queue between the two sockets that only it knows. Whoever ends, breaks or goes on with the direction
//! must wait for it to be empty: what the kernel was given must have been written to the receiver's socket.

use std::cell::RefCell;
use std::future::Future as _;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use interceptor_common::{SpliceFlow, SpliceState};
use tokio::time::{Instant, Sleep, sleep};

use crate::kernel::KernelSide;
use crate::net::side::Side;
use crate::sys;

/// Between two looks at a queue that is not empty: it grows, as what takes long takes long.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LAST_LOOK: Duration = Duration::from_millis(50);

/// Between two looks at whether the receiver is still there: the kernel says nothing when it throws bytes away.
const ALIVE_LOOK: Duration = Duration::from_millis(500);

/// A direction in the kernel's hands. Dropping it forgets it there.
pub(super) struct Handed<'a> {
    kernel: &'a RefCell<Box<dyn KernelSide>>,
    key: u64,
    /// What had been written to the receiver before.
    base: u64,
    timer: Pin<Box<Sleep>>,
    pause: Duration,
}

impl<'a> Handed<'a> {
    /// Hands the direction to the kernel. Everything that was read from `from` has been written to `to`.
    ///
    /// # Errors
    /// Where the kernel does not take it; nothing has changed then.
    pub(super) fn begin(kernel: &'a RefCell<Box<dyn KernelSide>>, from: &Side, to: &Side) -> io::Result<Self> {
        let base = written(to)?;
        let key = kernel.borrow_mut().splice(from.stream.as_fd(), to.stream.as_fd())?;
        Ok(Self { kernel, key, base, timer: Box::pin(sleep(ALIVE_LOOK)), pause: ALIVE_LOOK })
    }

    fn flow(&self) -> SpliceFlow {
        // An entry that is gone was never ours to begin with; what it said cannot be trusted.
        let lost = SpliceFlow { state: u32::MAX, ..SpliceFlow::default() };
        self.kernel.borrow().spliced(self.key).unwrap_or(lost)
    }

    /// Bytes that the kernel was given.
    pub(super) fn moved(&self) -> u64 {
        self.flow().redirected
    }

    /// An error if the kernel lost the order of the bytes: what it gave or gives back must not be passed on.
    pub(super) fn check(&self) -> io::Result<()> {
        match self.flow().state() {
            SpliceState::Broken => Err(io::Error::other("kernel splice could not keep the bytes in order")),
            _ => Ok(()),
        }
    }

    /// Ready with an error when the receiver is gone; looks from time to time.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>, to: &Side) -> Poll<io::Error> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if to.peer().is_none() {
                return Poll::Ready(io::ErrorKind::BrokenPipe.into());
            }
            self.rest(ALIVE_LOOK);
        }
    }

    /// Begins to wait for the queue.
    pub(super) fn drain(&mut self) {
        self.pause = FIRST_LOOK;
        self.rest(self.pause);
    }

    /// Ready when all that the kernel was given has been written to the receiver.
    pub(super) fn poll_drained(&mut self, cx: &mut Context<'_>, to: &Side) -> Poll<io::Result<()>> {
        loop {
            if written(to)?.wrapping_sub(self.base) >= self.moved() {
                return Poll::Ready(Ok(()));
            }
            if to.peer().is_none() {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            ready!(self.timer.as_mut().poll(cx));
            self.pause = LAST_LOOK.min(self.pause * 2);
            self.rest(self.pause);
        }
    }

    fn rest(&mut self, pause: Duration) {
        self.timer.as_mut().reset(Instant::now() + pause);
    }
}

impl Drop for Handed<'_> {
    fn drop(&mut self) {
        self.kernel.borrow_mut().end_splice(self.key);
    }
}

/// All that was ever written to a socket. Asked in this order it can only say too little: what is acknowledged between
/// the two questions is counted in neither.
fn written(side: &Side) -> io::Result<u64> {
    let acked = sys::acked_bytes(&side.stream)?;
    Ok(acked + u64::try_from(sys::unsent_bytes(&side.stream)?).unwrap_or_default())
}
