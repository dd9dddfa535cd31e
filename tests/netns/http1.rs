//! HTTP/1.1 through the interceptor, seen from both ends of the wire: bytes, order and time are as without it.

mod ends;
mod refused;

use std::net::Shutdown;
use std::time::{Duration, Instant};

use crate::wire::{UNDECLARED, Way, Wire, exchange, expect, expect_end, send, until_end};

const GET: &str = "GET / HTTP/1.1\r\nHost: peer\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Far below any timeout of the agent's, far above what a busy machine needs.
const AT_ONCE: Duration = Duration::from_millis(1500);

#[test]
fn messages_of_one_connection_pass_byte_for_byte() {
    let wire = Wire::new("h1-bytes");
    let server = wire.listen(UNDECLARED);
    let chunks = "3;ext=\"a b\"\r\nabc\r\n0A\r\n0123456789\r\n000\r\nX-Trailer: t\r\n\r\n";
    let chunked = format!("POST /c HTTP/1.1\r\nTRANSFER-encoding:  chunked\r\nhost:peer\r\n\r\n{chunks}");
    let chunked_ok = format!("HTTP/1.1 200 Fine\r\ntransfer-encoding: Chunked\r\nTrailer: X-Trailer\r\n\r\n{chunks}");
    let interim = format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n{OK}");
    let big = "x".repeat(200_000);
    let long_head = format!("GET /{} HTTP/1.1\r\nCookie: {}\r\n\r\n", &big[..20_000], &big[..30_000]);
    let body = format!("PUT / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{big}", big.len());
    let body_ok = format!("HTTP/1.1 201 Created\r\nContent-Length: {}\r\n\r\n{big}", big.len());
    for way in Way::BOTH {
        let (client, peer) = wire.pair(&server, way, UNDECLARED);
        for (request, response) in [
            (GET, OK),
            ("OPTIONS * HTTP/1.1\r\nhOsT:peer\r\nb: 2 \r\nA:1\r\nb:\t3\t\r\nX-Empty:\r\n\r\n", OK),
            ("POST /a%20b?c=%zz&;# HTTP/1.1\r\nHost: peer\r\nContent-Length: 5\r\n\r\n\0\r\n\r\n", OK),
            (&chunked, &chunked_ok),
            ("HEAD / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n"),
            ("DELETE /x HTTP/1.1\r\n\r\n", "HTTP/1.1 204 \r\nServer: s\r\n\r\n"),
            ("GET /x HTTP/1.1\r\nIf-None-Match: *\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
            (GET, "HTTP/1.1 200\r\nserver:odd\r\nSERVER: odder\r\nContent-Length: 0\r\n\r\n"),
            (GET, &interim),
            ("BREW /pot HTTP/1.1\r\n\r\n", "HTTP/1.1 418 I'm a teapot\r\ncontent-length:0\r\n\r\n"),
            ("GET http://peer/abs HTTP/1.1\r\nHost: peer\r\n\r\n", OK),
            (
                "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
                "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\n1",
            ),
            (&long_head, OK),
            (&body, &body_ok),
        ] {
            exchange(&client, &peer, request, response);
        }
        // Bytes above 0x7f in values (obs-text) and in a target.
        exchange(&client, &peer, b"GET /\xc3\xa9 HTTP/1.1\r\nX: \xff\xfe caf\xe9\r\n\r\n", OK);
        exchange(&client, &peer, GET, b"HTTP/1.1 200 Gr\xfc\xdfe\r\nX: \x80\r\nContent-Length: 0\r\n\r\n");
        assert!(server.waiting().is_none(), "all of {way:?} on one connection");
    }
}

#[test]
fn a_close_delimited_response_ends_with_its_connection() {
    let wire = Wire::new("h1-close");
    let server = wire.listen(UNDECLARED);
    let body = "z".repeat(300_000);
    for way in Way::BOTH {
        for (request, head) in [
            (GET, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"),
            (GET, "HTTP/1.1 200 OK\r\n\r\n"),
            ("GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n"),
        ] {
            let (client, peer) = wire.pair(&server, way, UNDECLARED);
            send(&client, request);
            expect(&peer, request);
            send(&peer, format!("{head}{body}"));
            drop(peer);
            assert_eq!(until_end(&client), format!("{head}{body}").as_bytes(), "{way:?} {head:?}");
        }
    }
}

#[test]
fn expect_100_continue_is_the_servers_to_answer_and_costs_no_delay() {
    let wire = Wire::new("h1-expect");
    let server = wire.listen(UNDECLARED);
    let head = "PUT / HTTP/1.1\r\nHost: peer\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    for way in Way::BOTH {
        let (client, peer) = wire.pair(&server, way, UNDECLARED);
        let begin = Instant::now();
        exchange(&client, &peer, head, "HTTP/1.1 100 Continue\r\n\r\n");
        exchange(&client, &peer, "body", OK);
        // The server may refuse without the body, and the client may then send something else.
        exchange(
            &client,
            &peer,
            head,
            "HTTP/1.1 417 Expectation Failed\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        );
        expect_end(&client);
        assert!(begin.elapsed() < AT_ONCE, "{way:?} took {:?}", begin.elapsed());
    }
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let wire = Wire::new("h1-pipeline");
    let server = wire.listen(UNDECLARED);
    for way in Way::BOTH {
        let (client, peer) = wire.pair(&server, way, UNDECLARED);
        let request = |n: usize| format!("POST /{n} HTTP/1.1\r\nContent-Length: 3\r\n\r\nb{n:02}");
        let response = |n: usize| format!("HTTP/1.1 200 OK\r\nX-N: {n}\r\nContent-Length: 1\r\n\r\n.");
        send(&client, (0..20).map(request).collect::<String>());
        // The client's end must not cut off what it has asked before.
        client.shutdown(Shutdown::Write).unwrap();
        for n in 0..20 {
            expect(&peer, request(n));
            send(&peer, response(n));
        }
        assert_eq!(String::from_utf8(until_end(&client)).unwrap(), (0..20).map(response).collect::<String>());
        expect_end(&peer);
    }
}

#[test]
fn a_switched_protocol_passes_both_ways_from_its_first_byte() {
    let wire = Wire::new("h1-switch");
    let server = wire.listen(UNDECLARED);
    let upgrade = "GET /chat HTTP/1.1\r\nHost: peer\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let connect = "CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n";
    let connected = "HTTP/1.1 200 Connection established\r\n\r\n";
    for way in Way::BOTH {
        for (request, response) in [(upgrade, switching), (connect, connected)] {
            let (client, peer) = wire.pair(&server, way, UNDECLARED);
            // An ordinary request before, and the first bytes of either side together with its head.
            exchange(&client, &peer, GET, OK);
            send(&client, format!("{request}\x01early"));
            expect(&peer, request);
            send(&peer, format!("{response}\x02early"));
            expect(&client, format!("{response}\x02early"));
            expect(&peer, "\x01early");
            exchange(&client, &peer, "GET is not a request here\r\n\r\n", "nor is this a response");
            client.shutdown(Shutdown::Write).unwrap();
            expect_end(&peer);
            send(&peer, "after the client's end");
            drop(peer);
            assert_eq!(until_end(&client), b"after the client's end", "{way:?}");
        }
        let (client, peer) = wire.pair(&server, way, UNDECLARED);
        exchange(&client, &peer, upgrade, "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n");
        exchange(&client, &peer, GET, OK);
    }
}

#[test]
fn bodies_arrive_as_they_are_sent() {
    let wire = Wire::new("h1-stream");
    let server = wire.listen(UNDECLARED);
    let chunk = "5\r\nhello\r\n";
    for way in Way::BOTH {
        for (request, response, part, end) in [
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                chunk,
                "0\r\n\r\n",
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: 16\r\n\r\n",
                "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n",
                "event",
                "!",
            ),
        ] {
            let (client, peer) = wire.pair(&server, way, UNDECLARED);
            // Each part is seen at the other end before the next one is sent, in both directions at once.
            exchange(&client, &peer, request, response);
            for _ in 0..3 {
                exchange(&client, &peer, part, part);
            }
            exchange(&client, &peer, end, end);
            exchange(&client, &peer, GET, OK);
        }
    }
}
