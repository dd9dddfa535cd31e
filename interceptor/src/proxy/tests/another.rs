//! A request whose endpoint cannot be reached: to which other one it goes, and to which never.

use super::*;
use crate::flow::Note;

const POST: &str = "POST / HTTP/1.1\r\nHost: b\r\nazds-route-as: user\r\nContent-Length: 3\r\n\r\nabc";

async fn setup(live: Option<&Server>) -> Setup {
    let beside = live.iter().map(|server| server.address).collect();
    Setup { copies: vec![("user", peer::nobody().await)], beside, ..Setup::default() }
}

#[test]
fn a_request_whose_endpoint_refuses_goes_to_another_one_of_the_same_copy_whatever_its_method() {
    for request in [&get_in("user"), POST] {
        let request = request.to_owned();
        play(async move {
            let (origin, live) = (Server::new().await, Server::new().await);
            let world = World::new(origin.address, setup(Some(&live)).await).await;
            let mut session = world.call(&request).await;
            let mut server = live.accept().await;
            // The second one chooses the endpoint that lives, or is on its connection.
            for turn in 0..2 {
                if turn == 1 {
                    session.client.send(&request).await;
                }
                server.expect(&request).await;
                server.send(OK).await;
                session.client.expect(OK).await;
            }
            let records = session.over().await;
            assert!(origin.is_left_alone().await, "the copy of another space is no substitute");
            for (record, moved) in records.requests.iter().zip([true, false]) {
                assert_eq!(
                    (record.status, record.verdict.as_str(), record.reason),
                    (Some(200), "redirected", "routed")
                );
                assert_eq!(record.target.as_ref().map(|target| target.address), Some(live.address));
                assert_eq!(record.notes.iter().any(|note| note == Note::AnotherEndpoint), moved);
            }
        });
    }
}

#[test]
fn without_another_endpoint_the_failure_is_told_and_no_other_copy_is_asked() {
    play(async {
        let origin = Server::new().await;
        let world = World::new(origin.address, setup(None).await).await;
        let mut session = world.call(get_in("user")).await;
        assert!(session.client.rest().await.starts_with("HTTP/1.1 502 Bad Gateway\r\nserver: interceptor\r\n"));
        let records = session.over().await;
        assert_eq!(records.request(), (Some(502), "error", "upstream_refused"));
        assert_eq!(records.requests[0].notes.iter().next(), None);
        assert!(origin.is_left_alone().await);
    });
}

#[test]
fn what_an_endpoint_has_seen_of_a_request_is_never_sent_to_another() {
    play(async {
        let (origin, first, other) = (Server::new().await, Server::new().await, Server::new().await);
        let copies = vec![("user", first.address)];
        let setup = Setup { copies, beside: vec![other.address], ..Setup::default() };
        let mut session = World::new(origin.address, setup).await.call(get_in("user")).await;
        let mut server = first.accept().await;
        server.expect(get_in("user")).await;
        server.end().await;
        assert!(session.client.rest().await.starts_with("HTTP/1.1 502 Bad Gateway\r\n"));
        assert_eq!(session.over().await.request(), (Some(502), "error", "upstream_closed"));
        assert!(other.is_left_alone().await && origin.is_left_alone().await);
    });
}
