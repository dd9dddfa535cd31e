//! Frames byte by byte: what no request may hold, what no client may do too much of, and how each is told.

use tokio::io::AsyncReadExt as _;

use super::*;
use crate::config::Http2;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const PROTOCOL_ERROR: u32 = 1;
const FRAME_SIZE_ERROR: u32 = 6;
const ENHANCE_YOUR_CALM: u32 = 11;

/// `:method GET`, `:scheme http`, `:path /` of HPACK's static table.
const GET: [u8; 3] = [0x82, 0x86, 0x84];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[a, b, c, kind, flags], &stream.to_be_bytes()[..], payload].concat()
}

/// A field that is not indexed, its text as it is.
fn field(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| {
        assert!(text.len() < 127);
        u8::try_from(text.len()).unwrap()
    };
    [&[0, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
}

fn fields(list: &[(&str, &str)]) -> Vec<u8> {
    list.iter().flat_map(|(name, value)| field(name, value)).collect()
}

/// A GET with these fields that ends its stream.
fn get(stream: u32, list: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &[&GET[..], &fields(list)].concat())
}

/// The next frame: kind, stream, payload; `None` at the end.
async fn next(peer: &mut Peer) -> Option<(u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    peer.0.read_exact(&mut head).await.ok()?;
    let [a, b, c, kind, _, stream @ ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    peer.0.read_exact(&mut payload).await.ok()?;
    Some((kind, u32::from_be_bytes(stream), payload))
}

/// The next frame of that kind.
async fn find(peer: &mut Peer, kind: u8) -> Option<(u32, Vec<u8>)> {
    loop {
        let (found, stream, payload) = next(peer).await?;
        if found == kind {
            return Some((stream, payload));
        }
    }
}

fn code(payload: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(payload[at..at + 4].try_into().unwrap())
}

/// A world whose service answers every request with 200, and the bounds that are tested.
async fn world(bounds: Http2) -> World {
    let origin = Server::new().await;
    let address = origin.address;
    tokio::task::spawn_local(async move {
        loop {
            let stream = origin.accept().await.0;
            tokio::task::spawn_local(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let Ok(mut body) = respond.send_response(http::Response::new(()), false) else { continue };
                    body.send_data(bytes::Bytes::from(vec![b'x'; 1000]), true).ok();
                }
            });
        }
    });
    let mut setup = Setup::default();
    setup.settings.http2 = bounds;
    setup.settings.max_head_bytes = 4096;
    World::new(address, setup).await
}

fn strict() -> Http2 {
    Http2 { max_resets: 100, max_control_frames: 100, ..Http2::default() }
}

async fn open(bounds: Http2) -> Session {
    let mut session = world(bounds).await.call(PREFACE).await;
    session.client.send(frame(SETTINGS, 0, 0, &[])).await;
    session
}

/// What a connection ends with, after all of `bytes` were sent or it has ended before.
async fn goaway(bytes: &[u8], bounds: Http2) -> (Option<u32>, Records) {
    let mut session = open(bounds).await;
    session.client.send(bytes).await;
    let told = find(&mut session.client, GOAWAY).await.map(|(_, payload)| code(&payload, 4));
    (told, session.over().await)
}

/// Whether the connection still answers after all of `bytes`.
async fn goes_on(bytes: &[u8], bounds: Http2) -> bool {
    let mut session = open(bounds).await;
    session.client.send(bytes).await;
    session.client.send(get(1_000_001, &[])).await;
    loop {
        match next(&mut session.client).await {
            None | Some((GOAWAY, ..)) => return false,
            Some((HEADERS, 1_000_001, _)) => return true,
            Some(_) => {}
        }
    }
}

#[test]
fn floods_end_with_enhance_your_calm_and_as_much_as_is_allowed_does_not() {
    let resets = |count: u32| -> Vec<u8> {
        (0..count)
            .flat_map(|n| [get(2 * n + 1, &[]), frame(RST_STREAM, 0, 2 * n + 1, &8_u32.to_be_bytes())].concat())
            .collect()
    };
    let pings = |count: usize| frame(PING, 0, 0, &[0; 8]).repeat(count);
    let settings = |count: usize| frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]).repeat(count);
    let priorities = |count: usize| frame(2, 0, 1, &[0, 0, 0, 3, 7]).repeat(count);
    let unknown = |count: usize| frame(0x42, 0, 0, &[]).repeat(count);
    let updates = |count: usize| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).repeat(count);
    for (name, few, many, reason) in [
        ("resets", resets(100), resets(101), "http2_resets"),
        // SETTINGS and their acknowledgement are two of the hundred.
        ("PING", pings(98), pings(101), "http2_control_frames"),
        ("SETTINGS", settings(98), settings(101), "http2_control_frames"),
        ("PRIORITY", priorities(98), priorities(101), "http2_control_frames"),
        ("unknown frames", unknown(98), unknown(101), "http2_control_frames"),
        ("WINDOW_UPDATE", updates(98), updates(101), "http2_control_frames"),
    ] {
        play(async move {
            assert!(goes_on(&few, strict()).await, "{name}");
            let (told, records) = goaway(&many, strict()).await;
            assert_eq!(told, Some(ENHANCE_YOUR_CALM), "{name}");
            assert_eq!(records.end(), ("refused", reason), "{name}");
            // The defaults let as much through.
            assert!(goes_on(&many, Http2::default()).await, "{name}");
        });
    }
}

#[test]
fn a_head_that_never_ends_ends_the_connection() {
    for each in [0, 1, 100] {
        play(async move {
            let mut bytes = frame(HEADERS, 0, 1, &GET);
            let part = if each == 0 { Vec::new() } else { field("x", &"y".repeat(each)) };
            bytes.extend(frame(CONTINUATION, 0, 1, &part).repeat(100_000 / (each + 1) / 4));
            let (told, records) = goaway(&bytes, Http2::default()).await;
            assert_eq!(told, Some(ENHANCE_YOUR_CALM), "{each}");
            assert_eq!(records.connection.verdict.as_str(), "refused");
            assert!(["http2_excess", "http2_control_frames"].contains(&records.connection.reason));
        });
    }
}

#[test]
fn a_window_that_lets_data_through_byte_by_byte_is_not_served_for_long() {
    play(async {
        let mut session = world(strict()).await.call(PREFACE).await;
        session.client.send(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 1])).await;
        session.client.send(get(1, &[])).await;
        let mut data = 0;
        let told = loop {
            match next(&mut session.client).await.unwrap() {
                (DATA, 1, payload) => {
                    assert_eq!(payload.len(), 1);
                    data += 1;
                    session.client.send(frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])).await;
                }
                (GOAWAY, _, payload) => break code(&payload, 4),
                _ => {}
            }
        };
        assert_eq!((told, data), (ENHANCE_YOUR_CALM, 101));
        assert_eq!(session.over().await.end(), ("refused", "http2_tiny_windows"));
    });
}

#[test]
fn what_breaks_the_protocol_ends_the_connection_with_its_code() {
    for (name, bytes, expected) in [
        ("HEADERS on stream 0", get(0, &[]), PROTOCOL_ERROR),
        ("HEADERS on an even stream", get(2, &[]), PROTOCOL_ERROR),
        ("DATA on an idle stream", frame(DATA, 0, 1, b"x"), PROTOCOL_ERROR),
        ("a stream that was passed over", [get(3, &[]), get(1, &[])].concat(), PROTOCOL_ERROR),
        ("a frame beyond the largest", frame(DATA, 0, 1, &[0; 16_385]), FRAME_SIZE_ERROR),
        ("PING of seven bytes", frame(PING, 0, 0, &[0; 7]), PROTOCOL_ERROR),
        ("an index that is not there", frame(HEADERS, END_HEADERS, 1, &[0xff, 0x80, 1]), PROTOCOL_ERROR),
        (
            "something between a head's parts",
            [frame(HEADERS, 0, 1, &GET), frame(PING, 0, 0, &[0; 8])].concat(),
            PROTOCOL_ERROR,
        ),
    ] {
        play(async move {
            let (told, records) = goaway(&bytes, Http2::default()).await;
            assert_eq!(told, Some(expected), "{name}");
            assert_eq!(records.end(), ("refused", "http2_protocol_error"), "{name}");
        });
    }
}

#[test]
fn a_head_that_is_none_resets_its_stream_only() {
    let end = END_HEADERS | END_STREAM;
    let with = |list: &[(&str, &str)]| get(1, list);
    let block = |block: Vec<u8>| frame(HEADERS, end, 1, &block);
    for (name, bytes) in [
        ("connection", with(&[("connection", "close")])),
        ("keep-alive", with(&[("keep-alive", "1")])),
        ("proxy-connection", with(&[("proxy-connection", "x")])),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")])),
        ("upgrade", with(&[("upgrade", "x")])),
        ("te", with(&[("te", "gzip")])),
        ("a pseudo field after others", block([&fields(&[("x", "y")])[..], &GET].concat())),
        ("a pseudo field twice", block([&GET[..], &GET[..1]].concat())),
        ("no method", block(GET[1..].to_vec())),
        ("no scheme", block([GET[0], GET[2]].to_vec())),
        ("an empty path", block([&GET[..2], &[4, 0]].concat())),
        ("a response's field", block([&GET[..], &[0x88]].concat())),
        (
            "CONNECT with a path",
            block([&field(":method", "CONNECT")[..], &GET[2..], &field(":authority", "b")].concat()),
        ),
        (
            "a body longer than it says",
            [
                frame(HEADERS, END_HEADERS, 1, &[&GET[..], &fields(&[("content-length", "1")])].concat()),
                frame(DATA, END_STREAM, 1, b"two"),
            ]
            .concat(),
        ),
    ] {
        play(async move {
            let mut session = open(Http2::default()).await;
            session.client.send(&bytes).await;
            session.client.send(get(3, &[("te", "trailers")])).await;
            let (mut reset, mut answered) = (None, false);
            while reset.is_none() || !answered {
                match next(&mut session.client).await.unwrap_or_else(|| panic!("{name}: the connection has ended")) {
                    (RST_STREAM, 1, payload) => reset = Some(code(&payload, 0)),
                    (HEADERS, 3, _) => answered = true,
                    _ => {}
                }
            }
            assert_eq!(reset, Some(PROTOCOL_ERROR), "{name}");
        });
    }
    // The name of a field in upper case, or not known among the pseudo fields: HPACK's reader does not know the stream.
    for bad in [fields(&[("X", "y")]), fields(&[(":unknown", "y")])] {
        play(async move {
            let mut session = open(Http2::default()).await;
            session.client.send(frame(HEADERS, end, 1, &[&GET[..], &bad].concat())).await;
            let refused = loop {
                match next(&mut session.client).await {
                    None => break false,
                    Some((RST_STREAM, 1, _) | (GOAWAY, ..)) => break true,
                    Some((HEADERS, 1, _)) => panic!("it was passed on"),
                    Some(_) => {}
                }
            };
            assert!(refused);
        });
    }
}

#[test]
fn a_head_that_two_servers_could_read_differently_is_answered_and_recorded() {
    for list in
        [&[(":authority", "b"), ("host", "c")][..], &[("host", "b"), ("host", "b")], &[(":authority", "user@b")]]
    {
        play(async move {
            let mut session = open(Http2::default()).await;
            session.client.send(get(1, list)).await;
            let (stream, head) = find(&mut session.client, HEADERS).await.unwrap();
            // `:status 400` of the static table.
            assert_eq!((stream, head[0]), (1, 0x8c), "{list:?}");
            assert_eq!(session.over().await.request(), (Some(400), "refused", "bad_request"), "{list:?}");
        });
    }
    for list in [&[(":authority", "b"), ("host", "B")][..], &[("host", "b")], &[]] {
        play(async move {
            let mut session = open(Http2::default()).await;
            session.client.send(get(1, list)).await;
            let (_, head) = find(&mut session.client, HEADERS).await.unwrap();
            assert_eq!(head[0], 0x88, "{list:?}");
        });
    }
}

#[test]
fn a_head_beyond_the_bound_gets_431_and_one_far_beyond_it_ends_the_connection() {
    play(async {
        let large = |count| {
            (0..count).map(|_| ("x", "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy")).collect::<Vec<_>>()
        };
        let mut session = open(Http2::default()).await;
        session.client.send(get(1, &large(60))).await;
        let (_, head) = find(&mut session.client, HEADERS).await.unwrap();
        // `:status` with "431" as Huffman has it.
        assert_eq!(head, [0x48, 0x83, 0x69, 0x90, 0xff]);
        let (told, records) = goaway(&get(1, &large(250)), Http2::default()).await;
        assert_eq!(told, Some(ENHANCE_YOUR_CALM));
        assert_eq!(records.end(), ("refused", "http2_excess"));
    });
}
