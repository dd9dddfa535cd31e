//! The agent is about to end: what becomes of connections in each phase of the drain.

use super::*;
use crate::proxy::Phase;

const LAST: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nconnection: close\r\n\r\nok";

#[test]
fn the_next_response_is_the_last_and_says_so() {
    play(async {
        let origin = Server::new().await;
        let world = World::new(origin.address, Setup::default()).await;
        let mut session = world.call(GET).await;
        let mut server = origin.accept().await;
        server.expect(GET).await;
        world.context.drain.advance(Phase::Last);
        server.send(OK).await;
        session.client.expect(LAST).await;
        session.client.ended().await;
        assert_eq!(session.over().await.end(), ("forwarded", "connection_close"));
    });
}

#[test]
fn a_response_that_has_begun_and_one_that_closes_anyway_stay_as_they_are() {
    play(async {
        let origin = Server::new().await;
        let world = World::new(origin.address, Setup::default()).await;
        let mut session = world.call(GET).await;
        let mut server = origin.accept().await;
        server.expect(GET).await;
        let (head, tail) = OK.split_at(OK.len() - 1);
        server.send(head).await;
        session.client.expect(head).await;
        world.context.drain.advance(Phase::Last);
        server.send(tail).await;
        session.client.expect(tail).await;
        // One more request finds its way, and only that is the last.
        session.client.send(GET).await;
        server.expect(GET).await;
        let closes = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        server.send(closes).await;
        session.client.expect(closes).await;
        session.client.ended().await;
        assert_eq!(session.over().await.requests.len(), 2);
    });
}

#[test]
fn a_switch_to_another_protocol_is_not_ended_by_a_drain() {
    play(async {
        let origin = Server::new().await;
        let world = World::new(origin.address, Setup::default()).await;
        let upgrade = "GET /ws HTTP/1.1\r\nHost: b\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        let mut session = world.call(upgrade).await;
        let mut server = origin.accept().await;
        server.expect(upgrade).await;
        world.context.drain.advance(Phase::Last);
        let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        server.send(switched).await;
        session.client.expect(switched).await;
        server.send("frame").await;
        session.client.expect("frame").await;
        // Until there is no time left.
        world.context.drain.advance(Phase::Over);
        session.client.was_reset().await;
        server.was_reset().await;
        assert_eq!(session.over().await.end(), ("error", "drain_timeout"));
    });
}

#[test]
fn a_client_that_asks_nothing_is_closed_upon_in_order() {
    play(async {
        let origin = Server::new().await;
        let world = World::new(origin.address, Setup::default()).await;
        let mut session = world.call(GET).await;
        let mut server = origin.accept().await;
        server.expect(GET).await;
        server.send(OK).await;
        session.client.expect(OK).await;
        world.context.drain.advance(Phase::Last);
        settle().await;
        world.context.drain.advance(Phase::Idle);
        session.client.ended().await;
        assert_eq!(session.over().await.end(), ("forwarded", "drained"));
    });
}

#[test]
fn a_response_that_does_not_come_to_its_end_in_time_is_broken_off() {
    play(async {
        let origin = Server::new().await;
        let world = World::new(origin.address, Setup::default()).await;
        let mut session = world.call(GET).await;
        let mut server = origin.accept().await;
        server.expect(GET).await;
        server.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart").await;
        session.client.expect("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart").await;
        world.context.drain.advance(Phase::Over);
        session.client.was_reset().await;
        assert_eq!(session.over().await.end(), ("error", "drain_timeout"));
    });
}
