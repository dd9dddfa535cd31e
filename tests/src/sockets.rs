//! Sockets of a pod in the hands of a test: made by a process *inside* the pod, passed over a unix socket.
//!
//! The kernel ties a socket to the cgroup and network namespace in which it was made, so the hooks see such a socket as
//! the pod's, while the test has a plain `TcpStream` or `TcpListener`. [`Pod::connect`] and [`Pod::listen`] are for
//! tests; [`run`] is the other side, in the `pod` program.

use std::io::{IoSlice, IoSliceMut, Read as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType,
    SockaddrStorage, bind, listen, recvmsg, sendmsg, setsockopt, socket, sockopt,
};

use crate::place::Place;
use crate::{bins, sys};

/// A listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As applications have it.
    Plain,
    /// One of several on the same address (`SO_REUSEPORT`).
    Shared,
    /// `IPV6_V6ONLY`.
    V6Only,
    /// `IPPROTO_MPTCP`, as Go's standard library asks for.
    Mptcp,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Plain, Kind::Shared, Kind::V6Only, Kind::Mptcp];

    fn word(self) -> &'static str {
        match self {
            Kind::Plain => "listen",
            Kind::Shared => "listen-shared",
            Kind::V6Only => "listen-v6-only",
            Kind::Mptcp => "listen-mptcp",
        }
    }

    fn make(self, address: SocketAddr) -> nix::Result<OwnedFd> {
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let socket = match self {
            Kind::Mptcp => sys::mptcp_socket(address.is_ipv4())?,
            _ => socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, SockProtocol::Tcp)?,
        };
        setsockopt(&socket, sockopt::ReuseAddr, &true)?;
        match self {
            Kind::Shared => setsockopt(&socket, sockopt::ReusePort, &true)?,
            Kind::V6Only => setsockopt(&socket, sockopt::Ipv6V6Only, &true)?,
            Kind::Plain | Kind::Mptcp => {}
        }
        bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
        listen(&socket, Backlog::MAXCONN)?;
        Ok(socket)
    }
}

impl Place {
    /// Connects from here, through the hooks of this place's cgroup.
    pub fn connect(&self, to: SocketAddr) -> Result<TcpStream> {
        let what = || format!("connecting from {} to {to}", self.name());
        self.socket("dial", to).map(TcpStream::from).with_context(what)
    }

    /// Listens here; accepted connections belong to this place's cgroup.
    pub fn listen(&self, at: SocketAddr) -> Result<TcpListener> {
        self.listen_as(Kind::Plain, at)
    }

    /// Listens here with a socket of another kind.
    pub fn listen_as(&self, kind: Kind, at: SocketAddr) -> Result<TcpListener> {
        self.socket(kind.word(), at)
            .map(TcpListener::from)
            .with_context(|| format!("listening in {} on {at}", self.name()))
    }

    fn socket(&self, how: &str, address: SocketAddr) -> Result<OwnedFd> {
        let (ours, theirs) = UnixStream::pair().context("making a socket pair")?;
        let mut command = self.command(bins::pod()?, ["socket", how, &address.to_string()])?;
        command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().context("starting the process that makes the socket")?;
        // Otherwise our copy of its end would keep us waiting if it died.
        drop(command);
        let received = receive(&ours);
        let mut stderr = String::new();
        if let Some(mut pipe) = child.stderr.take() {
            pipe.read_to_string(&mut stderr).ok();
        }
        child.wait().context("waiting for the process that makes the socket")?;
        received?.with_context(|| format!("it said: {}", stderr.trim()))
    }
}

/// What `pod socket dial|listen ADDRESS` does: makes the socket and passes it over stdin.
pub fn run(how: &str, address: SocketAddr) -> Result<()> {
    let socket: OwnedFd = match how {
        "dial" => TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?.into(),
        other => {
            let kind = Kind::ALL.into_iter().find(|kind| kind.word() == other);
            let kind = kind.with_context(|| format!("unknown kind of socket {other:?}"))?;
            kind.make(address).with_context(|| format!("listening on {address}"))?
        }
    };
    let fds = [socket.as_raw_fd()];
    let stdin = std::io::stdin();
    sendmsg::<()>(
        stdin.as_fd().as_raw_fd(),
        &[IoSlice::new(b"!")],
        &[ControlMessage::ScmRights(&fds)],
        MsgFlags::empty(),
        None,
    )
    .context("passing the socket")?;
    Ok(())
}

/// The socket, or `None` if the other side ended without one.
fn receive(from: &UnixStream) -> Result<Option<OwnedFd>> {
    let mut byte = [0];
    let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
    let mut buffers = [IoSliceMut::new(&mut byte)];
    let message = recvmsg::<()>(from.as_raw_fd(), &mut buffers, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)
        .context("receiving the socket")?;
    for control in message.cmsgs().context("reading the control message")? {
        if let ControlMessageOwned::ScmRights(fds) = control
            && let Some(fd) = fds.first()
        {
            return Ok(Some(sys::own_received(*fd)));
        }
    }
    Ok(None)
}
