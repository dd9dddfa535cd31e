//! Finds out what a connection speaks, without making a server that speaks first wait.
//!
//! Where nothing is declared, the original destination is dialled at once: if it speaks before the client does, the
//! connection is opaque. The connection that was dialled is used further where it can be. One deadline in all.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Connection;
use super::classify::{Class, classify};
use super::connect::Upstream;
use super::error::ConnectError;
use crate::flow::{Protocol, ProtocolFrom};
use crate::net::side::Side;

/// How long a client of a port that is declared HTTP may be silent before the server is dialled after all: ports are
/// misnamed, and a server that speaks first must not be waited for. Real HTTP clients send at once.
const SILENCE: Duration = Duration::from_millis(100);

/// How long the client of a destination that cannot be reached has for showing that it speaks HTTP, which may be routed
/// elsewhere. Then it learns of the failure.
const GRACE: Duration = Duration::from_millis(50);

/// What a connection turned out to be.
pub(super) enum Detected {
    Http1,
    Http2,
    Opaque,
    /// The original destination cannot be reached and the client does not speak HTTP.
    Unreachable(ConnectError),
    /// The client's connection broke.
    Broken(io::Error),
    /// The client's first line is longer than can be held for it at the moment.
    Crowded,
}

/// What came first.
enum First {
    Class(Class),
    Server,
    Ended,
    Broken(io::Error),
    Crowded,
}

/// Detects the protocol. Gives back the client's side with what it sent, and the original destination's if it was dialled.
pub(super) async fn detect(connection: &mut Connection, mut client: Side) -> (Detected, Side, Option<Upstream>) {
    let declared = connection.declared();
    if declared == Some(Protocol::Opaque) {
        connection.record.protocol(Protocol::Opaque, ProtocolFrom::Declared);
        return (Detected::Opaque, client, None);
    }
    let mut upstream = None;
    let mut first = match declared.is_some() || connection.context.speaks_http(connection.original) {
        true => timeout(SILENCE, wait(connection, &mut client, None)).await.ok(),
        // What is there already may spare the dial.
        false => now(wait(connection, &mut client, None)).await,
    };
    if first.is_none() {
        match (dial(connection, &mut client, &mut first).await, &first) {
            (Some(Ok(dialled)), _) => upstream = Some(dialled),
            (Some(Err(_)), Some(First::Class(Class::Http1 | Class::Http2))) | (None, _) => {}
            (Some(Err(error)), Some(_)) => {
                if let Some(known) = first {
                    conclude(connection, known);
                }
                return (Detected::Unreachable(error), client, None);
            }
            (Some(Err(error)), None) => match timeout(GRACE, wait(connection, &mut client, None)).await {
                Ok(First::Class(class @ (Class::Http1 | Class::Http2))) => first = Some(First::Class(class)),
                _ => return (Detected::Unreachable(error), client, None),
            },
        }
    }
    let first = match first {
        Some(first) => first,
        None => until_deadline(connection, &mut client, upstream.as_mut()).await,
    };
    // A server that has greeted as HTTP/2 does not answer HTTP/1.
    let first = match (first, &upstream) {
        (First::Class(Class::Http1), Some(upstream)) if !upstream.side.buffer.is_empty() => First::Server,
        (first, _) => first,
    };
    let detected = conclude(connection, first);
    (detected, client, upstream)
}

/// Dials the original destination while the client may speak; what it says goes to `first`. `None` when the client is
/// gone, or speaks HTTP and the dial takes long.
///
/// A dial that has begun is seen through where it can be: cut off, it would show the server a connection that comes and
/// goes without a word.
async fn dial(
    connection: &Connection,
    client: &mut Side,
    first: &mut Option<First>,
) -> Option<Result<Upstream, ConnectError>> {
    let mut dialling = pin!(connection.connect_original());
    loop {
        tokio::select! {
            biased;
            dialled = &mut dialling => return Some(dialled),
            known = wait(connection, client, None), if first.is_none() => match first.insert(known) {
                First::Broken(_) | First::Crowded => return None,
                First::Class(Class::Http1 | Class::Http2) => return timeout(GRACE, dialling).await.ok(),
                _ => {}
            },
        }
    }
}

/// What a future gives without waiting.
async fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn conclude(connection: &mut Connection, first: First) -> Detected {
    let (protocol, from) = match first {
        First::Class(Class::Http1) => (Protocol::Http1, ProtocolFrom::ClientBytes),
        First::Class(Class::Http2) => (Protocol::Http2, ProtocolFrom::ClientBytes),
        First::Class(Class::Tls) => (Protocol::Tls, ProtocolFrom::ClientBytes),
        First::Class(Class::Opaque) => (Protocol::Opaque, ProtocolFrom::ClientBytes),
        First::Class(Class::Unknown) => (Protocol::Opaque, ProtocolFrom::Deadline),
        First::Server => (Protocol::Opaque, ProtocolFrom::ServerFirst),
        // It may have ended only its own direction, and wait for a server that speaks first.
        First::Ended => (Protocol::Opaque, ProtocolFrom::Nothing),
        First::Broken(error) => return Detected::Broken(error),
        First::Crowded => return Detected::Crowded,
    };
    connection.record.protocol(protocol, from);
    let detected = match protocol {
        Protocol::Http1 => Detected::Http1,
        Protocol::Http2 => Detected::Http2,
        _ => return Detected::Opaque,
    };
    connection.context.learn_http(connection.original);
    detected
}

/// A client that has begun to say something ambiguous is waited for until the deadline; a silent one without a limit, as
/// it would be without us.
async fn until_deadline(connection: &Connection, client: &mut Side, mut upstream: Option<&mut Upstream>) -> First {
    if client.buffer.is_empty() {
        let begun = poll_fn(|cx| poll_begun(cx, client, upstream.as_deref_mut())).await;
        if let Some(first) = begun {
            return first;
        }
    }
    tokio::select! {
        biased;
        first = wait(connection, client, upstream) => first,
        () = sleep(connection.context.settings.detect_timeout) => First::Class(Class::Unknown),
    }
}

/// Ready with `None` when the client has sent something.
fn poll_begun(
    cx: &mut std::task::Context<'_>,
    client: &mut Side,
    upstream: Option<&mut Upstream>,
) -> Poll<Option<First>> {
    if let Poll::Ready(filled) = client.poll_fill(cx) {
        return Poll::Ready(match filled {
            Ok(0) => Some(First::Ended),
            Ok(_) => None,
            Err(error) => Some(First::Broken(error)),
        });
    }
    poll_server(cx, upstream).map(Some)
}

/// Waits until the client's bytes are recognised or the server speaks.
async fn wait(connection: &Connection, client: &mut Side, mut upstream: Option<&mut Upstream>) -> First {
    let limit = connection.context.settings.max_head_bytes;
    poll_fn(|cx| {
        loop {
            match classify(client.buffer.data(), limit) {
                Class::Unknown => {}
                class => return Poll::Ready(First::Class(class)),
            }
            if client.buffer.is_full() && !client.buffer.grow(limit, &connection.account) {
                return Poll::Ready(First::Crowded);
            }
            match client.poll_fill(cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Poll::Ready(First::Ended),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(First::Broken(error)),
            }
        }
        poll_server(cx, upstream.as_deref_mut())
    })
    .await
}

/// Ready when the server has said something, or has ended: either way the connection is its affair, not HTTP's. Only a
/// server of HTTP/2 may greet first and still wait for its client.
fn poll_server(cx: &mut std::task::Context<'_>, upstream: Option<&mut Upstream>) -> Poll<First> {
    let Some(upstream) = upstream else { return Poll::Pending };
    let side = &mut upstream.side;
    loop {
        let greets = greets_as_http2(side.buffer.data());
        if greets && side.buffer.len() >= SETTINGS_HEAD {
            return Poll::Pending;
        }
        match side.poll_fill(cx) {
            Poll::Ready(Ok(1..)) if greets_as_http2(side.buffer.data()) => {}
            Poll::Ready(_) => return Poll::Ready(First::Server),
            Poll::Pending => return Poll::Pending,
        }
    }
}

/// The head of a frame of HTTP/2.
const SETTINGS_HEAD: usize = 9;

/// Whether bytes are the beginning of a SETTINGS frame, by which a server of HTTP/2 greets (RFC 9113, section 3.4).
fn greets_as_http2(bytes: &[u8]) -> bool {
    const SETTINGS: [u8; 6] = [4, 0, 0, 0, 0, 0];
    let [long, longer, length, rest @ ..] = bytes else { return bytes.iter().all(|byte| *byte == 0) };
    // A few settings of six bytes each.
    (*long, *longer, length % 6) == (0, 0, 0) && rest.iter().zip(SETTINGS).all(|(byte, expected)| *byte == expected)
}
