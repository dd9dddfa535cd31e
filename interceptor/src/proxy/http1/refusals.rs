//! What is not passed on, case by case: the rows of docs/security.md, which names these tests.
//!
//! Each case goes through the reader that decides it and through `respond`, which says what the peer is told. That
//! nothing of a refused message is forwarded is shown over sockets by `tests/fuzz` (`connection`).

use super::chunked::{ChunkError, Chunked};
use super::exchange::Failure;
use super::framing::LengthError;
use super::head::{self, HeadError, RequestKind};
use super::message::MoveError;
use crate::flow::ErrorSide;
use crate::headers::Reader;
use crate::proxy::respond::Answer;

/// A request of these fields is refused, whichever prefix of it has arrived, with that status.
#[track_caller]
fn request(start: &str, fields: &[u8], status: u16) -> HeadError {
    let mut bytes = [start.as_bytes(), b"\r\nHost: a\r\n", fields, b"\r\n\r\n"].concat();
    bytes.extend_from_slice(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n");
    for len in 0..bytes.len() {
        let part = head::request(&bytes[..len], &Reader::default());
        assert!(!matches!(part, Ok(Some(_))), "{} passes at {len}", fields.escape_ascii());
    }
    let error = head::request(&bytes, &Reader::default()).expect_err("refused");
    let answer = Answer::bad_request(error);
    let said = (answer.status, answer.reason, answer.side);
    assert_eq!(said, (status, "bad_request", ErrorSide::Downstream), "{}", fields.escape_ascii());
    let text = String::from_utf8(answer.to_bytes(1)).unwrap();
    assert!(text.contains("\r\nserver: interceptor\r\n") && text.contains("\r\nconnection: close\r\n"), "{text}");
    error
}

#[track_caller]
fn get(fields: &[u8], status: u16) -> HeadError {
    request("GET / HTTP/1.1", fields, status)
}

/// A response of these bytes is answered for with 502.
#[track_caller]
fn response(bytes: &[u8]) -> HeadError {
    for kind in [RequestKind::Ordinary, RequestKind::Head, RequestKind::Connect, RequestKind::Upgrade] {
        let error = head::response(bytes, kind).expect_err("refused");
        let answer = Answer::failed(&Failure::BadResponse(error)).unwrap();
        let said = (answer.status, answer.reason, answer.side);
        assert_eq!(said, (502, "bad_response", ErrorSide::Upstream), "{}", bytes.escape_ascii());
    }
    head::response(bytes, RequestKind::Ordinary).unwrap_err()
}

#[test]
fn a_request_with_length_and_transfer_encoding() {
    for fields in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
        "transfer-encoding: chunked\r\nX: y\r\ncontent-length: 0",
    ] {
        assert_eq!(get(fields.as_bytes(), 400), LengthError::Both.into());
    }
}

#[test]
fn a_request_with_lengths_that_differ() {
    assert_eq!(get(b"Content-Length: 3\r\nContent-Length: 4", 400), LengthError::Differing.into());
    assert_eq!(get(b"Content-Length: 0\r\nX: y\r\ncontent-length: 1", 400), LengthError::Differing.into());
}

#[test]
fn a_request_with_a_length_that_is_no_plain_number() {
    for value in [
        "-1",
        "+3",
        "0x3",
        "3,3",
        "3, 3",
        "3,4",
        "",
        "3 3",
        "3;",
        "3.0",
        "1e1",
        "three",
        "\u{ff13}",
        "9223372036854775808",
        "18446744073709551616",
        "99999999999999999999999999",
    ] {
        let error = get(format!("Content-Length: {value}").as_bytes(), 400);
        assert_eq!(error, LengthError::ContentLength.into(), "{value}");
    }
}

#[test]
fn a_request_with_another_transfer_encoding() {
    for value in [
        "",
        "gzip",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "chunked, identity",
        "identity",
        "xchunked",
        "chunkedx",
        "chunked;q=1",
        "chunked,",
        ",chunked",
        "\"chunked\"",
        "'chunked'",
        "chunked chunked",
        "cow",
        "ch\u{fc}nked",
        "chun\u{212a}ed",
        "x: chunked",
    ] {
        let error = get(format!("Transfer-Encoding: {value}").as_bytes(), 501);
        assert_eq!(error, LengthError::TransferEncoding.into(), "{value}");
    }
    for fields in [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
    ] {
        assert_eq!(get(fields.as_bytes(), 501), LengthError::TransferEncoding.into());
    }
}

#[test]
fn a_transfer_encoding_hidden_by_control_bytes_or_space() {
    for fields in [
        &b"Transfer-Encoding: \x0bchunked"[..],
        b"Transfer-Encoding: chunked\x0c",
        b"Transfer-Encoding: chunked\x00",
        b"Transfer-Encoding: \x7fchunked",
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding\t: chunked",
        b" Transfer-Encoding: chunked",
        b"\tTransfer-Encoding: chunked",
        b"Transfer-Encoding:\r\n chunked",
        b"Transfer-Encoding:\n chunked",
        b"X: y\rTransfer-Encoding: chunked",
        b"X: y\nTransfer-Encoding: chunked",
        b"X: y\n\rTransfer-Encoding: chunked",
        b"Transfer\0-Encoding: chunked",
        b"Transfer Encoding: chunked",
        b"Transfer-Encoding",
        b"\xc5\xbfransfer-Encoding: chunked",
    ] {
        get(fields, 400);
    }
    // Another name is another field, in front of us as behind us; with a length beside it the length counts.
    for field in ["Transfer_Encoding", "Transfer-Encodings", "X-Transfer-Encoding", "Transfer.Encoding"] {
        let text = format!("POST / HTTP/1.1\r\n{field}: chunked\r\nContent-Length: 3\r\n\r\nabc");
        let head = head::request(text.as_bytes(), &Reader::default()).unwrap().unwrap();
        assert_eq!(head.framing, super::framing::Framing::Length(3), "{field}");
    }
}

#[test]
fn a_transfer_encoding_in_http_1_0() {
    assert_eq!(request("POST / HTTP/1.0", b"Transfer-Encoding: chunked", 400), LengthError::Http10.into());
}

#[test]
fn a_bare_lf_in_a_request_head() {
    for start in ["GET / HTTP/1.1\nA: b", "\nGET / HTTP/1.1", "\n\nGET / HTTP/1.1"] {
        assert_eq!(request(start, b"A: b", 400), HeadError::LineEnd);
    }
    for fields in [&b"A: b\nC: d"[..], b"A: b\n", b"A: b\n\n", b"\nA: b", b"A:\n", b"A: b\n\r\n"] {
        get(fields, 400);
    }
}

/// Found by fuzzing: it was waited for, as it might have become a head.
#[test]
fn a_bare_lf_between_requests_is_refused_at_once() {
    for bytes in [&b"\n"[..], b"\n\r\n\r\n", b"\r\n\n", b"\r\n\r\n\nGET"] {
        assert_eq!(head::request(bytes, &Reader::default()), Err(HeadError::LineEnd), "{}", bytes.escape_ascii());
        assert_eq!(head::response(bytes, RequestKind::Ordinary), Err(HeadError::LineEnd));
    }
    for bytes in [&b"\r"[..], b"\r\n", b"\r\n\r\n"] {
        assert_eq!(head::request(bytes, &Reader::default()), Ok(None));
    }
}

#[test]
fn a_bare_cr_in_a_request_head() {
    for fields in [&b"A: b\rC: d"[..], b"A: b\r\r", b"A: b\r", b"A\r: b", b"\rA: b", b"A: \r", b"A: b\r\r\n"] {
        get(fields, 400);
    }
    for start in ["GET /\r HTTP/1.1", "GET / HTTP/1.1\r", "\rGET / HTTP/1.1", "GET\r/ HTTP/1.1"] {
        request(start, b"A: b", 400);
    }
}

#[test]
fn nul_and_other_control_bytes_in_a_request_head() {
    for byte in (0..=0x1f_u8).chain([0x7f]).filter(|byte| *byte != b'\t') {
        get(&[b"A: b", &[byte][..], b"c"].concat(), 400);
        get(&[b"A", &[byte][..], b": c"].concat(), 400);
        let start = format!("GET /{}a HTTP/1.1", char::from(byte));
        request(&start, b"A: b", 400);
    }
}

#[test]
fn space_around_a_field_name() {
    for fields in [&b"A : b"[..], b"A\t: b", b": b", b"A B: c", b"Host : x", b"Content-Length : 3", b"A"] {
        assert_eq!(get(fields, 400), HeadError::Syntax(httparse::Error::HeaderName), "{}", fields.escape_ascii());
    }
    // Before the first field, where some would skip the line.
    let first = b"GET / HTTP/1.1\r\n Transfer-Encoding: chunked\r\n\r\n";
    assert_eq!(head::request(first, &Reader::default()), Err(HeadError::Syntax(httparse::Error::HeaderName)));
}

#[test]
fn a_folded_field() {
    for fields in [&b"A: b\r\n c"[..], b"A: b\r\n\tc", b"A:\r\n b", b"Content-Length: 3\r\n 0", b"A: b\r\n \r\n c: d"] {
        assert_eq!(get(fields, 400), HeadError::Syntax(httparse::Error::HeaderName), "{}", fields.escape_ascii());
    }
}

#[test]
fn an_invalid_method_or_target() {
    for start in [
        "G(T / HTTP/1.1",
        "G\"T / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        " GET / HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET / x HTTP/1.1",
        "GET /",
        "GET",
        "/ HTTP/1.1",
        "G\u{dc}T / HTTP/1.1",
        "GET: / HTTP/1.1",
        "GET /  HTTP/1.1",
    ] {
        let error =
            request(start, b"A: b", if start == "GET / x HTTP/1.1" || start == "GET /  HTTP/1.1" { 505 } else { 400 });
        assert!(matches!(error, HeadError::Syntax(_)), "{start}: {error}");
    }
}

#[test]
fn an_invalid_version() {
    for version in
        ["HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "HTTP/1.", "HTTP/11", "http/1.1", "HTTPS/1.1", "HTTP/1.1x", "1.1"]
    {
        let status = if version == "HTTP/1.1x" { 400 } else { 505 };
        request(&format!("GET / {version}"), b"A: b", status);
    }
}

#[test]
fn too_many_fields() {
    let lines = |count: usize| ["A: b"; 200].get(..count).unwrap_or_default().join("\r\n");
    assert_eq!(get(lines(128).as_bytes(), 431), HeadError::TooManyFields);
    let most = format!("GET / HTTP/1.1\r\n{}\r\n\r\n", lines(128));
    assert!(matches!(head::request(most.as_bytes(), &Reader::default()), Ok(Some(_))));
}

#[test]
fn several_hosts() {
    for fields in ["Host: a", "host: b", "HOST:"] {
        assert_eq!(get(fields.as_bytes(), 400), HeadError::SeveralHosts, "{fields}");
    }
}

#[test]
fn connect_with_a_body() {
    for fields in ["Content-Length: 3", "Transfer-Encoding: chunked"] {
        assert_eq!(request("CONNECT a:443 HTTP/1.1", fields.as_bytes(), 400), HeadError::ConnectBody);
    }
    let none = b"CONNECT a:443 HTTP/1.1\r\nContent-Length: 0\r\n\r\n";
    assert!(matches!(head::request(none, &Reader::default()), Ok(Some(_))));
}

#[test]
fn a_head_that_is_too_large_or_too_slow() {
    assert_eq!((Answer::large_head(65_536).status, Answer::large_head(65_536).reason), (431, "head_too_large"));
    assert_eq!((Answer::slow_head().status, Answer::slow_head().reason), (408, "head_timeout"));
}

#[track_caller]
fn chunks(body: &[u8], error: ChunkError) {
    // Whichever way it arrives; and what the client is told, where it can still be told something.
    for piece in [1, 2, body.len().max(1)] {
        let mut chunked = Chunked::default();
        let result = body.chunks(piece).try_for_each(|part| chunked.take(part).map(drop));
        assert_eq!(result, Err(error), "{} in pieces of {piece}", body.escape_ascii());
    }
    let late = Answer::failed(&Failure::Client(MoveError::Chunk(error))).unwrap();
    for answer in [Answer::bad_body(error), late] {
        assert_eq!((answer.status, answer.reason, answer.side), (400, "bad_request", ErrorSide::Downstream));
    }
}

#[test]
fn a_chunk_size_that_is_no_plain_hexadecimal_number() {
    for size in [
        "",
        "-1",
        "+1",
        "0x5",
        "5x",
        "x",
        "5_0",
        "5.",
        " 5",
        "\t5",
        "g",
        "5h",
        "\"5\"",
        "5,5",
        "5 5",
        "5 x",
        "5\t5",
        "10000000000000005",
        "fffffffffffffffff",
        "0000000000000005",
    ] {
        chunks(format!("{size}\r\nhello\r\n0\r\n\r\n").as_bytes(), ChunkError::Size);
    }
}

#[test]
fn chunk_data_without_crlf_behind_it() {
    for rest in ["0\r\n\r\n", "\n0\r\n\r\n", "XX\r\n0\r\n\r\n", "\rX", " \r\n0\r\n\r\n", "\n\r0\r\n\r\n"] {
        chunks(format!("5\r\nhello{rest}").as_bytes(), ChunkError::DataEnd);
    }
}

#[test]
fn chunk_lines_that_end_in_lf_or_cr_alone() {
    for body in
        ["5\nhello\r\n", "5 \nhello\r\n", "5\rhello\r\n", "5;a\nhello\r\n", "5;a\rb\r\nhello\r\n", "5\r\r\nhello\r\n"]
    {
        let error =
            if body.starts_with("5\n") || body.starts_with("5 \n") { ChunkError::Size } else { ChunkError::LineEnd };
        chunks(body.as_bytes(), error);
    }
    for body in ["0\r\n\r\r\n", "0\r\nA: b\n\r\n", "0\r\nA: b\rC: d\r\n\r\n", "0\r\nA: b\0\r\n\r\n"] {
        chunks(body.as_bytes(), ChunkError::LineEnd);
    }
}

#[test]
fn trailer_lines_that_are_no_fields() {
    for lines in
        ["GET / HTTP/1.1\r\n", "A\r\n", ": b\r\n", "A : b\r\n", " A: b\r\n", "A: b\r\n c\r\n", "\n", "\0: b\r\n"]
    {
        chunks(format!("0\r\n{lines}\r\n").as_bytes(), ChunkError::Trailer);
    }
}

#[test]
fn floods_of_extensions_and_trailers() {
    let long = "x".repeat(16 * 1024 + 1);
    for body in [format!("5;{long}\r\n"), format!("0\r\nA: {long}\r\n"), format!("0\r\n{}", "A: b\r\n".repeat(5000))] {
        chunks(body.as_bytes(), ChunkError::TooLong);
    }
}

#[test]
fn responses_are_held_to_the_same() {
    for (fields, error) in [
        ("Content-Length: 3\r\nTransfer-Encoding: chunked", HeadError::from(LengthError::Both)),
        ("Content-Length: 3\r\nContent-Length: 4", LengthError::Differing.into()),
        ("Content-Length: -3", LengthError::ContentLength.into()),
        ("Content-Length: 3, 3", LengthError::ContentLength.into()),
        ("Content-Length: 18446744073709551616", LengthError::ContentLength.into()),
        ("Transfer-Encoding: gzip, chunked", LengthError::TransferEncoding.into()),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", LengthError::TransferEncoding.into()),
        ("Transfer-Encoding : chunked", HeadError::Syntax(httparse::Error::HeaderName)),
        ("A: b\r\n c", HeadError::Syntax(httparse::Error::HeaderName)),
        ("A: b\0", HeadError::Syntax(httparse::Error::HeaderValue)),
        ("A: b\rC: d", HeadError::Syntax(httparse::Error::HeaderValue)),
        ("A: b\nC: d", HeadError::LineEnd),
    ] {
        assert_eq!(response(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n").as_bytes()), error, "{fields}");
    }
    assert_eq!(response(b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), LengthError::Http10.into());
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(129));
    assert_eq!(response(many.as_bytes()), HeadError::TooManyFields);
    for start in [
        "HTTP/1.1 099 X",
        "HTTP/1.1 000",
        "HTTP/1.1 20",
        "HTTP/1.1 2000",
        "HTTP/1.1 -20 X",
        "HTTP/2.0 200 OK",
        "200 OK",
    ] {
        response(format!("{start}\r\nA: b\r\n\r\n").as_bytes());
    }
}

#[test]
fn a_broken_response_body_ends_the_connection() {
    // A part of it was delivered: the client must not take the rest for whole, so it is told nothing and reset.
    for error in [ChunkError::Size, ChunkError::LineEnd, ChunkError::DataEnd, ChunkError::Trailer, ChunkError::TooLong]
    {
        assert!(Answer::failed(&Failure::Response(MoveError::Chunk(error))).is_none());
    }
    assert_eq!(Answer::failed(&Failure::LargeResponse).unwrap().status, 502);
}
