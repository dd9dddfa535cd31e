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

use anyhow::{Context as _, Result, bail};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use crate::place::Place;
use crate::{bins, sys};

impl Place {
    /// Connects from here, through the hooks of this place's cgroup.
    pub fn connect(&self, to: SocketAddr) -> Result<TcpStream> {
        let what = || format!("connecting from {} to {to}", self.name());
        self.socket("dial", to).map(TcpStream::from).with_context(what)
    }

    /// Listens here; accepted connections belong to this place's cgroup.
    pub fn listen(&self, at: SocketAddr) -> Result<TcpListener> {
        self.socket("listen", at)
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
        "listen" => TcpListener::bind(address).with_context(|| format!("binding {address}"))?.into(),
        other => bail!("unknown kind of socket {other:?}"),
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
