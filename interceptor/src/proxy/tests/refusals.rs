//! What the agent answers itself: recognisable, the last of the connection, with a record that says why.

use tokio::net::TcpStream;

use super::*;
use crate::flow::Filter;

/// Sends `request` and gives the agent's answer and the records.
async fn refused(world: &World, request: impl AsRef<[u8]>) -> (String, Records) {
    let mut session = world.call(request).await;
    let answer = session.client.rest().await;
    let records = session.over().await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("\r\nserver: interceptor\r\n") && head.ends_with("\r\nconnection: close"), "{answer}");
    assert!(head.contains(&format!("\r\ncontent-length: {}\r\n", body.len())), "{answer}");
    assert!(body.contains(&format!("connection {}.", records.connection.id)), "{answer}");
    assert_eq!(records.requests.len() as u64, records.connection.requests);
    assert_eq!(records.connection.bytes_out, answer.len() as u64);
    (answer, records)
}

#[test]
fn heads_that_mean_different_things_to_different_parties_go_nowhere() {
    let fields = |fields: &str| format!("POST / HTTP/1.1\r\nHost: b\r\n{fields}\r\n\r\n");
    let many = fields(&"A: b\r\n".repeat(200));
    for (request, status) in [
        (fields("Content-Length: 1\r\nTransfer-Encoding: chunked"), "400 Bad Request"),
        (fields("Content-Length: 1\r\nContent-Length: 2"), "400 Bad Request"),
        (fields("Host: c"), "400 Bad Request"),
        (fields("A : b"), "400 Bad Request"),
        (fields("A: b\nC: d"), "400 Bad Request"),
        (fields("Transfer-Encoding: gzip, chunked"), "501 Not Implemented"),
        ("GET / HTTP/1.2\r\n\r\n".to_owned(), "505 HTTP Version Not Supported"),
        (many, "431 Request Header Fields Too Large"),
        (fields("Transfer-Encoding: chunked\r\n\r\nxyz"), "400 Bad Request"),
    ] {
        play(async move {
            let origin = Server::new().await;
            let world = World::new(origin.address, Setup::default()).await;
            let (answer, records) = refused(&world, &request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {answer}");
            let (found, verdict, reason) = records.request();
            assert_eq!((found.map(|code| code.to_string()).as_deref(), verdict), (status.get(..3), "refused"));
            assert_eq!((reason, records.end()), ("bad_request", ("refused", "bad_request")), "{request}");
            assert!(origin.is_left_alone().await, "{request}");
        });
    }
}

#[test]
fn a_head_beyond_the_bound_is_refused_and_one_below_it_is_not() {
    let head = |size: usize| format!("GET / HTTP/1.1\r\nHost: b\r\nCookie: {}\r\n\r\n", "x".repeat(size));
    for (limit, size) in [(64 * 1024, 70_000), (1024, 1200), (1024, 40_000)] {
        play(async move {
            let origin = Server::new().await;
            let mut setup = Setup::default();
            setup.settings.max_head_bytes = limit;
            let (answer, records) = refused(&World::new(origin.address, setup).await, head(size)).await;
            assert!(answer.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"), "{answer}");
            assert_eq!(records.request(), (Some(431), "refused", "head_too_large"));
        });
    }
    play(async move {
        let origin = Server::new().await;
        let mut session = World::new(origin.address, Setup::default()).await.call("GET /").await;
        let head = head(40 * 1024);
        for piece in head.as_bytes()["GET /".len()..].chunks(5000) {
            session.client.send(piece).await;
            tokio::task::yield_now().await;
        }
        let mut server = origin.accept().await;
        server.expect(&head).await;
        server.send(OK).await;
        session.client.expect(OK).await;
        assert_eq!(session.over().await.request(), (Some(200), "forwarded", "no_space_named"));
    });
}

#[test]
fn a_broken_request_after_a_good_one_ends_the_connection() {
    play(async {
        let origin = Server::new().await;
        let mut session = World::new(origin.address, Setup::default()).await.call(GET).await;
        let mut server = origin.accept().await;
        server.expect(GET).await;
        server.send(OK).await;
        session.client.expect(OK).await;
        session.client.send("GET / HTTP/1.1\r\nHost: b\r\nHost: c\r\n\r\n").await;
        assert!(session.client.rest().await.starts_with("HTTP/1.1 400 Bad Request\r\n"));
        let records = session.over().await;
        server.ended().await;
        assert_eq!((records.connection.requests, records.requests[1].reason), (2, "bad_request"));
    });
}

#[test]
fn a_target_that_cannot_be_reached_is_named() {
    play(async {
        let nobody = peer::nobody().await;
        // The limited broadcast address takes no connection; 192.0.2.1 is nobody's own address.
        let unreachable = "255.255.255.255:80".parse().unwrap();
        for (address, status, reason) in
            [(nobody, "502 Bad Gateway", "upstream_refused"), (unreachable, "502 Bad Gateway", "upstream_unreachable")]
        {
            let world = World::new(address, Setup::default()).await;
            let (answer, records) = refused(&world, GET).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
            assert!(answer.contains(&format!("\r\ninterceptor: connecting to {address}: ")), "{answer}");
            assert_eq!((records.request(), records.end()), ((Some(502), "error", reason), ("error", reason)));
        }
        let foreign = World::new("192.0.2.1:80".parse().unwrap(), Setup::default()).await;
        let mut session = foreign.called(GET).await;
        assert!(session.client.rest().await.starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
        assert_eq!(session.over().await.request(), (Some(503), "error", "agent_socket"));
    });
}

#[test]
fn an_answer_that_cannot_be_passed_on_is_a_502() {
    let large = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(70_000));
    for (answer, reason) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", "bad_response"),
        ("+OK\r\n", "bad_response"),
        (&large, "bad_response"),
        ("", "upstream_closed"),
        ("HTTP/1.1 200", "upstream_closed"),
    ] {
        let answer = answer.to_owned();
        play(async move {
            let origin = Server::new().await;
            let mut session = World::new(origin.address, Setup::default()).await.call(GET).await;
            let mut server = origin.accept().await;
            server.expect(GET).await;
            server.send(&answer).await;
            server.end().await;
            assert!(session.client.rest().await.starts_with("HTTP/1.1 502 Bad Gateway\r\nserver: interceptor\r\n"));
            assert_eq!(session.over().await.request(), (Some(502), "error", reason));
        });
    }
}

#[test]
fn one_connection_too_many_is_told_so_and_counted() {
    play(async {
        let origin = Server::new().await;
        let mut setup = Setup { port: "tcp", ..Setup::default() };
        setup.settings.max_connections = 1;
        let world = World::new(origin.address, setup).await;
        let mut first = world.call("").await;
        let mut server = origin.accept().await;
        let mut second = world.call(GET).await;
        let answer = second.client.rest().await;
        assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\nserver: interceptor\r\n"), "{answer}");
        assert!(answer.contains("\r\nretry-after: 1\r\nconnection: close\r\n"), "{answer}");
        assert!(answer.contains("the workload has 1 connections at once (proxy.max_connections)"), "{answer}");
        let records = second.over().await;
        assert_eq!(records.end(), ("refused", "too_many_connections"));
        first.client.send("still served").await;
        server.expect("still served").await;
        let counted = r#"interceptor_refused_connections_total{workload="caller",reason="too_many_connections"} 1"#;
        assert!(world.context.metrics.encode().contains(counted));
        drop(server);
        first.over().await;
        assert!(origin.is_left_alone().await);
        assert_eq!(world.context.room.open(), 0);
    });
}

#[test]
fn where_the_agent_is_full_each_client_is_told_in_its_own_protocol() {
    play(async {
        let origin = Server::new().await;
        // The first one leaves no more than it has.
        let world = World::new(origin.address, Setup { room: Some(2), ..Setup::default() }).await;
        let mut first = world.call(GET).await;
        let mut server = origin.accept().await;
        server.expect(GET).await;
        let mut http1 = world.call("GET / HTTP/1.1\r\n").await;
        let answer = http1.client.rest().await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("of the 2 that the agent takes (proxy.max_connections_total)"), "{answer}");
        assert_eq!(http1.over().await.end(), ("refused", "agent_full"));
        let mut http2 = world.call("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        let frames = http2.client.rest_bytes().await;
        let (settings, goaway) = frames.split_at(9);
        assert_eq!(settings, [0, 0, 0, 4, 0, 0, 0, 0, 0]);
        // GOAWAY, after which no stream was looked at, with ENHANCE_YOUR_CALM.
        assert_eq!((goaway[3], &goaway[9..17]), (7, [0, 0, 0, 0, 0, 0, 0, 11].as_slice()));
        assert_eq!(usize::from(goaway[2]), goaway.len() - 9);
        assert!(goaway[17..].starts_with(b"interceptor: the workload has as many"));
        assert_eq!(http2.over().await.end(), ("refused", "agent_full"));
        let mut opaque = world.call([0x16, 3, 1, 0, 1]).await;
        opaque.client.was_reset().await;
        assert_eq!(opaque.over().await.end(), ("refused", "agent_full"));
        // One that says nothing waits for its server's first word.
        let mut silent = world.call("").await;
        silent.client.was_reset().await;
        assert_eq!(silent.over().await.end(), ("refused", "agent_full"));
        assert!(origin.is_left_alone().await);
        first.client.end().await;
        drop(server);
        first.over().await;
        // And there is room again.
        let last = world.call(GET).await;
        origin.accept().await.expect(GET).await;
        last.broken().await;
    });
}

#[test]
fn a_flood_is_reset_without_an_answer_and_recorded_in_part() {
    play(async {
        let origin = Server::new().await;
        let world = World::new(origin.address, Setup { room: Some(2), ..Setup::default() }).await;
        let first = world.call(GET).await;
        let _server = origin.accept().await;
        let mut silent = Vec::new();
        for _ in 0..200 {
            silent.push(world.call("").await);
        }
        // The last ones found everybody busy with telling the others.
        for session in &mut silent[128..] {
            session.client.was_reset().await;
        }
        let recorded = world.context.hub.recent(&Filter::default(), usize::MAX).len();
        assert!(recorded <= 10, "{recorded} records");
        let counted = r#"interceptor_refused_connections_total{workload="caller",reason="agent_full"} 200"#;
        assert!(world.context.metrics.encode().contains(counted));
        drop(silent);
        first.broken().await;
    });
}

#[test]
fn a_large_head_is_refused_where_others_hold_all_that_may_be_held() {
    play(async {
        let head = format!("GET / HTTP/1.1\r\nHost: b\r\nx: {}\r\n\r\n", "x".repeat(30_000));
        for (budget, refused) in [(20_000, true), (40_000, false)] {
            let origin = Server::new().await;
            let world = World::new(origin.address, Setup { budget: Some(budget), ..Setup::default() }).await;
            let mut session = world.call(&head).await;
            if refused {
                let answer = session.client.rest().await;
                assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("max_buffered_bytes"), "{answer}");
                assert_eq!(session.over().await.request(), (Some(503), "error", "agent_memory"));
            } else {
                origin.accept().await.expect(&head).await;
                session.broken().await;
            }
        }
    });
}

#[test]
fn a_client_that_is_gone_before_it_is_refused_is_recorded_all_the_same() {
    play(async {
        let world = World::new(peer::nobody().await, Setup::default()).await;
        let records = world.call("GET / HTTP/1.1\r\nHost: b\r\nHost: c\r\n\r\n").await.broken().await;
        assert_eq!((records.request(), records.connection.bytes_out), ((Some(400), "refused", "bad_request"), 0));
    });
}

#[test]
fn a_client_that_does_not_read_gets_the_refusal_once_it_does() {
    play(async {
        let world = World::new(peer::nobody().await, Setup::default()).await;
        let fill = |stream: &TcpStream| {
            let mut filled = 0;
            while let Ok(count) = stream.try_write(&[b'x'; 4096]) {
                filled += count;
            }
            filled
        };
        let (mut session, filled) = world.call_filled("GET / HTTP/1.1\r\nHost: b\r\nHost: c\r\n\r\n", fill).await;
        settle().await;
        session.client.expect("x".repeat(filled)).await;
        assert!(session.client.rest().await.starts_with("HTTP/1.1 400 Bad Request\r\n"));
        session.over().await;
    });
}
