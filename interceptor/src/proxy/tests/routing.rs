//! Where requests go, with what header, and what their records say.

use super::*;
use crate::flow::{Protocol, ProtocolFrom, TargetKind};
use crate::route::{Direction, SpaceFrom};

#[test]
fn a_request_that_names_no_space_passes_unchanged_and_makes_one_record() {
    play(async {
        let origin = Server::new().await;
        let world = World::new(origin.address, Setup::default()).await;
        let mut session = world.call(GET).await;
        let mut server = origin.accept().await;
        server.expect(GET).await;
        server.send(OK).await;
        session.client.expect(OK).await;
        let records = session.over().await;
        assert_eq!(records.end(), ("forwarded", "end_of_stream"));
        assert_eq!(records.request(), (Some(200), "forwarded", "no_space_named"));
        let (connection, request) = (&records.connection, &records.requests[0]);
        assert_eq!((connection.protocol, connection.protocol_from), (Protocol::Http1, ProtocolFrom::ClientBytes));
        assert_eq!((connection.requests, connection.direction), (1, Direction::Outbound));
        let bytes = (GET.len() as u64, OK.len() as u64);
        assert_eq!((connection.bytes_in, connection.bytes_out), bytes);
        assert_eq!((request.bytes_in, request.bytes_out, request.connection), (bytes.0, bytes.1, connection.id));
        assert_eq!((&*request.method, &*request.path, request.host.as_deref()), ("GET", "/path", Some("b")));
        assert_eq!(connection.service.as_ref().unwrap().to_string(), "b.default");
    });
}

#[test]
fn a_request_goes_to_its_spaces_copy() {
    play(async {
        let (origin, copy) = (Server::new().await, Server::new().await);
        let setup = Setup { copies: vec![("user", copy.address)], ..Setup::default() };
        let world = World::new(origin.address, setup).await;
        let mut session = world.call(get_in("user")).await;
        let mut server = copy.accept().await;
        server.expect(get_in("user")).await;
        server.send(OK).await;
        session.client.expect(OK).await;
        let records = session.over().await;
        assert!(origin.is_left_alone().await, "nothing was dialled that is not needed");
        assert_eq!(records.request(), (Some(200), "redirected", "routed"));
        let request = &records.requests[0];
        let target = request.target.as_ref().unwrap();
        assert_eq!((target.kind, target.address), (TargetKind::Endpoint, copy.address));
        assert_eq!(target.service.as_ref().unwrap().to_string(), "b.user");
        let header = request.route_header.as_ref().unwrap();
        assert_eq!((&*header.name, &*header.value, request.injected), ("azds-route-as", "user", false));
    });
}

#[test]
fn the_space_is_added_where_the_host_or_the_caller_says_it() {
    let host = "GET / HTTP/1.1\r\nHost: user.s.default.b.eus.azds.io\r\nX: y\r\n\r\n";
    let own = "POST / HTTP/1.1\r\nhOST: b\r\nContent-Length: 3\r\n\r\nabc";
    for (request, caller, from) in [(host, None, SpaceFrom::Host), (own, Some("user"), SpaceFrom::Caller)] {
        play(async move {
            let (origin, copy) = (Server::new().await, Server::new().await);
            let setup = Setup { copies: vec![("user", copy.address)], caller, ..Setup::default() };
            let mut session = World::new(origin.address, setup).await.call(request).await;
            let mut server = copy.accept().await;
            server.expect(request.replacen("\r\n\r\n", "\r\nazds-route-as: user\r\n\r\n", 1)).await;
            server.send(OK).await;
            session.client.expect(OK).await;
            let records = session.over().await;
            let request_record = &records.requests[0];
            assert_eq!((request_record.injected, request_record.space_from), (true, from));
            assert_eq!(request_record.bytes_in, request.len() as u64, "what the agent adds is not the caller's");
        });
    }
}

#[test]
fn requests_of_one_connection_go_each_to_its_own_space_and_find_their_connections_again() {
    play(async {
        let (origin, copy) = (Server::new().await, Server::new().await);
        let setup = Setup { copies: vec![("user", copy.address)], ..Setup::default() };
        let mut session = World::new(origin.address, setup).await.call(GET).await;
        let mut plain = origin.accept().await;
        plain.expect(GET).await;
        plain.send(OK).await;
        session.client.expect(OK).await;
        session.client.send(get_in("user")).await;
        let mut routed = copy.accept().await;
        for _ in 0..2 {
            routed.expect(get_in("user")).await;
            routed.send(OK).await;
            session.client.expect(OK).await;
            session.client.send(GET).await;
            plain.expect(GET).await;
            plain.send(OK).await;
            session.client.expect(OK).await;
            session.client.send(get_in("user")).await;
        }
        routed.expect(get_in("user")).await;
        routed.send(OK).await;
        session.client.expect(OK).await;
        let records = session.over().await;
        let verdicts: Vec<_> = records.requests.iter().map(|request| request.verdict.as_str()).collect();
        assert_eq!(verdicts, ["forwarded", "redirected", "forwarded", "redirected", "forwarded", "redirected"]);
        let connects = records.requests.iter().filter(|request| request.connect.is_some()).count();
        assert_eq!((records.connection.requests, connects), (6, 2));
    });
}

#[test]
fn pipelined_requests_are_answered_in_order_whichever_space_they_go_to() {
    play(async {
        let (origin, copy) = (Server::new().await, Server::new().await);
        let setup = Setup { copies: vec![("user", copy.address)], ..Setup::default() };
        let both = format!("{}{GET}", get_in("user"));
        let mut session = World::new(origin.address, setup).await.call(both).await;
        let mut routed = copy.accept().await;
        routed.expect(get_in("user")).await;
        assert!(origin.is_left_alone().await, "the second waits for its turn");
        routed.send(OK.replace("ok", "1.")).await;
        let mut plain = origin.accept().await;
        plain.expect(GET).await;
        plain.send(OK.replace("ok", "2.")).await;
        session.client.expect(OK.replace("ok", "1.")).await;
        session.client.expect(OK.replace("ok", "2.")).await;
        assert_eq!(session.over().await.requests.len(), 2);
    });
}

#[test]
fn an_unreachable_origin_does_not_keep_a_routed_request_from_its_space() {
    play(async {
        let copy = Server::new().await;
        let setup = Setup { copies: vec![("user", copy.address)], ..Setup::default() };
        let mut session = World::new(peer::nobody().await, setup).await.call("").await;
        settle().await;
        session.client.send(get_in("user")).await;
        let mut server = copy.accept().await;
        server.expect(get_in("user")).await;
        server.send(OK).await;
        session.client.expect(OK).await;
        assert_eq!(session.over().await.request(), (Some(200), "redirected", "routed"));
    });
}

#[test]
fn an_upgraded_connection_is_opaque_both_ways_and_keeps_its_target() {
    play(async {
        let (origin, copy) = (Server::new().await, Server::new().await);
        let setup = Setup { copies: vec![("user", copy.address)], ..Setup::default() };
        let request = "GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\nazds-route-as: user\r\n\r\n";
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        let mut session = World::new(origin.address, setup).await.call(request).await;
        let mut server = copy.accept().await;
        server.expect(request).await;
        server.send(format!("{answer}\u{1}early")).await;
        session.client.expect(format!("{answer}\u{1}early")).await;
        session.client.send("GET is no request any more\r\n\r\n").await;
        server.expect("GET is no request any more\r\n\r\n").await;
        session.client.end().await;
        server.ended().await;
        server.send("last").await;
        drop(server);
        assert_eq!(session.client.rest().await, "last");
        let records = session.over().await;
        assert_eq!(records.request(), (Some(101), "redirected", "routed"));
        assert_eq!(records.end(), ("forwarded", "end_of_stream"));
        let bytes = (request.len() + 30, answer.len() + 6 + 4);
        assert_eq!((records.connection.bytes_in, records.connection.bytes_out), (bytes.0 as u64, bytes.1 as u64));
        let target = records.connection.target.unwrap();
        assert_eq!((target.kind, target.address), (TargetKind::Endpoint, copy.address));
        assert_eq!(target.service.unwrap().to_string(), "b.user");
    });
}
