//! What the interceptor answers itself: only what no application could have answered, recognisable, and nothing of it
//! reaches an application.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use interceptor_tests::http::{Connection, Message};
use interceptor_tests::{Service, wait};
use serde_json::json;

use super::{AT_ONCE, GET, OK};
use crate::wire::{LIMIT, UNDECLARED, Way, Wire, exchange, expect_end, expect_reset, send, until_end};

/// An answer of the interceptor's own, after which it closes.
#[track_caller]
fn own_answer(client: TcpStream, status: u16) -> Message {
    let mut connection = Connection::new(client);
    let answer = connection.response("GET").unwrap_or_else(|error| panic!("{status} is expected: {error:#}"));
    assert_eq!(answer.status().unwrap(), status, "{answer:?}");
    assert_eq!(answer.first("server"), Some("interceptor"), "{answer:?}");
    assert!(answer.closes() && answer.body.starts_with(b"interceptor: "), "{answer:?}");
    assert_eq!(connection.rest().unwrap(), b"");
    answer
}

#[test]
fn a_refused_upstream_is_a_502() {
    let wire = Wire::new("h1-refused");
    // Nobody listens there yet. Who calls the pod itself is told so by the kernel (netns/probes/listening.rs).
    let client = wire.dial(Way::Outbound, UNDECLARED);
    send(&client, GET);
    let answer = own_answer(client, 502);
    assert!(String::from_utf8_lossy(&answer.body).contains("refused"), "{answer:?}");
    let server = wire.listen(UNDECLARED);
    let (client, peer) = wire.pair(&server, Way::Outbound, UNDECLARED);
    exchange(&client, &peer, GET, OK);
}

#[test]
fn an_upstream_that_does_not_answer_is_a_504_in_time() {
    let hole: SocketAddr = "10.244.0.250:8080".parse().unwrap();
    let wire = Wire::with("h1-timeout", |config| {
        let service = Service::new("hole", "default").port("any", 80, 8080, None).endpoint_at(hole.ip(), true);
        config.service(&service).set("proxy", "connect_timeout", "400ms");
    });
    let route = wire.lab.on_node().output("ip", ["route", "add", "blackhole", "10.244.0.250/32"]).unwrap();
    assert!(route.status.success(), "{route:?}");
    let client = wire.dial_at(Way::Outbound, hole);
    let begin = Instant::now();
    send(&client, GET);
    own_answer(client, 504);
    let took = begin.elapsed();
    assert!(took >= Duration::from_millis(300) && took < AT_ONCE, "{took:?}");
    // What is not HTTP learns it as a broken connection.
    let client = wire.dial_at(Way::Outbound, hole);
    send(&client, "\x16\x03\x01");
    expect_reset(&client);
}

#[test]
fn an_ambiguous_request_is_refused_and_nothing_of_it_is_passed_on() {
    let wire = Wire::new("h1-bad");
    let server = wire.listen(UNDECLARED);
    let smuggled = "\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\n\r\n";
    for way in Way::BOTH {
        for (status, head) in [
            (400, "POST / HTTP/1.1\r\nContent-Length: 6\r\nTransfer-Encoding: chunked"),
            (400, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 6"),
            (400, "POST / HTTP/1.1\r\nContent-Length: 6\r\nContent-Length: 7"),
            (400, "POST / HTTP/1.1\r\nContent-Length: +6"),
            (400, "POST / HTTP/1.1\r\nContent-Length: 0x6"),
            (501, "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked"),
            (501, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
            (400, "POST / HTTP/1.1\r\nTransfer-Encoding: \x0bchunked"),
            (400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked"),
            (400, "GET / HTTP/1.1\nHost: a"),
            (400, "GET / HTTP/1.1\r\nHost: a\nContent-Length: 6"),
            (400, "GET / HTTP/1.1\r\nHost: a\n\r\nX: y"),
            (400, "GET / HTTP/1.1\r\nX: a\rb"),
            (400, "GET / HTTP/1.1\r\nX: a\r\n folded"),
            (400, "GET / HTTP/1.1\r\nContent-Length : 6"),
            (400, "GET / HTTP/1.1\r\n: nameless"),
            (400, "GET / HTTP/1.1\r\nX: nul\0"),
            (400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b"),
            (400, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1"),
            (400, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\nx"),
        ] {
            // As the first request of a connection, and as the second one.
            for before in [0, 1] {
                let client = wire.dial(way, UNDECLARED);
                if before == 1 {
                    let peer = server.accept();
                    exchange(&client, &peer, GET, OK);
                    send(&client, format!("{head}{smuggled}"));
                    own_answer(client, status);
                    assert_eq!(String::from_utf8_lossy(&until_end(&peer)), "", "{head:?}");
                } else {
                    send(&client, format!("{head}{smuggled}"));
                    own_answer(client, status);
                    // The server may have been dialled before the client spoke.
                    while let Some(peer) = server.waiting() {
                        assert_eq!(String::from_utf8_lossy(&until_end(&peer)), "", "{head:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_bad_request_after_the_first_is_refused_where_the_first_would_be_passed_as_something_else() {
    let wire = Wire::new("h1-second");
    let server = wire.listen(UNDECLARED);
    for (status, second) in [(400, "PING\r\n\r\n"), (505, "GET / HTTP/2.0\r\n\r\n")] {
        let (client, peer) = wire.pair(&server, Way::Outbound, UNDECLARED);
        exchange(&client, &peer, GET, OK);
        send(&client, second);
        own_answer(client, status);
        expect_end(&peer);
        // The same bytes first: this is no HTTP, and not ours to judge.
        let (client, peer) = wire.pair(&server, Way::Outbound, UNDECLARED);
        exchange(&client, &peer, second, "-ERR what?\r\n");
    }
}

#[test]
fn a_chunk_that_breaks_its_grammar_ends_the_request_there() {
    let wire = Wire::new("h1-chunk");
    let server = wire.listen(UNDECLARED);
    let (client, peer) = wire.pair(&server, Way::Outbound, UNDECLARED);
    let good = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    send(&client, good);
    crate::wire::expect(&peer, good);
    send(&client, "3\r\nabcd\r\n0\r\n\r\n");
    own_answer(client, 400);
    let mut rest = Vec::new();
    std::io::Read::read_to_end(&mut &peer, &mut rest).ok();
    assert!(!String::from_utf8_lossy(&rest).contains("abcd"), "{rest:?}");
}

#[test]
fn a_response_that_cannot_be_believed_is_a_502() {
    let wire = Wire::new("h1-response");
    let server = wire.listen(UNDECLARED);
    for way in Way::BOTH {
        for response in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
            "+PONG\r\n",
        ] {
            let (client, peer) = wire.pair(&server, way, UNDECLARED);
            send(&client, GET);
            crate::wire::expect(&peer, GET);
            send(&peer, response);
            own_answer(client, 502);
        }
        let (client, peer) = wire.pair(&server, way, UNDECLARED);
        send(&client, GET);
        crate::wire::expect(&peer, GET);
        drop(peer);
        own_answer(client, 502);
    }
}

#[test]
fn a_head_that_does_not_come_in_time_is_a_408() {
    let wire = Wire::with("h1-slow", |config| {
        config.set("proxy", "head_timeout", "300ms").set("proxy", "max_head_bytes", json!(8192));
    });
    let server = wire.listen(UNDECLARED);
    for way in Way::BOTH {
        for before in [0, 1] {
            let (client, peer) = wire.pair(&server, way, UNDECLARED);
            for _ in 0..before {
                exchange(&client, &peer, GET, OK);
            }
            send(&client, "GET / HTTP/1.1\r\nHost: pe");
            let begin = Instant::now();
            own_answer(client, 408);
            assert!(begin.elapsed() < AT_ONCE, "{:?}", begin.elapsed());
            expect_end(&peer);
        }
        // A client that is silent between requests is not slow.
        let (client, peer) = wire.pair(&server, way, UNDECLARED);
        exchange(&client, &peer, GET, OK);
        let begin = Instant::now();
        wait::until(LIMIT, "the head timeout to pass", || {
            anyhow::ensure!(begin.elapsed() > Duration::from_millis(600));
            Ok(())
        })
        .unwrap();
        exchange(&client, &peer, GET, OK);
        // A large head is refused by its size.
        let (client, _peer) = wire.pair(&server, way, UNDECLARED);
        send(&client, format!("GET / HTTP/1.1\r\nCookie: {}", "x".repeat(9000)));
        own_answer(client, 431);
    }
}
