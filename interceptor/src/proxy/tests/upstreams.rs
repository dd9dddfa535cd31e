//! The upstream connections of one client: how long they live, and what happens when a server leaves one.

use std::time::Duration;

use super::*;

/// Asks once and has it answered by a server that is connected already.
async fn ask(session: &mut Session, server: &mut Peer, request: &str) {
    session.client.send(request).await;
    answer(session, server, request).await;
}

async fn answer(session: &mut Session, server: &mut Peer, request: &str) {
    server.expect(request).await;
    server.send(OK).await;
    session.client.expect(OK).await;
}

#[test]
fn the_fifth_idle_connection_costs_the_oldest_its_place() {
    const SPACES: [&str; 5] = ["one", "two", "three", "four", "five"];
    play(async {
        let origin = Server::new().await;
        let mut copies = Vec::new();
        for _ in SPACES {
            copies.push(Server::new().await);
        }
        let list = SPACES.into_iter().zip(copies.iter().map(|copy| copy.address)).collect();
        let world = World::new(origin.address, Setup { copies: list, ..Setup::default() }).await;
        let mut session = world.call(get_in("one")).await;
        let mut oldest = copies[0].accept().await;
        answer(&mut session, &mut oldest, &get_in("one")).await;
        let mut others = Vec::new();
        for (space, copy) in SPACES.iter().zip(&copies).skip(1) {
            session.client.send(get_in(space)).await;
            let mut server = copy.accept().await;
            answer(&mut session, &mut server, &get_in(space)).await;
            others.push(server);
        }
        oldest.ended().await;
        ask(&mut session, &mut others[0], &get_in("two")).await;
        assert_eq!(session.over().await.requests.len(), 6);
    });
}

#[test]
fn an_idle_connection_to_another_space_ends_after_its_time_and_the_clients_does_not() {
    play(async {
        let (origin, one, two) = (Server::new().await, Server::new().await, Server::new().await);
        let mut setup = Setup { copies: vec![("one", one.address), ("two", two.address)], ..Setup::default() };
        setup.settings.idle_timeout = Duration::from_millis(40);
        let mut session = World::new(origin.address, setup).await.call(GET).await;
        let mut plain = origin.accept().await;
        answer(&mut session, &mut plain, GET).await;
        session.client.send(get_in("one")).await;
        let mut first = one.accept().await;
        answer(&mut session, &mut first, &get_in("one")).await;
        // The second one's time begins and ends later.
        tokio::time::sleep(Duration::from_millis(15)).await;
        session.client.send(get_in("two")).await;
        let mut second = two.accept().await;
        answer(&mut session, &mut second, &get_in("two")).await;
        first.ended().await;
        second.ended().await;
        ask(&mut session, &mut plain, GET).await;
        assert_eq!(session.over().await.end(), ("forwarded", "end_of_stream"));
    });
}

#[test]
fn a_server_that_closes_the_idle_original_connection_closes_the_clients() {
    play(async {
        let origin = Server::new().await;
        let mut session = World::new(origin.address, Setup::default()).await.call(GET).await;
        let mut server = origin.accept().await;
        answer(&mut session, &mut server, GET).await;
        drop(server);
        session.client.ended().await;
        assert_eq!(session.over().await.end(), ("forwarded", "server_closed"));
    });
}

#[test]
fn a_copy_that_closes_its_idle_connection_is_called_anew() {
    play(async {
        let (origin, copy) = (Server::new().await, Server::new().await);
        let setup = Setup { copies: vec![("user", copy.address)], ..Setup::default() };
        let mut session = World::new(origin.address, setup).await.call(get_in("user")).await;
        for _ in 0..2 {
            let mut server = copy.accept().await;
            answer(&mut session, &mut server, &get_in("user")).await;
            server.end().await;
            // The agent has noticed once it ends its own direction.
            server.ended().await;
            session.client.send(get_in("user")).await;
        }
        let mut server = copy.accept().await;
        answer(&mut session, &mut server, &get_in("user")).await;
        assert_eq!(session.over().await.requests.len(), 3);
    });
}

#[test]
fn an_idempotent_request_that_a_reused_connection_swallowed_is_repeated_once() {
    play(async {
        let (origin, copy) = (Server::new().await, Server::new().await);
        let setup = Setup { copies: vec![("user", copy.address)], ..Setup::default() };
        let mut session = World::new(origin.address, setup).await.call(get_in("user")).await;
        let mut server = copy.accept().await;
        answer(&mut session, &mut server, &get_in("user")).await;
        session.client.send(get_in("user")).await;
        server.expect(get_in("user")).await;
        drop(server);
        let mut server = copy.accept().await;
        answer(&mut session, &mut server, &get_in("user")).await;
        let records = session.over().await;
        assert_eq!((records.requests.len(), records.connection.requests), (2, 2));
        assert_eq!(records.connection.bytes_in, 2 * get_in("user").len() as u64, "the repetition is not the client's");
    });
}

#[test]
fn a_repeated_request_that_fails_again_is_answered_not_repeated() {
    play(async {
        let (origin, copy) = (Server::new().await, Server::new().await);
        let setup = Setup { copies: vec![("user", copy.address)], ..Setup::default() };
        let mut session = World::new(origin.address, setup).await.call(get_in("user")).await;
        let mut server = copy.accept().await;
        answer(&mut session, &mut server, &get_in("user")).await;
        session.client.send(get_in("user")).await;
        server.expect(get_in("user")).await;
        drop(server);
        let mut server = copy.accept().await;
        server.expect(get_in("user")).await;
        drop(server);
        assert!(session.client.rest().await.starts_with("HTTP/1.1 502 Bad Gateway\r\nserver: interceptor\r\n"));
        let records = session.over().await;
        assert!(copy.is_left_alone().await);
        assert_eq!(records.requests[1].reason, "upstream_closed");
    });
}

#[test]
fn a_request_with_effect_that_the_server_swallowed_ends_as_it_would_without_the_agent() {
    let post = "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi";
    play(async {
        let origin = Server::new().await;
        let mut session = World::new(origin.address, Setup::default()).await.call(GET).await;
        let mut server = origin.accept().await;
        answer(&mut session, &mut server, GET).await;
        session.client.send(post).await;
        server.expect(post).await;
        drop(server);
        session.client.was_reset().await;
        let records = session.over().await;
        assert_eq!(records.end(), ("error", "upstream_closed"));
        assert_eq!((records.requests[1].status, records.requests[1].reason), (None, "upstream_closed"));
    });
}

#[test]
fn a_connection_that_was_dialled_for_detection_carries_the_first_request() {
    play(async {
        let origin = Server::new().await;
        let world = World::new(origin.address, Setup::default()).await;
        let mut session = world.call("").await;
        let mut server = origin.accept().await;
        ask(&mut session, &mut server, GET).await;
        ask(&mut session, &mut server, GET).await;
        session.over().await;
        assert!(origin.is_left_alone().await);
    });
}

#[test]
fn a_server_that_says_more_than_its_answer_ends_the_connection() {
    play(async {
        let origin = Server::new().await;
        let mut session = World::new(origin.address, Setup::default()).await.call(GET).await;
        let mut server = origin.accept().await;
        server.expect(GET).await;
        server.send(format!("{OK}HTTP/1.1 200 OK\r\n")).await;
        assert_eq!(session.client.rest().await, OK);
        assert_eq!(session.over().await.end(), ("forwarded", "connection_close"));
    });
}
