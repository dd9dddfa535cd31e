//! Bodies that are long enough to move by splice(2): not a byte more, less or out of order, and nothing of what follows.

use super::super::exchange::{End, Failure};
use super::super::message::MoveError;
use super::run::{Case, Sockets, run, runtime};
use super::{case, done};

/// Longer than a pipe holds.
const LONG: usize = 1_500_000;
const SHORT: usize = 200_000;

/// Bytes of which no two stretches are alike.
fn body(len: usize) -> Vec<u8> {
    (0..len as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

fn long(name: &'static str, request: usize, response: usize) -> Case {
    let request = [format!("PUT / HTTP/1.1\r\nContent-Length: {request}\r\n\r\n").as_bytes(), &body(request)].concat();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {response}\r\n\r\n");
    Case { request, response: [head.as_bytes(), &body(response)].concat(), ..case(name, "", "") }
}

#[test]
fn a_long_body_passes_whole_wherever_it_is_split() {
    runtime().block_on(async {
        let sockets = Sockets::new().await;
        let up = Case { next: b"GET / HTTP/1.1\r\n\r\n", ..long("up", LONG, 2) };
        let down = Case { early: b"HTTP/1.1 200 OK\r\n", ..long("down", 0, LONG) };
        let both = Case { respond_after: Some(1), ..long("both", LONG, LONG) };
        for case in [up, down, both] {
            for split in [0, 30, 50, 17_000, SHORT, LONG] {
                let outcome = run(&sockets, &case, split, split).await;
                let at = format!("{} split at {split}: {:?}", case.name, outcome.end);
                assert!(outcome.to_server == case.request, "to the server, {at}");
                assert!(outcome.to_client == case.response, "to the client, {at}");
                assert_eq!((&*outcome.next, &*outcome.early), (case.next, case.early), "{at}");
                assert_eq!(outcome.counted, (case.request.len() as u64, case.response.len() as u64), "{at}");
                done(true)(&outcome);
            }
        }
    });
}

#[test]
fn a_long_body_until_the_end_of_the_connection_ends_with_it() {
    runtime().block_on(async {
        let response = [b"HTTP/1.1 200 OK\r\n\r\n", &body(LONG)[..]].concat();
        let case = Case { response, server_ends: true, ..case("until close", "GET / HTTP/1.1\r\n\r\n", "") };
        let outcome = run(&Sockets::new().await, &case, 0, SHORT).await;
        assert!(outcome.to_client == case.response);
        done(false)(&outcome);
    });
}

#[test]
fn a_long_body_that_ends_early_is_a_failure() {
    runtime().block_on(async {
        let mut case = Case { server_ends: true, ..long("truncated", 0, LONG) };
        case.response.truncate(SHORT);
        let outcome = run(&Sockets::new().await, &case, 0, 0).await;
        assert!(matches!(outcome.end, End::Failed(Failure::Response(MoveError::Truncated))), "{:?}", outcome.end);
        assert!(outcome.to_client == case.response, "what came is passed on first");
    });
}
