//! Whole exchanges over real sockets, split at every byte: what comes out is what went in, plus the added line.

mod long;
mod run;
mod stale;

use self::run::{Case, Outcome, Sockets, run, runtime};
use super::exchange::{End, Failure};
use super::message::MoveError;

/// A case with these bytes; the fields that differ follow by struct update.
fn case(name: &'static str, request: &str, response: &str) -> Case {
    Case { name, request: request.into(), response: response.into(), ..Case::default() }
}

/// What the server must get: the request with the line before the end of its head.
fn expected_request(case: &Case) -> Vec<u8> {
    let mut bytes = case.request.clone();
    if let Some(line) = case.line {
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 2;
        bytes.splice(head..head, line.bytes());
    }
    bytes
}

/// Runs a case with every split of what the client sends, then of what the server sends.
fn at_every_split(case: &Case, check: impl Fn(&Outcome)) {
    let runtime = runtime();
    runtime.block_on(async {
        let sockets = Sockets::new().await;
        let request = case.request.len() + case.next.len();
        let response = case.response.len() + case.early.len();
        let splits = (0..=request).map(|at| (at, 0)).chain((1..=response).map(|at| (0, at)));
        for (request_split, response_split) in splits {
            let outcome = run(&sockets, case, request_split, response_split).await;
            let at = format!("{} split at {request_split} and {response_split}: {:?}", case.name, outcome.end);
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            assert_eq!(text(&outcome.to_server), text(&expected_request(case)), "to the server, {at}");
            assert_eq!(text(&outcome.to_client), text(&case.response), "to the client, {at}");
            assert_eq!((text(&outcome.next), text(&outcome.early)), (text(case.next), text(case.early)), "left, {at}");
            let counted = (case.request.len(), case.response.len());
            assert_eq!(outcome.counted, (counted.0.try_into().unwrap(), counted.1.try_into().unwrap()), "{at}");
            check(&outcome);
        }
    });
}

/// The exchange was delivered; whether both connections can carry another one.
fn done(reusable: bool) -> impl Fn(&Outcome) {
    move |outcome| match outcome.end {
        End::Done { reusable: found } => assert_eq!(found, reusable),
        ref other => panic!("{other:?}"),
    }
}

fn switched(outcome: &Outcome) {
    assert!(matches!(outcome.end, End::Switched), "{:?}", outcome.end);
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET /a?b=c HTTP/1.1\r\nhOsT: b\r\nX-Odd:   spaced \r\n\r\n";

#[test]
fn a_body_with_a_length_passes_both_ways() {
    at_every_split(&case("get", GET, OK), done(true));
    let post = "POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 12\r\n\r\nhello\r\n\r\nyou";
    at_every_split(&case("post", post, OK), done(true));
}

#[test]
fn chunks_pass_with_their_extensions_and_trailers() {
    let chunks = "5;a=\"b\"\r\nhello\r\n1 ; x\r\n!\r\n0\r\nTrailer: t\r\n\r\n";
    let request = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
    let response = format!("HTTP/1.1 200 OK\r\ntransfer-encoding:chunked\r\n\r\n{chunks}");
    at_every_split(&case("chunked", &request, &response), done(true));
}

#[test]
fn responses_without_a_body_end_with_their_head() {
    let bodiless = "Content-Length: 5\r\n\r\n";
    at_every_split(&case("head", "HEAD / HTTP/1.1\r\n\r\n", &format!("HTTP/1.1 200 OK\r\n{bodiless}")), done(true));
    at_every_split(&case("204", GET, "HTTP/1.1 204 No Content\r\n\r\n"), done(true));
    at_every_split(&case("304", GET, &format!("HTTP/1.1 304 Not Modified\r\n{bodiless}")), done(true));
}

#[test]
fn interim_responses_pass_before_the_final_one() {
    let chain = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc";
    at_every_split(&case("interim", post, &format!("{chain}{OK}")), done(true));
    // The server asks for the body: it answers when it has the head.
    let asked = Case { respond_after: Some(post.len() - 3), ..case("expect", post, &format!("{chain}{OK}")) };
    at_every_split(&asked, done(true));
}

#[test]
fn a_body_until_the_end_of_the_connection_is_not_reusable() {
    for (name, response) in [
        ("close-delimited", "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it"),
        ("implicit", "HTTP/1.1 200 OK\r\n\r\n"),
        ("1.0", "HTTP/1.0 200 OK\r\n\r\nold"),
    ] {
        at_every_split(&Case { server_ends: true, ..case(name, GET, response) }, done(false));
    }
    let closing = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx";
    at_every_split(&case("closing server", GET, closing), done(false));
    at_every_split(&case("closing client", "GET / HTTP/1.1\r\nConnection: close\r\n\r\n", OK), done(false));
    at_every_split(&case("HTTP/1.0 client", "GET / HTTP/1.0\r\n\r\n", OK), done(false));
}

#[test]
fn a_pipelined_request_is_left_untouched() {
    let next = b"GET /next HTTP/1.1\r\n\r\n";
    at_every_split(&Case { next, ..case("pipelined", GET, OK) }, done(true));
    let post = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    at_every_split(&Case { next, ..case("pipelined after chunks", post, OK) }, done(true));
}

#[test]
fn an_added_line_stands_at_the_end_of_the_head() {
    let line = Some("azds-route-as: azureuser\r\n");
    at_every_split(&Case { line, ..case("line", GET, OK) }, done(true));
    let post = "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody";
    at_every_split(&Case { line, next: b"GET /", ..case("line and body", post, OK) }, done(true));
}

#[test]
fn a_switched_protocol_ends_the_exchange_where_its_own_bytes_begin() {
    let request = "GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let response = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    let switch = case("upgrade", request, response);
    at_every_split(&Case { early: b"\x81\x02hi", next: b"\x81\x80mask", ..switch }, switched);
    let connect = case("connect", "CONNECT a:443 HTTP/1.1\r\n\r\n", "HTTP/1.1 200 Yes\r\nContent-Length: 9\r\n\r\n");
    at_every_split(&Case { early: b"\x16\x03", next: b"\x16\x03\x01", ..connect }, switched);
    at_every_split(&case("refused upgrade", request, OK), done(true));
    let refused = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
    at_every_split(&case("refused connect", "CONNECT a:443 HTTP/1.1\r\n\r\n", refused), done(true));
}

#[test]
fn an_answer_before_the_body_ends_passes_at_once() {
    let post = "POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n0123456789";
    let early = Case { respond_after: Some(post.len() - 8), ..case("early", post, OK) };
    at_every_split(&early, done(true));
}

#[test]
fn an_early_answer_of_a_closing_server_does_not_wait_for_the_body() {
    let head = "POST / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n";
    let response = "HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    at_every_split(&case("413", head, response), done(false));
}

#[test]
fn broken_exchanges_say_whose_fault_it_is() {
    let runtime = runtime();
    let end = |case: Case| runtime.block_on(async { run(&Sockets::new().await, &case, 0, 0).await.end });
    let ends = |case: Case| Case { server_ends: true, ..case };
    let cut = end(ends(case("cut", GET, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")));
    assert!(matches!(cut, End::Failed(Failure::Response(MoveError::Truncated))), "{cut:?}");
    let cut_head = end(ends(case("cut head", GET, "HTTP/1.1 200 OK\r\nConte")));
    assert!(matches!(cut_head, End::Failed(Failure::NoResponse(_))), "{cut_head:?}");
    let none = end(ends(case("no response", GET, "")));
    assert!(matches!(none, End::Failed(Failure::NoResponse(_))), "{none:?}");
    let only_interim = end(ends(case("only interim", GET, "HTTP/1.1 100 Continue\r\n\r\n")));
    assert!(matches!(only_interim, End::Failed(Failure::NoResponse(_))), "{only_interim:?}");
    let garbage = end(case("garbage", GET, "+OK ready\r\n"));
    assert!(matches!(garbage, End::Failed(Failure::BadResponse(_))), "{garbage:?}");
    let chunk = end(case("chunk", GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc"));
    assert!(matches!(chunk, End::Failed(Failure::Response(MoveError::Chunk(_)))), "{chunk:?}");
    let large = end(case("large", GET, &format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(70_000))));
    assert!(matches!(large, End::Failed(Failure::LargeResponse)), "{large:?}");
}
