//! Lists and closes TCP connections of a network namespace over netlink (sock_diag(7)), as `ss` and `ss -K` do.
//!
//! `capture` closes with it what was connected before it was captured, looks who listened before, and which connections of a
//! dead predecessor are over; `preflight` tries it on a connection of its own.
//! Blocking, with a deadline for every answer: not for the threads that serve. It decides nothing: whoever calls chooses
//! the connections. Two messages are all it speaks; the crates for the whole protocol do not read the cgroup.

mod message;

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, socket,
    sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use message::{Answer, Answers};

/// For each part of the kernel's answer. It answers from memory; this bounds only what should not happen.
const PATIENCE_SECONDS: i64 = 2;

/// For the connection over loopback that [`probe`] makes.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);

/// The most that the kernel puts into one part of an answer.
const PART: usize = 32 * 1024;

/// Which connections are listed: sockets of IPv4, or of IPv6 with those that speak IPv4 through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `AF_INET`.
    V4,
    /// `AF_INET6`.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];
}

/// An established TCP connection, as one socket of it sees it.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The socket's own address; v4-mapped ones as IPv4.
    pub local: SocketAddr,
    /// The far end; v4-mapped ones as IPv4.
    pub remote: SocketAddr,
    /// The identifier of the cgroup v2 directory in which the socket was made; `None` where the kernel does not say.
    pub cgroup: Option<u64>,
    /// Of a listening socket: whether it is `IPV6_V6ONLY`.
    v6_only: bool,
    family: u8,
    /// The kernel's own name of the socket, given back as it came. It holds a cookie: no other socket is ever meant.
    id: message::SocketId,
}

/// The kernel did not list or close connections.
#[derive(Debug, thiserror::Error)]
pub enum DiagError {
    /// No socket for asking.
    #[error("opening a sock_diag socket: {0}")]
    Open(io::Error),
    /// No list.
    #[error("listing TCP connections over sock_diag: {}", explain(*.0))]
    List(Errno),
    /// A connection that stayed.
    #[error("closing a TCP connection over sock_diag: {}", explain(*.0))]
    Destroy(Errno),
    /// The answer is not what the kernel's headers say.
    #[error("the kernel's sock_diag answer is cut off or malformed")]
    Malformed,
    /// [`probe`] had nothing to try it on.
    #[error("making a connection over loopback to try sock_diag on: {0}")]
    Pair(io::Error),
    /// [`probe`]'s own connection was not in the list.
    #[error("the kernel's list of TCP connections lacks one that was just made, or its cgroup")]
    NotListed,
}

fn explain(errno: Errno) -> String {
    let hint = match errno {
        Errno::EOPNOTSUPP => "; the kernel was built without CONFIG_INET_DIAG_DESTROY",
        Errno::ENOENT => "; the kernel has no tcp_diag (CONFIG_INET_TCP_DIAG, or modprobe tcp_diag)",
        Errno::EPERM => "; it needs CAP_NET_ADMIN",
        _ => "",
    };
    format!("{}{hint}", errno.desc())
}

/// A netlink socket of one network namespace: that of the thread that opened it.
#[derive(Debug)]
pub struct SockDiag {
    socket: OwnedFd,
}

impl SockDiag {
    /// Opens it in the calling thread's network namespace, where it stays.
    ///
    /// # Errors
    /// Where the kernel has no netlink, or refuses another socket.
    pub fn open() -> Result<Self, DiagError> {
        let open = || {
            let flags = SockFlag::SOCK_CLOEXEC;
            let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkSockDiag)?;
            bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
            setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(PATIENCE_SECONDS))?;
            Ok(Self { socket })
        };
        open().map_err(|errno: Errno| DiagError::Open(errno.into()))
    }

    /// Shows every established connection of a family to `visit`.
    ///
    /// # Errors
    /// Where the kernel has no tcp_diag, or does not answer in time.
    pub fn established(&self, family: Family, mut visit: impl FnMut(Connection)) -> Result<(), DiagError> {
        self.list(family, message::ESTABLISHED, &mut visit)
    }

    /// Shows the own address of every connection of a family to `visit` that is not over, in whatever state it is.
    ///
    /// # Errors
    /// As for [`established`](Self::established).
    pub fn in_use(&self, family: Family, mut visit: impl FnMut(SocketAddr)) -> Result<(), DiagError> {
        self.list(family, message::IN_USE, &mut |socket| visit(socket.local))
    }

    /// Shows the address of every listening socket of a family to `visit`, and whether it takes IPv6 only.
    ///
    /// # Errors
    /// As for [`established`](Self::established).
    pub fn listening(&self, family: Family, mut visit: impl FnMut(SocketAddr, bool)) -> Result<(), DiagError> {
        self.list(family, message::LISTENING, &mut |socket| visit(socket.local, socket.v6_only))
    }

    fn list(&self, family: Family, states: u32, visit: &mut impl FnMut(Connection)) -> Result<(), DiagError> {
        let family = match family {
            Family::V4 => libc::AF_INET,
            Family::V6 => libc::AF_INET6,
        };
        let family = u8::try_from(family).unwrap_or_default();
        self.ask(&message::list(family, states)).map_err(DiagError::List)?;
        let mut part = vec![0; PART];
        loop {
            let length = self.receive(&mut part).map_err(DiagError::List)?;
            for answer in Answers::new(part.get(..length).ok_or(DiagError::Malformed)?) {
                match answer? {
                    Answer::Connection(connection) => visit(connection),
                    Answer::Done => return Ok(()),
                    Answer::Error(errno) => return Err(DiagError::List(errno)),
                    Answer::Other => {}
                }
            }
        }
    }

    /// Closes a connection: its owner sees `ECONNABORTED`, the far end a reset. False where it is gone already.
    ///
    /// # Errors
    /// Where the kernel was built without this, or refuses it.
    pub fn destroy(&self, connection: &Connection) -> Result<bool, DiagError> {
        self.ask(&message::destroy(connection.family, &connection.id)).map_err(DiagError::Destroy)?;
        let mut part = [0; 1024];
        let length = self.receive(&mut part).map_err(DiagError::Destroy)?;
        for answer in Answers::new(part.get(..length).ok_or(DiagError::Malformed)?) {
            match answer? {
                Answer::Done => return Ok(true),
                Answer::Error(Errno::ENOENT) => return Ok(false),
                Answer::Error(errno) => return Err(DiagError::Destroy(errno)),
                Answer::Connection(_) | Answer::Other => {}
            }
        }
        Err(DiagError::Malformed)
    }

    fn ask(&self, request: &[u8]) -> Result<(), Errno> {
        send(self.socket.as_raw_fd(), request, MsgFlags::empty()).map(drop)
    }

    fn receive(&self, into: &mut [u8]) -> Result<usize, Errno> {
        loop {
            match recv(self.socket.as_raw_fd(), into, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Err(Errno::ETIMEDOUT),
                other => return other,
            }
        }
    }
}

/// Tries on a connection of this process's own, over loopback, whether this kernel lists and closes connections.
///
/// # Errors
/// Why it does not.
pub fn probe() -> Result<(), DiagError> {
    let pair = || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        // Where loopback is down nothing would answer for minutes.
        let client = TcpStream::connect_timeout(&listener.local_addr()?, PROBE_PATIENCE)?;
        let accepted = listener.accept()?.0;
        Ok((client.local_addr()?, client, accepted))
    };
    let (local, client, _accepted) = pair().map_err(DiagError::Pair)?;
    let diag = SockDiag::open()?;
    let mut own = None;
    diag.established(Family::V4, |connection| {
        if connection.local == local {
            own = Some(connection);
        }
    })?;
    let own = own.filter(|connection| connection.cgroup.is_some()).ok_or(DiagError::NotListed)?;
    let closed = diag.destroy(&own)?;
    if closed && client.take_error().is_ok_and(|error| error.is_some()) { Ok(()) } else { Err(DiagError::NotListed) }
}

#[cfg(test)]
mod tests;
