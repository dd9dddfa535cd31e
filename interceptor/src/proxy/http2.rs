//! HTTP/2 with prior knowledge on one intercepted connection: each stream is routed, sent to its upstream and answered on
//! its own (rule R6).
//!
//! Entered by `proxy` once the first bytes are the preface. One task reads and writes the client's connection, one a stream
//! serves that stream, one an upstream connection drives it, all on the worker's thread. Frames, HPACK and windows are the
//! h2 crate's affair (docs/decisions/0012).

mod answer;
mod edits;
mod frames;
mod pump;
mod request;
mod stream;
mod upstreams;
mod wire;

pub(super) use answer::goodbye;

use std::cell::Cell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use tokio::net::TcpStream;
use tokio::task::{JoinSet, yield_now};
use tokio::time::timeout;

use self::upstreams::{Key, SEND_BUFFER, Upstreams};
use self::wire::{Meter, Wire};
use super::connect::{self, Upstream};
use super::error::{ConnectError, io_reason};
use super::routing::At;
use super::{Connection, Context};
use crate::captured::Captured;
use crate::config::Proxy;
use crate::flow::{ErrorSide, ProtocolFrom, TargetRecord};
use crate::net::budget::{Account, Held};
use crate::net::side::Side;
use crate::route::{Direction, ServiceRef};

/// How long a client may take to read our last words before the connection is closed under it.
const LINGER: Duration = Duration::from_secs(2);
/// How much it may still send meanwhile, bytes: what was under way to us when it was told to stop.
const LINGER_BYTES: usize = 1 << 20;

type ClientConnection = h2::server::Connection<Wire, Bytes>;

/// What the streams of one connection share.
struct Site {
    context: Rc<Context>,
    workload: Arc<Captured>,
    direction: Direction,
    client: SocketAddr,
    original: SocketAddr,
    /// The number of the client's connection.
    connection: u64,
    service: Option<ServiceRef>,
    protocol_from: ProtocolFrom,
    /// What is held for the workload's peers that do not keep up.
    account: Rc<Account>,
    /// What goes over the client's connection.
    meter: Rc<Meter>,
    /// Requests whose records were published.
    requests: Cell<u64>,
}

impl Site {
    async fn connect(&self, key: Key) -> Result<Upstream, ConnectError> {
        let Self { context, workload, direction, original, client, .. } = self;
        match key {
            Key::Original => connect::connect_original(context, workload, *direction, *original, *client).await,
            Key::Endpoint(address) => connect::connect(context, workload, address).await,
        }
    }

    /// Holds for a stream with a body what its sender may send while nobody takes it.
    fn hold_window(&self) -> Option<Held> {
        self.account.hold(self.context.settings.http2.stream_window as usize + SEND_BUFFER)
    }

    fn at(&self) -> At<'_> {
        let Self { context, workload, direction, original, client, .. } = self;
        At { context, workload, direction: *direction, original: *original, client: *client }
    }

    fn address(&self, key: Key) -> SocketAddr {
        match key {
            Key::Original => self.original,
            Key::Endpoint(address) => address,
        }
    }

    /// Where the caller wanted to go, for records.
    fn original_target(&self) -> TargetRecord {
        TargetRecord::original(self.direction, self.original, self.service.clone())
    }
}

/// How a client's connection ended.
enum End {
    /// In order; the word for the record.
    Ended(&'static str),
    /// The client broke it, or the protocol.
    Failed(h2::Error),
    /// The client did too much of something.
    Excess(frames::Excess),
}

/// Serves streams until the connection ends. `dialled` is a connection to the original destination that was made while the
/// protocol was not known.
pub(super) async fn serve(connection: &mut Connection, client: Side, dialled: Option<Upstream>) {
    let (wire, meter, socket) = Wire::of_client(client, &connection.context.settings.http2);
    let site = Rc::new(Site {
        context: Rc::clone(&connection.context),
        workload: Arc::clone(&connection.workload),
        direction: connection.direction,
        client: connection.client,
        original: connection.original,
        connection: connection.record.id(),
        service: connection.record.service(),
        protocol_from: connection.record.protocol_from(),
        account: Rc::clone(&connection.account),
        meter,
        requests: Cell::new(0),
    });
    let settings = &site.context.settings;
    let mut streams = JoinSet::new();
    let handshake = timeout(settings.head_timeout, builder(settings).handshake::<_, Bytes>(wire)).await;
    let end = match handshake {
        Err(_) => End::Ended("head_timeout"),
        Ok(Err(error)) => End::Failed(error),
        Ok(Ok(mut client)) => {
            let end = accept(&site, &mut client, &mut streams, dialled).await;
            if let End::Excess(_) = end {
                client.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                timeout(LINGER, poll_fn(|cx| client.poll_closed(cx))).await.ok();
            }
            end
        }
    };
    // Their handles tell them that the connection is gone; each record says so.
    let last_records = async { while streams.join_next().await.is_some() {} };
    timeout(LINGER, last_records).await.ok();
    streams.shutdown().await;
    let (received, sent) = site.meter.bytes();
    connection.record.served(site.requests.get(), received, sent);
    match end {
        End::Ended(reason) => return connection.record.ended(reason),
        End::Excess(excess) => connection.record.refused_excess(excess.reason(), excess.words()),
        End::Failed(error) => failed(connection, &error),
    }
    linger(&socket).await;
}

/// Starts a task for each stream until there are no more.
async fn accept(
    site: &Rc<Site>,
    client: &mut ClientConnection,
    streams: &mut JoinSet<()>,
    dialled: Option<Upstream>,
) -> End {
    let upstreams = Rc::new(Upstreams::new(Rc::clone(site), dialled));
    let mut stopping = site.context.stopping.clone();
    let mut is_stopping = false;
    loop {
        tokio::select! {
            biased;
            accepted = client.accept() => match accepted {
                None => return End::Ended(if is_stopping { "agent_stopping" } else { "end_of_stream" }),
                Some(Err(error)) => return End::Failed(error),
                Some(Ok((request, respond))) => {
                    let serving = stream::serve(Rc::clone(site), Rc::clone(&upstreams), request, respond);
                    streams.spawn_local(serving);
                }
            },
            excess = poll_fn(|_| site.meter.excess().map_or(Poll::Pending, Poll::Ready)) => return End::Excess(excess),
            Some(_) = streams.join_next(), if !streams.is_empty() => {}
            Ok(_) = stopping.wait_for(|stopping| *stopping), if !is_stopping => {
                is_stopping = true;
                client.graceful_shutdown();
            }
        }
    }
}

fn builder(settings: &Proxy) -> h2::server::Builder {
    let bounds = &settings.http2;
    let mut builder = h2::server::Builder::new();
    builder
        .max_concurrent_streams(bounds.max_concurrent_streams)
        .initial_window_size(bounds.stream_window)
        .initial_connection_window_size(bounds.connection_window)
        .max_header_list_size(u32::try_from(settings.max_head_bytes).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        // Resets are counted by the meter, which knows of time; what was read in one piece with one too many is still
        // looked at.
        .max_pending_accept_reset_streams(usize::try_from(bounds.max_resets).unwrap_or(usize::MAX).saturating_add(1024))
        .enable_connect_protocol();
    builder
}

/// Notes why a client's connection broke.
fn failed(connection: &mut Connection, error: &h2::Error) {
    let text = format!("HTTP/2 with the client: {error}");
    if let Some(io) = error.get_io() {
        return connection.record.failed(io_reason(ErrorSide::Downstream, io), &text);
    }
    match error.reason() {
        // The library's own bounds: CONTINUATION, header lists, tiny DATA, streams reset before they were looked at.
        Some(Reason::ENHANCE_YOUR_CALM) if error.is_library() => {
            connection.record.refused_excess("http2_excess", &text);
        }
        _ if error.is_remote() => connection.record.failed("client_goaway", &text),
        _ => connection.record.refused_excess("http2_protocol_error", &text),
    }
}

/// Reads on for a while after our direction has ended: closing with unread bytes would make the kernel send RST, and the
/// client could lose the GOAWAY that tells it why. One that sends on and on has not the worker to itself meanwhile, and is
/// not listened to for long.
async fn linger(socket: &TcpStream) {
    let mut unread = [0; 4096];
    let mut left = LINGER_BYTES;
    let drain = async {
        while left > 0 && socket.readable().await.is_ok() {
            match socket.try_read(&mut unread) {
                Ok(read @ 1..) => left = left.saturating_sub(read),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => return,
            }
            yield_now().await;
        }
    };
    timeout(LINGER, drain).await.ok();
}
