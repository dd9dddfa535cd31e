//! Connects to an upstream from inside the workload's network namespace.
//!
//! Towards the application of an intercepted pod the agent binds the source first and says in the kernel which client is
//! behind it, so that the application sees the real client from accept() on.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use interceptor_common::{Client, ClientKey};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::error::{ConnectError, ConnectErrorKind};
use super::{Context, Shortage};
use crate::captured::Captured;
use crate::net::side::Side;
use crate::net::socket;
use crate::route::Direction;
use crate::sys;

/// An established connection to an upstream.
pub struct Upstream {
    /// The connection.
    pub side: Side,
    /// Who was dialled.
    pub address: SocketAddr,
    /// How long it took.
    pub took: Duration,
    /// Our own address; the far end that the application sees unless it asks.
    pub source: SocketAddr,
    /// Clients that it served and that have left.
    pub clients: u32,
    /// What the hooks know it by, where it leads to an application whose threads are followed.
    pub number: Option<u64>,
    client: Option<ClientEntry>,
}

impl Upstream {
    /// The connection and what has to live as long as it does.
    pub(super) fn into_parts(self) -> (Side, Option<ClientEntry>) {
        (self.side, self.client)
    }
}

/// Says in the kernel which client is behind a connection, until it is dropped.
pub(super) struct ClientEntry {
    context: Rc<Context>,
    key: ClientKey,
}

impl Drop for ClientEntry {
    fn drop(&mut self) {
        self.context.kernel.borrow_mut().remove_client(&self.key);
    }
}

/// Connects to `address` as the workload would.
///
/// # Errors
/// Where nobody answers in time, or the socket cannot be made.
pub async fn connect(context: &Rc<Context>, from: &Captured, address: SocketAddr) -> Result<Upstream, ConnectError> {
    dial(context, from, address, None).await
}

/// Connects to where a caller wanted to go: the original destination, or the application of this pod.
///
/// # Errors
/// As [`connect`].
pub async fn connect_original(
    context: &Rc<Context>,
    workload: &Captured,
    direction: Direction,
    original: SocketAddr,
    client: SocketAddr,
) -> Result<Upstream, ConnectError> {
    match direction {
        Direction::Outbound => connect(context, workload, original).await,
        Direction::Inbound => connect_application(context, workload, original, client).await,
    }
}

/// Connects to the application of this pod, which then sees `client` as its peer.
///
/// # Errors
/// As [`connect`].
async fn connect_application(
    context: &Rc<Context>,
    pod: &Captured,
    address: SocketAddr,
    client: SocketAddr,
) -> Result<Upstream, ConnectError> {
    dial(context, pod, address, Some(client)).await
}

async fn dial(
    context: &Rc<Context>,
    workload: &Captured,
    address: SocketAddr,
    client: Option<SocketAddr>,
) -> Result<Upstream, ConnectError> {
    let fail = |kind| ConnectError { address, kind };
    let begin = Instant::now();
    // The pod's own address is the one that was called: an application on 127.0.0.1 stays out of reach from outside.
    let source = client.map(|_| address.ip());
    let ours = |error: io::Error| match error.raw_os_error() {
        // From bind(2), to a port of the kernel's choice.
        Some(libc::EADDRINUSE) => fail(ConnectErrorKind::NoPort),
        _ => fail(ConnectErrorKind::Socket(error)),
    };
    let deadline = context.settings.connect_timeout;
    let socket = loop {
        match socket::upstream(&workload.netns, address, source) {
            Err(error) if Shortage::is_behind(&error) && begin.elapsed() < deadline => context.shortage.wait().await,
            made => break made.map_err(ours)?,
        }
    };
    let followed = client.is_some() && workload.threads.are_followed();
    let number = if followed { sys::socket_cookie(&socket).map_err(ours)? } else { 0 };
    let entry = match client {
        Some(client) => {
            let client = Client::new(client.into(), number);
            name_client(context, workload, socket.local_addr().map_err(ours)?, client)
        }
        None => None,
    };
    let number = entry.as_ref().map(|_| number).filter(|number| *number != 0);
    let stream = match timeout(deadline, socket.connect(address)).await {
        Err(_) => return Err(fail(ConnectErrorKind::TimedOut)),
        Ok(Err(error)) => {
            let kind = kind(error);
            if client.is_some() && matches!(kind, ConnectErrorKind::Refused) {
                workload.refused.store(true, Ordering::Relaxed);
            }
            return Err(fail(kind));
        }
        Ok(Ok(stream)) => stream,
    };
    let source = local(&stream).map_err(ours)?;
    let took = begin.elapsed();
    let side = Side::new(stream, &context.buffers);
    Ok(Upstream { side, address, took, source, clients: 0, number, client: entry })
}

fn local(stream: &TcpStream) -> io::Result<SocketAddr> {
    stream.local_addr().map(socket::canonical)
}

/// Without an entry (the map is full) the application sees the pod's own address; that is counted, not an error.
fn name_client(context: &Rc<Context>, workload: &Captured, source: SocketAddr, client: Client) -> Option<ClientEntry> {
    let key = ClientKey::new(workload.cookie, source.into());
    if context.kernel.borrow_mut().set_client(key, client) {
        return Some(ClientEntry { context: Rc::clone(context), key });
    }
    context.metrics.real_client_table_full();
    None
}

fn kind(error: io::Error) -> ConnectErrorKind {
    match error.kind() {
        // From connect(2): no port is left for that destination.
        io::ErrorKind::AddrNotAvailable => ConnectErrorKind::NoPort,
        io::ErrorKind::ConnectionRefused => ConnectErrorKind::Refused,
        io::ErrorKind::TimedOut => ConnectErrorKind::TimedOut,
        _ => ConnectErrorKind::Unreachable(error),
    }
}
