//! What becomes of an upstream connection when its client leaves: who goes on with it, and who must not.

use std::time::Duration;

use tokio::time::Instant;

use super::*;

const NTLM: &str = "GET / HTTP/1.1\r\nHost: b\r\nAuthorization: NTLM TlRMTVNTUAAB\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\nhi";

async fn answer(session: &mut Session, server: &mut Peer, request: &str) {
    server.expect(request).await;
    server.send(OK).await;
    session.client.expect(OK).await;
}

/// A world in which one client has asked for `request` and left, and the connection that it was answered on.
async fn left_by(request: &str, origin: &Server) -> (World, Peer) {
    let world = World::new(origin.address, Setup::default()).await;
    let mut session = world.call(request).await;
    let mut server = origin.accept().await;
    answer(&mut session, &mut server, request).await;
    session.over().await;
    (world, server)
}

#[test]
fn the_next_client_goes_on_with_the_connection_that_the_last_one_left() {
    play(async {
        let origin = Server::new().await;
        let (world, mut server) = left_by(GET, &origin).await;
        for _ in 0..3 {
            let mut session = world.call(GET).await;
            answer(&mut session, &mut server, GET).await;
            assert_eq!(session.over().await.request(), (Some(200), "forwarded", "no_space_named"));
        }
        assert!(origin.is_left_alone().await);
    });
}

#[test]
fn a_request_that_cannot_be_repeated_gets_a_connection_of_its_own() {
    play(async {
        let origin = Server::new().await;
        let (world, _left) = left_by(GET, &origin).await;
        let mut session = world.call(POST).await;
        let mut server = origin.accept().await;
        answer(&mut session, &mut server, POST).await;
        session.over().await;
    });
}

#[test]
fn a_connection_that_its_server_leaves_costs_the_next_client_nothing() {
    play(async {
        let origin = Server::new().await;
        for swallows in [false, true] {
            let (world, mut left) = left_by(GET, &origin).await;
            let mut session = if swallows {
                let session = world.call(GET).await;
                left.expect(GET).await;
                drop(left);
                session
            } else {
                drop(left);
                world.call(GET).await
            };
            let mut server = origin.accept().await;
            answer(&mut session, &mut server, GET).await;
            assert_eq!(session.over().await.requests.len(), 1);
        }
    });
}

#[test]
fn nobody_inherits_somebodys_credentials() {
    play(async {
        let origin = Server::new().await;
        let (world, mut left) = left_by(NTLM, &origin).await;
        left.ended().await;
        // Nor does a client that brings such credentials take a connection that others have used.
        let mut session = world.call(GET).await;
        let mut server = origin.accept().await;
        answer(&mut session, &mut server, GET).await;
        session.over().await;
        let mut session = world.call(NTLM).await;
        let mut own = origin.accept().await;
        answer(&mut session, &mut own, NTLM).await;
        session.over().await;
    });
}

#[test]
fn another_workload_inherits_nothing() {
    play(async {
        let origin = Server::new().await;
        let (mut world, _left) = left_by(GET, &origin).await;
        world.become_another_workload();
        let mut session = world.call(GET).await;
        let mut server = origin.accept().await;
        answer(&mut session, &mut server, GET).await;
        session.over().await;
    });
}

#[test]
fn inbound_nothing_is_inherited() {
    play(async {
        let origin = Server::new().await;
        let world = World::new(origin.address, Setup::default()).await;
        for _ in 0..2 {
            let mut session = world.called(GET).await;
            let mut server = origin.accept().await;
            answer(&mut session, &mut server, GET).await;
            session.over().await;
            server.ended().await;
        }
    });
}

#[test]
fn a_connection_waits_for_its_next_client_for_a_second() {
    play(async {
        let origin = Server::new().await;
        let (world, mut left) = left_by(GET, &origin).await;
        world.context.inherited.expire(Instant::now());
        let mut session = world.call(GET).await;
        answer(&mut session, &mut left, GET).await;
        session.over().await;
        world.context.inherited.expire(Instant::now() + Duration::from_secs(1));
        left.ended().await;
    });
}

#[test]
fn a_connection_serves_a_number_of_clients_so_that_balancing_keeps_its_say() {
    play(async {
        let origin = Server::new().await;
        let (world, mut left) = left_by(GET, &origin).await;
        for _ in 1..32 {
            let mut session = world.call(GET).await;
            answer(&mut session, &mut left, GET).await;
            session.over().await;
        }
        left.ended().await;
    });
}
