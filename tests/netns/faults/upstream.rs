//! Servers that misbehave, at the original destination and at the endpoint of a space: what the client sees, and what the
//! record says.
//!
//! What passes untouched is seen as without the agent: a part of an answer, and the break behind it. Where the client has
//! nothing yet it gets an answer of the agent's own.

use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use interceptor_tests::http::Connection;
use interceptor_tests::wait;
use serde_json::{Value, json};

use super::{GET, GET_COPY, OK, requests, with_copy};
use crate::wire::{LIMIT, Server, UNDECLARED, Way, Wire, exchange, expect, expect_reset, reset, send};

/// How a server ends its answer.
#[derive(Debug, Clone, Copy)]
enum Ends {
    Reset,
    Closes,
}

/// What a client sees.
#[derive(Debug, Clone, Copy)]
enum Sees {
    /// An answer of the agent's own, and the end.
    Answer(u16),
    /// What the server sent, and then a broken connection.
    PartAndReset,
    /// What the server sent, and then an orderly end.
    AllAndEnd,
}

const LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
const UNTIL_CLOSE: &str = "HTTP/1.1 200 OK\r\n\r\nhalf";

const CASES: [(&str, Ends, Sees, &str); 13] = [
    ("", Ends::Reset, Sees::Answer(502), "upstream_closed"),
    ("", Ends::Closes, Sees::Answer(502), "upstream_closed"),
    ("HTTP/1.1 200 OK\r\nContent-", Ends::Reset, Sees::Answer(502), "upstream_closed"),
    ("HTTP/1.1 200 OK\r\nContent-", Ends::Closes, Sees::Answer(502), "upstream_closed"),
    (LENGTH, Ends::Reset, Sees::PartAndReset, "upstream_reset"),
    (LENGTH, Ends::Closes, Sees::PartAndReset, "upstream_truncated"),
    (CHUNKED, Ends::Reset, Sees::PartAndReset, "upstream_reset"),
    (CHUNKED, Ends::Closes, Sees::PartAndReset, "upstream_truncated"),
    (UNTIL_CLOSE, Ends::Reset, Sees::PartAndReset, "upstream_reset"),
    (UNTIL_CLOSE, Ends::Closes, Sees::AllAndEnd, "forwarded"),
    ("SSH-2.0-OpenSSH_9.2p1\r\n", Ends::Closes, Sees::Answer(502), "bad_response"),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        Ends::Closes,
        Sees::Answer(502),
        "bad_response",
    ),
    ("HTTP/1.1 100 Continue\r\n\r\n", Ends::Closes, Sees::PartAndReset, "upstream_closed"),
];

/// Where the server is: its listener and a request that goes there.
fn places(wire: &Wire, copy: &interceptor_tests::Pod) -> [(Server, &'static str); 2] {
    [(wire.listen(UNDECLARED), GET), (Server::in_pod(copy, UNDECLARED), GET_COPY)]
}

/// A request under way: the client's end and the server's.
fn ask(wire: &Wire, server: &Server, request: &str) -> (TcpStream, TcpStream) {
    let client = wire.dial(Way::Outbound, UNDECLARED);
    send(&client, request);
    let peer = server.accept();
    expect(&peer, request);
    (client, peer)
}

fn last(wire: &Wire, count: usize) -> Value {
    let record = wait::until(LIMIT, "the record", || {
        let all = requests(wire);
        anyhow::ensure!(all.len() == count, "{} of {count}", all.len());
        all.into_iter().max_by_key(|record| record["id"].as_u64()).ok_or_else(|| anyhow::anyhow!("none"))
    });
    record.unwrap()
}

fn own_answer(client: TcpStream, status: u16) {
    let mut connection = Connection::new(client);
    let answer = connection.response("GET").unwrap_or_else(|error| panic!("{status} is expected: {error:#}"));
    assert_eq!((answer.status().unwrap(), answer.first("server")), (status, Some("interceptor")), "{answer:?}");
    assert_eq!(connection.rest().unwrap(), b"");
}

#[test]
fn an_answer_that_breaks_off_is_never_made_to_look_whole_and_its_record_says_how_it_broke() {
    let (wire, copy) = with_copy("broken", &[]);
    let mut count = 0;
    for (server, request) in places(&wire, &copy) {
        for (answer, ends, sees, reason) in CASES {
            let (client, peer) = ask(&wire, &server, request);
            send(&peer, answer);
            // What is on its way before a break arrives; a reset of a server's own would overtake it there already.
            if let Sees::PartAndReset = sees {
                expect(&client, answer);
            }
            match ends {
                Ends::Closes => drop(peer),
                Ends::Reset => reset(peer),
            }
            match sees {
                Sees::Answer(status) => own_answer(client, status),
                Sees::PartAndReset => expect_reset(&client),
                Sees::AllAndEnd => assert_eq!(String::from_utf8_lossy(&crate::wire::until_end(&client)), answer),
            }
            count += 1;
            let record = last(&wire, count);
            let said = if record["verdict"] == "error" { &record["reason"] } else { &json!("forwarded") };
            assert_eq!(said, &json!(reason), "{answer:?} {ends:?}: {record}");
            let side = if reason == "forwarded" { Value::Null } else { json!("upstream") };
            assert_eq!(record["side"], side, "{record}");
            let space = if request == GET { "default" } else { "azureuser" };
            assert_eq!(record["target"]["space"], space, "{record}");
        }
    }
}

#[test]
fn a_server_that_says_nothing_is_waited_for_as_long_as_first_byte_timeout_and_else_as_the_client_likes() {
    let patience = Duration::from_millis(500);
    let (wire, copy) = with_copy("mute", &[("proxy", "first_byte_timeout", json!("500ms"))]);
    let mut count = 0;
    for (server, request) in places(&wire, &copy) {
        let begin = Instant::now();
        let (client, _peer) = ask(&wire, &server, request);
        own_answer(client, 504);
        let took = begin.elapsed();
        assert!(took >= patience && took < LIMIT / 2, "{took:?}");
        count += 1;
        assert_eq!(last(&wire, count)["reason"], "first_byte_timeout");
        // One that has begun may stop for as long as it likes, in the head of its body or in the middle.
        for half in [LENGTH, CHUNKED] {
            let (client, peer) = ask(&wire, &server, request);
            send(&peer, half);
            expect(&client, half);
            std::thread::sleep(patience + Duration::from_millis(300));
            let rest = if half == LENGTH { "x".repeat(96) } else { "0\r\n\r\n".to_owned() };
            send(&peer, &rest);
            expect(&client, &rest);
            // And the connection is good for the next request.
            exchange(&client, &peer, request, OK);
            count += 2;
        }
    }
    // The opposite: without a limit of the agent's, the client's patience counts.
    let (wire, copy) = with_copy("mute-off", &[]);
    for (server, request) in places(&wire, &copy) {
        let (client, peer) = ask(&wire, &server, request);
        std::thread::sleep(patience + Duration::from_millis(300));
        send(&peer, OK);
        expect(&client, OK);
        send(&client, request);
        expect(&peer, request);
        drop(client);
        crate::wire::expect_end(&peer);
    }
}

#[test]
fn interim_answers_pass_in_any_number_and_an_endless_head_is_a_502() {
    let (mut wire, copy) = with_copy("flood", &[]);
    let before = wire.memory_kib("VmRSS:");
    for (server, request) in places(&wire, &copy) {
        let (client, peer) = ask(&wire, &server, request);
        let interim = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n".repeat(20_000);
        std::thread::scope(|scope| {
            scope.spawn(|| send(&peer, &interim));
            expect(&client, &interim);
        });
        send(&peer, OK);
        expect(&client, OK);
        exchange(&client, &peer, request, OK);

        let (client, peer) = ask(&wire, &server, request);
        // The agent stops reading at its bound; then writing fails, which is the server's affair.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut peer = &peer;
                let line = format!("X: {}\r\n", "x".repeat(1000));
                std::io::Write::write_all(&mut peer, b"HTTP/1.1 200 OK\r\n").ok();
                while std::io::Write::write_all(&mut peer, line.as_bytes()).is_ok() {}
            });
            own_answer(client, 502);
        });
    }
    let after = wire.memory_kib("VmRSS:");
    assert!(after < before + 8 * 1024, "{before} KiB, then {after} KiB");
}

#[test]
fn an_answer_before_the_end_of_an_upload_and_the_end_behind_it_reach_the_client() {
    let (wire, copy) = with_copy("early", &[]);
    for (server, request) in places(&wire, &copy) {
        let route = if request == GET_COPY { "azds-route-as: azureuser\r\n" } else { "" };
        let upload = format!("POST / HTTP/1.1\r\nHost: peer\r\n{route}Content-Length: 100000000\r\n\r\nbegin");
        let (client, peer) = ask(&wire, &server, &upload);
        let refusal = "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 5\r\n\r\nlarge";
        send(&peer, refusal);
        expect(&client, refusal);
        peer.shutdown(Shutdown::Write).unwrap();
        assert_eq!(crate::wire::until_end(&client), b"");
    }
}
