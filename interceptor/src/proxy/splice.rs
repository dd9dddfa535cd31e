//! A pipe for splice(2): bytes go from socket to socket inside the kernel.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::unistd::pipe2;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::net::budget::{Budget, Spare};

/// The size that is asked for. More lets a bulk transfer move in fewer calls; unprivileged pipes may have 1 MiB
/// (`fs.pipe-max-size`), and less is taken where the kernel says so.
const SIZE: usize = 512 * 1024;

/// A pipe and how much is in it.
#[derive(Debug)]
pub(super) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    filled: usize,
    _spare: Spare,
}

impl Pipe {
    /// A new pipe; `None` where there are no descriptors to spare, which is no reason to stop copying.
    pub(super) fn new(budget: &Rc<Budget>) -> Option<Self> {
        let spare = budget.spare(2)?;
        let (read, write) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).ok()?;
        // A smaller pipe only means more calls.
        fcntl(&write, FcntlArg::F_SETPIPE_SZ(i32::try_from(SIZE).ok()?)).ok();
        Some(Self { read, write, filled: 0, _spare: spare })
    }

    /// How many bytes are in it.
    pub(super) fn len(&self) -> usize {
        self.filled
    }

    /// Takes in what the socket has, at most `limit` bytes. 0: the peer ended its direction.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        limit: usize,
    ) -> Poll<io::Result<usize>> {
        let limit = limit.min(SIZE);
        loop {
            ready!(from.poll_read_ready(cx))?;
            let moved = from.try_io(Interest::READABLE, || Ok(splice(from, None, &self.write, None, limit, flags())?));
            match moved {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(count) => {
                    self.filled += count;
                    return Poll::Ready(Ok(count));
                }
            }
        }
    }

    /// Gives the socket what it takes.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>, to: &TcpStream) -> Poll<io::Result<usize>> {
        loop {
            ready!(to.poll_write_ready(cx))?;
            let moved = to.try_io(Interest::WRITABLE, || Ok(splice(&self.read, None, to, None, self.filled, flags())?));
            match moved {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    self.filled -= count.min(self.filled);
                    return Poll::Ready(Ok(count));
                }
            }
        }
    }
}

fn flags() -> SpliceFFlags {
    SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE
}
