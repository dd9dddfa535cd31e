//! Connections that break in the middle of something: whose fault it was, and what the other end gets to see.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const POST: &str = "POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 10\r\n\r\n012";
const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";

/// A session whose server has got `request`.
async fn asked(request: &str) -> (Session, Peer) {
    let origin = Server::new().await;
    let session = World::new(origin.address, Setup::default()).await.call(request).await;
    let mut server = origin.accept().await;
    server.expect(request).await;
    (session, server)
}

#[test]
fn an_upload_that_ends_early_is_the_clients_fault() {
    play(async {
        let (mut session, mut server) = asked(POST).await;
        session.client.end().await;
        server.ended().await;
        session.client.was_reset().await;
        let records = session.over().await;
        assert_eq!(records.request(), (None, "error", "client_truncated"));
        assert_eq!((records.end(), records.connection.bytes_in), (("error", "client_truncated"), POST.len() as u64));
    });
}

#[test]
fn a_client_that_breaks_off_is_recorded_as_that() {
    for request in [POST, GET] {
        play(async move {
            let (session, mut server) = asked(request).await;
            let records = session.broken().await;
            server.ended().await;
            assert_eq!(records.request(), (None, "error", "client_reset"));
            assert_eq!(records.end(), ("error", "client_reset"));
        });
    }
}

#[test]
fn a_client_that_ends_its_direction_still_gets_its_answer() {
    play(async {
        let (mut session, mut server) = asked(GET).await;
        session.client.end().await;
        server.ended().await;
        server.send(OK).await;
        assert_eq!(session.client.rest().await, OK);
        let records = session.over().await;
        assert_eq!(records.request(), (Some(200), "forwarded", "no_space_named"));
        assert_eq!(records.end(), ("forwarded", "connection_close"));
    });
}

#[test]
fn a_broken_chunk_in_the_middle_of_an_upload_is_a_400() {
    play(async {
        let (mut session, mut server) = asked(CHUNKED).await;
        session.client.send("zzz\r\n").await;
        assert!(session.client.rest().await.starts_with("HTTP/1.1 400 Bad Request\r\nserver: interceptor\r\n"));
        server.ended().await;
        let records = session.over().await;
        assert_eq!(records.request(), (Some(400), "refused", "bad_request"));
        assert_eq!((records.connection.requests, records.connection.bytes_in), (1, CHUNKED.len() as u64));
    });
}

#[test]
fn a_broken_chunk_after_the_answer_is_a_reset() {
    play(async {
        let (mut session, mut server) = asked(CHUNKED).await;
        server.send(OK).await;
        session.client.expect(OK).await;
        session.client.send("zzz\r\n").await;
        session.client.was_reset().await;
        assert_eq!(session.over().await.request(), (Some(200), "error", "bad_request"));
    });
}

#[test]
fn an_answer_that_breaks_off_reaches_the_client_as_far_as_it_came_and_then_as_a_reset() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    let interim = "HTTP/1.1 100 Continue\r\n\r\n";
    for (told, then, reset, status, reason) in [
        (head, "", false, Some(200), "upstream_truncated"),
        (head, "", true, Some(200), "upstream_reset"),
        (chunked, "zzz", false, Some(200), "bad_response"),
        (interim, "+OK\r\n", false, None, "bad_response"),
        (interim, "", false, None, "upstream_closed"),
        (interim, "", true, None, "upstream_closed"),
    ] {
        play(async move {
            let (mut session, mut server) = asked(GET).await;
            server.send(told).await;
            session.client.expect(told).await;
            server.send(then).await;
            if reset {
                server.reset();
            } else {
                server.end().await;
            }
            session.client.was_reset().await;
            let records = session.over().await;
            assert_eq!(records.request(), (status, "error", reason), "{told} {then} {reset}");
            assert_eq!((records.end(), records.requests[0].bytes_out), (("error", reason), told.len() as u64));
        });
    }
}

#[test]
fn an_answer_whose_first_chunk_is_broken_is_not_begun() {
    play(async {
        let (mut session, mut server) = asked(GET).await;
        server.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzz").await;
        session.client.was_reset().await;
        let records = session.over().await;
        assert_eq!((records.request(), records.requests[0].bytes_out), ((None, "error", "bad_response"), 0));
    });
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_download_is_recorded_as_that() {
    play(async {
        let (mut session, mut server) = asked(GET).await;
        let head = "HTTP/1.1 200 OK\r\n\r\n";
        server.send(head).await;
        session.client.expect(head).await;
        let flood = async { while server.0.write_all(&[b'x'; 4096]).await.is_ok() {} };
        let (records, ()) = tokio::join!(session.broken(), flood);
        assert_eq!(records.request(), (Some(200), "error", "client_reset"));
    });
}

#[test]
fn an_answer_before_the_upload_ended_is_passed_on_even_if_the_server_then_goes() {
    let head = "POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 1000000000\r\n\r\n";
    let answer = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno";
    play(async move {
        let (mut session, mut server) = asked(head).await;
        server.send(answer).await;
        session.client.expect(answer).await;
        session.client.send("some of the body").await;
        server.expect("some").await;
        // With unread bytes: this resets.
        drop(server);
        let (mut from, mut to) = session.client.0.split();
        let mut byte = [0];
        let flood = async { while to.write_all(&[b'x'; 4096]).await.is_ok() {} };
        tokio::select! {
            end = from.read(&mut byte) => assert_eq!(end.unwrap(), 0),
            () = flood => panic!("the agent broke off before it ended its direction"),
        }
        let records = session.over().await;
        assert_eq!(records.request(), (Some(413), "forwarded", "no_space_named"));
        assert_eq!(records.end(), ("forwarded", "connection_close"));
    });
}

#[test]
fn a_request_of_which_nothing_could_be_sent_goes_out_on_a_new_connection() {
    let post = "POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\nhi";
    play(async move {
        let origin = Server::new().await;
        let world = World::new(origin.address, Setup::default()).await;
        let mut session = world.call(format!("{GET}{post}")).await;
        let mut server = origin.accept().await;
        server.expect(GET).await;
        server.send(OK).await;
        // The agent finds the answer and the reset at once.
        server.reset();
        session.client.expect(OK).await;
        let mut server = origin.accept().await;
        server.expect(post).await;
        server.send(OK).await;
        session.client.expect(OK).await;
        let records = session.over().await;
        assert_eq!((records.connection.requests, records.requests.len()), (2, 2));
    });
}

#[test]
fn a_client_that_leaves_between_requests_or_within_a_head_has_asked_nothing() {
    let half = "GET / HTTP/1.1\r\nHo";
    play(async {
        let origin = Server::new().await;
        let world = World::new(origin.address, Setup::default()).await;
        let records = world.call(half).await.broken().await;
        assert_eq!((records.requests.len(), records.end()), (0, ("error", "client_reset")));
        let records = world.call(half).await.over().await;
        assert_eq!((records.requests.len(), records.end()), (0, ("forwarded", "end_of_stream")));
        let mut session = world.call(GET).await;
        let mut server = origin.accept().await;
        server.expect(GET).await;
        server.send(OK).await;
        session.client.expect(OK).await;
        let records = session.broken().await;
        assert_eq!((records.requests.len(), records.end()), (1, ("error", "client_reset")));
    });
}
