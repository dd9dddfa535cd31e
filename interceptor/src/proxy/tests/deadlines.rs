//! Deadlines: what the client is told, and what is recorded.

use std::time::Duration;

use super::*;

const SHORT: Duration = Duration::from_millis(50);

#[test]
fn a_target_that_does_not_answer_the_dial_is_a_504() {
    play(async {
        let mute = peer::Mute::new().await;
        let mut setup = Setup::default();
        setup.settings.connect_timeout = SHORT;
        let mut session = World::new(mute.address, setup).await.call(GET).await;
        let answer = session.client.rest().await;
        assert!(answer.starts_with("HTTP/1.1 504 Gateway Timeout\r\nserver: interceptor\r\n"), "{answer}");
        assert!(answer.contains("no answer within the connect timeout"), "{answer}");
        let records = session.over().await;
        assert_eq!(records.request(), (Some(504), "error", "upstream_timeout"));
        assert_eq!((records.end(), records.connection.requests), (("error", "upstream_timeout"), 1));
    });
}

#[test]
fn a_server_that_says_nothing_in_time_is_a_504() {
    play(async {
        let origin = Server::new().await;
        let mut setup = Setup::default();
        setup.settings.first_byte_timeout = Some(SHORT);
        let mut session = World::new(origin.address, setup).await.call(GET).await;
        let mut server = origin.accept().await;
        server.expect(GET).await;
        let answer = session.client.rest().await;
        assert!(answer.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"), "{answer}");
        let records = session.over().await;
        server.ended().await;
        assert_eq!(records.request(), (Some(504), "error", "first_byte_timeout"));
        let (request, connection) = (&records.requests[0], &records.connection);
        assert_eq!((request.bytes_in, request.bytes_out), (GET.len() as u64, answer.len() as u64));
        assert_eq!((connection.bytes_in, connection.bytes_out), (request.bytes_in, request.bytes_out));
        assert_eq!(connection.requests, 1);
    });
}

#[test]
fn a_server_that_has_begun_to_answer_may_take_its_time() {
    play(async {
        let origin = Server::new().await;
        let mut setup = Setup::default();
        setup.settings.first_byte_timeout = Some(SHORT);
        let mut session = World::new(origin.address, setup).await.call(GET).await;
        let mut server = origin.accept().await;
        server.expect(GET).await;
        let (head, body) = OK.split_at(OK.len() - 2);
        server.send(head).await;
        session.client.expect(head).await;
        tokio::time::sleep(SHORT * 2).await;
        server.send(body).await;
        session.client.expect(body).await;
        assert_eq!(session.over().await.request(), (Some(200), "forwarded", "no_space_named"));
    });
}

#[test]
fn a_head_that_does_not_come_to_its_end_is_a_408() {
    play(async {
        let origin = Server::new().await;
        let mut setup = Setup::default();
        setup.settings.head_timeout = SHORT;
        let mut session = World::new(origin.address, setup).await.call("GET / HTTP/1.1\r\nHost:").await;
        let answer = session.client.rest().await;
        assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\nserver: interceptor\r\n"), "{answer}");
        let records = session.over().await;
        assert_eq!(records.request(), (Some(408), "refused", "head_timeout"));
        assert_eq!(records.end(), ("refused", "head_timeout"));
        assert!(origin.is_left_alone().await);
    });
}
