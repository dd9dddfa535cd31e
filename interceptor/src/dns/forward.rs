//! One client socket's way to the server it meant: datagrams go out and come back with their bytes as they are.
//!
//! A client port has a port of its own toward the server, chosen by the kernel, so that answers stay as hard to guess as
//! without us. What the server has not answered is remembered only so that its refusal can be told.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use nix::sys::socket::{MsgFlags, recv, send};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::Place;
use super::answer::server_failure;

/// Queries of one client socket that wait for the server; beyond that the oldest is not waited for.
const WAITING: usize = 32;
/// How long a server has: longer than any resolver waits before it asks anew.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a client socket whose queries are all answered keeps its way to the server.
const LINGER: Duration = Duration::from_secs(2);
/// A message's identifier, at its beginning.
const ID: usize = 2;

/// The way of one client socket.
pub(super) struct Way {
    upstream: UdpSocket,
    waiting: RefCell<VecDeque<Vec<u8>>>,
}

/// What came back from the server.
pub(super) enum Back {
    /// That many bytes of the shared buffer.
    Response(usize),
    /// The server is not there: what its clients are told instead.
    Refused(Vec<Vec<u8>>),
    /// Nothing for so long that the way is given up.
    Silence,
}

impl Way {
    /// A socket in the workload's network namespace, connected to the server.
    pub(super) fn open(place: &Place) -> io::Result<Self> {
        let any = if place.server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = place.workload.netns.enter(|| std::net::UdpSocket::bind(SocketAddr::new(any, 0)))??;
        socket.connect(place.server)?;
        socket.set_nonblocking(true)?;
        Ok(Self { upstream: UdpSocket::from_std(socket)?, waiting: RefCell::default() })
    }

    /// Sends a query on.
    pub(super) fn send(&self, query: &[u8]) -> io::Result<()> {
        // Not through the runtime, which does not know yet that a new socket takes anything.
        let sent = || send(self.upstream.as_raw_fd(), query, MsgFlags::MSG_DONTWAIT);
        // A refusal of an earlier query may be told here; this one is sent all the same.
        if sent().is_err() {
            sent()?;
        }
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= WAITING {
            waiting.pop_front();
        }
        waiting.push_back(query.to_vec());
        Ok(())
    }

    /// Whether every query is answered.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    /// Waits for what comes back next.
    pub(super) async fn receive(&self, place: &Place) -> Back {
        loop {
            let patience = if self.is_idle() { LINGER } else { PATIENCE };
            // A refusal makes a datagram socket ready for its error only.
            let ready = timeout(patience, self.upstream.ready(Interest::READABLE | Interest::ERROR)).await;
            let Ok(ready) = ready else { return Back::Silence };
            let interest =
                if ready.is_ok_and(|ready| ready.is_readable()) { Interest::READABLE } else { Interest::ERROR };
            let mut datagram = place.context.datagram.borrow_mut();
            let receive = || Ok(recv(self.upstream.as_raw_fd(), &mut datagram, MsgFlags::MSG_DONTWAIT)?);
            match self.upstream.try_io(interest, receive) {
                Ok(length) => {
                    self.answered(datagram.get(..length.min(ID)).unwrap_or_default());
                    return Back::Response(length);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => {
                    let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
                    return Back::Refused(waiting.iter().filter_map(|query| server_failure(query)).collect());
                }
            }
        }
    }

    fn answered(&self, id: &[u8]) {
        let mut waiting = self.waiting.borrow_mut();
        if let Some(at) = waiting.iter().position(|query| query.starts_with(id)) {
            waiting.remove(at);
        }
    }
}
