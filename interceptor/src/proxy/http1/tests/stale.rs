//! A connection that carried a request before may have been left by its server: what is sent again, and what never is.

use std::cell::Cell;
use std::future::poll_fn;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::exchange::{End, Exchange, Failure, RequestFacts};
use super::run::{Sockets, account, read_request, runtime};
use crate::net::side::Side;

const LINE: &str = "azds-route-as: azureuser\r\n";
const MAX_HEAD: usize = 64 * 1024;

/// Sends `request` into a connection whose server reads it and then leaves, with FIN or with RST.
async fn into_a_left_connection(request: &str, reused: bool, reset: bool) -> (End, Exchange, Side) {
    let sockets = Sockets::new().await;
    let (mut client, mut client_peer) = sockets.pair().await;
    client_peer.write_all(request.as_bytes()).await.unwrap();
    let (message, facts) = read_request(&mut client, Some(LINE), &Cell::new(0)).await;
    let mut exchange = Exchange::new(message, RequestFacts { reused, ..facts }, MAX_HEAD, &account());
    let (mut upstream, mut server_peer) = sockets.pair().await;
    let server = async {
        let mut byte = [0];
        server_peer.read_exact(&mut byte).await.unwrap();
        // With zero linger, as the pair has it, closing resets.
        if reset {
            drop(server_peer);
            return None;
        }
        server_peer.shutdown().await.unwrap();
        Some(server_peer)
    };
    let (end, _server) = tokio::join!(poll_fn(|cx| exchange.poll(cx, &mut client, &mut upstream)), server);
    // The peer may go: all that it sent is in the buffer.
    client.ended = true;
    (end, exchange, client)
}

/// Sends what is left of a stale exchange into a good connection, and returns what its server got.
async fn again(exchange: Exchange, mut client: Side) -> Vec<u8> {
    let facts = RequestFacts {
        kind: super::super::head::RequestKind::Ordinary,
        idempotent: true,
        keep_alive: true,
        reused: false,
        may_splice: false,
    };
    let mut exchange = Exchange::new(exchange.into_request(), facts, MAX_HEAD, &account());
    let (mut upstream, server_peer) = Sockets::new().await.pair().await;
    let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
    let server = async {
        let mut server_peer: TcpStream = server_peer;
        let mut got = Vec::new();
        while !got.ends_with(b"\r\n\r\n") {
            assert_ne!(server_peer.read_buf(&mut got).await.unwrap(), 0);
        }
        server_peer.write_all(answer).await.unwrap();
        got
    };
    let (end, got) = tokio::join!(poll_fn(|cx| exchange.poll(cx, &mut client, &mut upstream)), server);
    // The first client is gone in this test; only the way to the server matters.
    assert!(matches!(end, End::Done { .. } | End::Failed(Failure::Client(_))), "{end:?}");
    got
}

#[test]
fn an_idempotent_request_on_a_left_connection_is_sent_again_whole() {
    runtime().block_on(async {
        for reset in [false, true] {
            let request = "GET / HTTP/1.1\r\nHost: b\r\n\r\n";
            let (end, exchange, client) = into_a_left_connection(request, true, reset).await;
            assert!(matches!(end, End::Stale), "reset {reset}: {end:?}");
            let expected = format!("GET / HTTP/1.1\r\nHost: b\r\n{LINE}\r\n");
            assert_eq!(String::from_utf8(again(exchange, client).await).unwrap(), expected);
        }
    });
}

#[test]
fn what_may_have_had_an_effect_is_never_sent_again() {
    runtime().block_on(async {
        for (request, reused) in [
            // Not idempotent.
            ("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi", true),
            ("PATCH / HTTP/1.1\r\n\r\n", true),
            // A new connection that closes has been used by nobody else: the server means this request.
            ("GET / HTTP/1.1\r\n\r\n", false),
            // Part of the body is gone from the buffer.
            ("PUT / HTTP/1.1\r\nContent-Length: 3\r\n\r\nhi", true),
        ] {
            for reset in [false, true] {
                let (end, ..) = into_a_left_connection(request, reused, reset).await;
                let failed = matches!(end, End::Failed(Failure::NoResponse(_)));
                assert!(failed, "{request:?}, reused {reused}, reset {reset}: {end:?}");
            }
        }
    });
}
