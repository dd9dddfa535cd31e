//! Streams of one connection: where each goes, and how data, trailers, resets and ends pass both ways.

use std::os::fd::AsFd as _;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Method, Request, Response};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::*;
use crate::flow::{Protocol, TargetKind};

type Call = (Request<RecvStream>, SendResponse<Bytes>);

/// A server of HTTP/2 whose streams are answered by the test.
struct Backend {
    server: std::rc::Rc<Server>,
    calls: mpsc::Receiver<Call>,
    connections: std::rc::Rc<std::cell::Cell<usize>>,
}

impl Backend {
    async fn new() -> Self {
        Self::with(h2::server::Builder::new()).await
    }

    async fn with(builder: h2::server::Builder) -> Self {
        let server = std::rc::Rc::new(Server::new().await);
        let (calls_tx, calls) = mpsc::channel(100);
        let connections = std::rc::Rc::<std::cell::Cell<usize>>::default();
        let (accepting, count) = (std::rc::Rc::clone(&server), std::rc::Rc::clone(&connections));
        tokio::task::spawn_local(async move {
            loop {
                let stream = accepting.accept().await.0;
                count.set(count.get() + 1);
                let (calls, builder) = (calls_tx.clone(), builder.clone());
                tokio::task::spawn_local(async move {
                    let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
                    while let Some(Ok(call)) = connection.accept().await {
                        calls.send(call).await.unwrap();
                    }
                });
            }
        });
        Self { server, calls, connections }
    }

    async fn call(&mut self) -> Call {
        self.calls.recv().await.unwrap()
    }
}

/// A client of HTTP/2 on a session.
async fn client(session: &Session) -> SendRequest<Bytes> {
    // The session keeps its own end; the library gets a copy.
    let copy = session.client.0.as_fd().try_clone_to_owned().unwrap();
    let stream = TcpStream::from_std(copy.into()).unwrap();
    // A client whose own window for all streams were as large as that of one would stall them all itself.
    let mut builder = h2::client::Builder::new();
    let handshake = builder.initial_connection_window_size(1 << 20).handshake(stream);
    let (send, connection) = handshake.await.unwrap();
    tokio::task::spawn_local(async move { connection.await.ok() });
    send
}

fn get(path: &str, fields: &[(&'static str, &str)]) -> Request<()> {
    let mut request = Request::get(format!("http://b{path}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

async fn text(mut body: RecvStream) -> (String, Option<HeaderMap>) {
    let mut all = Vec::new();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        all.extend_from_slice(&data);
    }
    (String::from_utf8(all).unwrap(), body.trailers().await.unwrap())
}

/// A world in which `b` has a copy in `user`.
async fn world(origin: &Backend, copy: &Backend) -> World {
    let copies = vec![("user", copy.server.address)];
    World::new(origin.server.address, Setup { copies, ..Setup::default() }).await
}

async fn over(session: Session, send: SendRequest<Bytes>) -> Records {
    drop(send);
    session.over().await
}

#[test]
fn streams_of_one_connection_go_to_the_spaces_that_they_name() {
    play(async {
        let (mut origin, mut copy) = (Backend::new().await, Backend::new().await);
        let world = world(&origin, &copy).await;
        let session = world.call("").await;
        let mut send = client(&session).await;
        for round in 0..3 {
            let to_copy = send.send_request(get("/copy?q", &[("azds-route-as", "user")]), true).unwrap().0;
            let to_origin = send.send_request(get("/origin", &[("x-a", "1"), ("x-b", "2")]), true).unwrap().0;
            // Answered in the other order: neither waits for the other.
            for (backend, response, path, answer) in
                [(&mut origin, to_origin, "/origin", "default"), (&mut copy, to_copy, "/copy", "user")]
            {
                let (request, mut respond) = backend.call().await;
                assert_eq!((request.uri().path(), request.uri().authority().unwrap().as_str()), (path, "b"));
                let names: Vec<_> = request.headers().keys().map(|name| name.as_str()).collect();
                assert_eq!(names, if answer == "user" { vec!["azds-route-as"] } else { vec!["x-a", "x-b"] });
                let mut body = respond.send_response(Response::new(()), false).unwrap();
                body.send_data(answer.into(), true).unwrap();
                assert_eq!(text(response.await.unwrap().into_body()).await.0, answer, "{round}");
            }
        }
        let records = over(session, send).await;
        assert_eq!((records.end(), records.connection.requests), (("forwarded", "end_of_stream"), 6));
        assert_eq!(records.connection.protocol, Protocol::Http2);
        assert_eq!(records.requests.len(), 6);
        for request in &records.requests {
            let kind = request.target.as_ref().unwrap().kind;
            let redirected = ("redirected", "routed", TargetKind::Endpoint);
            let forwarded = ("forwarded", "no_space_named", TargetKind::Original);
            let expected = if &*request.path == "/copy" { redirected } else { forwarded };
            assert_eq!((request.verdict.as_str(), request.reason, kind), expected);
            let basics = (request.protocol, request.status, request.host.as_deref(), request.grpc_status);
            assert_eq!(basics, (Protocol::Http2, Some(200), Some("b"), None));
        }
        assert_eq!((origin.connections.get(), copy.connections.get()), (1, 1));
    });
}

#[test]
fn the_route_header_is_added_once_and_never_to_one_that_is_there() {
    play(async {
        let (mut origin, mut copy) = (Backend::new().await, Backend::new().await);
        let world = world(&origin, &copy).await;
        let session = world.call("").await;
        let mut send = client(&session).await;
        let host = "http://user.s.default.b.eus.azds.io/";
        let named = Request::get(host).body(()).unwrap();
        let other = Request::get(host).header("kubernetes-route-as", "default").body(()).unwrap();
        for (request, goes, fields) in [
            (named, &mut copy, vec![("azds-route-as", "user")]),
            (other, &mut origin, vec![("kubernetes-route-as", "default")]),
        ] {
            let response = send.send_request(request, true).unwrap().0;
            let (request, mut respond) = goes.call().await;
            let found: Vec<_> = request.headers().iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect();
            assert_eq!(found, fields);
            respond.send_response(Response::new(()), true).unwrap();
            response.await.unwrap();
        }
        let records = over(session, send).await;
        let mut injected: Vec<_> = records.requests.iter().map(|request| request.injected).collect();
        injected.sort_unstable();
        assert_eq!(injected, [false, true]);
    });
}

/// A POST of gRPC that stays open both ways: its two ends at the client and its two at the server.
struct Chat {
    up: SendStream<Bytes>,
    at_server: RecvStream,
    down: SendStream<Bytes>,
    at_client: RecvStream,
}

const GRPC: (&str, &str) = ("content-type", "application/grpc");

async fn chat(send: &mut SendRequest<Bytes>, backend: &mut Backend) -> Chat {
    let mut request = get("/pkg.Service/Method", &[GRPC, ("te", "trailers")]);
    *request.method_mut() = Method::POST;
    let (response, up) = send.send_request(request, false).unwrap();
    let (request, mut respond) = backend.call().await;
    assert_eq!(request.headers()["te"], "trailers");
    let head = Response::builder().header(GRPC.0, GRPC.1).body(()).unwrap();
    let down = respond.send_response(head, false).unwrap();
    Chat { up, at_server: request.into_body(), down, at_client: response.await.unwrap().into_body() }
}

async fn alone(script: impl AsyncFnOnce(&mut SendRequest<Bytes>, &mut Backend)) -> Records {
    let mut origin = Backend::new().await;
    let world = World::new(origin.server.address, Setup::default()).await;
    let session = world.call("").await;
    let mut send = client(&session).await;
    script(&mut send, &mut origin).await;
    over(session, send).await
}

#[test]
fn messages_pass_at_once_both_ways_and_trailers_end_them() {
    play(async {
        let records = alone(async |send, origin| {
            let mut chat = chat(send, origin).await;
            for n in 0..5 {
                let message = format!("message {n}");
                chat.up.send_data(message.clone().into(), false).unwrap();
                assert_eq!(chat.at_server.data().await.unwrap().unwrap(), message);
                chat.down.send_data(message.clone().into(), false).unwrap();
                assert_eq!(chat.at_client.data().await.unwrap().unwrap(), message);
            }
            // The server's end comes first, then nothing more is asked of the client.
            chat.up.send_data(Bytes::new(), true).unwrap();
            assert_eq!(text(chat.at_server).await, (String::new(), None));
            let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "5".parse().unwrap())]);
            chat.down.send_trailers(trailers.clone()).unwrap();
            assert_eq!(text(chat.at_client).await, (String::new(), Some(trailers)));
        })
        .await;
        assert_eq!(records.request(), (Some(200), "forwarded", "no_space_named"));
        assert_eq!(records.requests[0].grpc_status, Some(5));
    });
}

#[test]
fn a_reset_passes_with_its_code_both_ways() {
    for reason in [Reason::CANCEL, Reason::REFUSED_STREAM, Reason::INTERNAL_ERROR, Reason::ENHANCE_YOUR_CALM] {
        play(async move {
            let records = alone(async |send, origin| {
                let mut chat = chat(send, origin).await;
                chat.up.send_reset(reason);
                assert_eq!(chat.at_server.data().await.unwrap().unwrap_err().reason(), Some(reason));
                drop(chat.down);
            })
            .await;
            assert_eq!(records.request(), (Some(200), "error", "client_reset"));
            let records = alone(async |send, origin| {
                let mut chat = chat(send, origin).await;
                chat.down.send_reset(reason);
                assert_eq!(chat.at_client.data().await.unwrap().unwrap_err().reason(), Some(reason));
            })
            .await;
            assert_eq!(records.request(), (Some(200), "error", "upstream_stream_reset"));
            // Before there is a response.
            let records = alone(async |send, origin| {
                let response = send.send_request(get("/", &[]), true).unwrap().0;
                origin.call().await.1.send_reset(reason);
                assert_eq!(response.await.unwrap_err().reason(), Some(reason));
            })
            .await;
            assert_eq!(records.request(), (None, "error", "upstream_stream_reset"));
        });
    }
}

#[test]
fn a_client_that_takes_its_request_back_takes_it_back_from_the_server() {
    play(async {
        let records = alone(async |send, origin| {
            let (response, mut up) = send.send_request(get("/", &[]), true).unwrap();
            let (_request, mut respond) = origin.call().await;
            up.send_reset(Reason::CANCEL);
            drop(response);
            let reset = std::future::poll_fn(|cx| respond.poll_reset(cx)).await.unwrap();
            assert_eq!(reset, Reason::CANCEL);
        })
        .await;
        assert_eq!(records.request(), (None, "error", "client_reset"));
    });
}

#[test]
fn interim_responses_pass_before_the_final_one() {
    play(async {
        alone(async |send, origin| {
            let mut response = send.send_request(get("/", &[("expect", "100-continue")]), true).unwrap().0;
            let (_, mut respond) = origin.call().await;
            for status in [100, 103] {
                let interim = Response::builder().status(status).header("x-n", status).body(()).unwrap();
                respond.send_informational(interim).unwrap();
                let got = std::future::poll_fn(|cx| response.poll_informational(cx)).await.unwrap().unwrap();
                assert_eq!(
                    (got.status().as_u16(), got.headers()["x-n"].to_str().unwrap()),
                    (status, &*status.to_string())
                );
            }
            respond.send_response(Response::builder().status(204).body(()).unwrap(), true).unwrap();
            assert_eq!(response.await.unwrap().status(), 204);
        })
        .await;
    });
}

#[test]
fn a_reader_that_stops_stalls_its_own_stream_and_bounds_what_its_sender_may_send() {
    play(async {
        alone(async |send, origin| {
            let mut stalled = chat(send, origin).await;
            // Nobody reads at the client: the server gets no further than the windows on the way.
            let mut sent = 0;
            loop {
                stalled.down.reserve_capacity(16_384);
                let room = std::future::poll_fn(|cx| stalled.down.poll_capacity(cx));
                match tokio::time::timeout(Duration::from_millis(100), room).await {
                    Ok(room) => {
                        let room = room.unwrap().unwrap();
                        stalled.down.send_data(vec![1; room].into(), false).unwrap();
                        sent += room;
                    }
                    Err(_) => break,
                }
            }
            // Ours towards the server, our buffer, the client's own.
            assert!((190_000..=131_072 + 65_536 + 65_535).contains(&sent), "{sent} bytes");
            let mut other = chat(send, origin).await;
            other.down.send_data("other".into(), false).unwrap();
            assert_eq!(other.at_client.data().await.unwrap().unwrap(), "other");
            // Reading goes on where it stopped.
            let mut read = 0;
            while read < sent {
                let data = stalled.at_client.data().await.unwrap().unwrap();
                stalled.at_client.flow_control().release_capacity(data.len()).unwrap();
                read += data.len();
            }
            assert_eq!(read, sent);
        })
        .await;
    });
}

#[test]
fn as_many_connections_are_opened_as_the_server_needs_for_its_limit() {
    play(async {
        let mut builder = h2::server::Builder::new();
        builder.max_concurrent_streams(2);
        let mut origin = Backend::with(builder).await;
        let world = World::new(origin.server.address, Setup::default()).await;
        let session = world.call("").await;
        let mut send = client(&session).await;
        let mut chats = Vec::new();
        for _ in 0..5 {
            chats.push(chat(&mut send, &mut origin).await);
        }
        assert_eq!(origin.connections.get(), 3);
        chats.truncate(2);
        // Room again where there was none.
        settle().await;
        chats.push(chat(&mut send, &mut origin).await);
        assert_eq!(origin.connections.get(), 3);
        drop(chats);
        assert_eq!(over(session, send).await.requests.len(), 6);
    });
}

#[test]
fn a_server_that_cannot_be_used_is_said_so_in_the_clients_own_way() {
    play(async {
        // Nobody there, and a server of HTTP/1.
        let silent = peer::nobody().await;
        let http1 = Server::new().await;
        let address = http1.address;
        tokio::task::spawn_local(async move {
            loop {
                let mut peer = http1.accept().await;
                peer.expect("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
                peer.send("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
            }
        });
        for (origin, reason, words) in
            [(silent, "upstream_refused", "connection refused"), (address, "upstream_not_http2", "HTTP/1.1 ")]
        {
            // Of another space: the original destination of the connection is well.
            let mut own = Backend::new().await;
            let setup = Setup { copies: vec![("user", origin)], ..Setup::default() };
            let world = World::new(own.server.address, setup).await;
            let session = world.call("").await;
            let mut send = client(&session).await;
            let to_copy = |fields: &[(&'static str, &str)]| get("/x", &[&[("azds-route-as", "user")], fields].concat());
            let response = send.send_request(to_copy(&[]), true).unwrap().0.await.unwrap();
            assert_eq!(
                (response.status().as_u16(), &response.headers()["server"]),
                (502, &"interceptor".parse().unwrap())
            );
            let body = text(response.into_body()).await.0;
            assert!(body.contains(words), "{body}");
            let response = send.send_request(to_copy(&[GRPC]), false).unwrap().0.await.unwrap();
            assert_eq!((response.status().as_u16(), &response.headers()["grpc-status"]), (200, &"14".parse().unwrap()));
            let message = response.headers()["grpc-message"].to_str().unwrap();
            assert!(message.starts_with("interceptor: ") && message.contains(words), "{message}");
            assert!(response.into_body().is_end_stream(), "trailers only");
            // The connection goes on.
            let response = send.send_request(get("/", &[]), true).unwrap().0;
            own.call().await.1.send_response(Response::new(()), true).unwrap();
            assert_eq!(response.await.unwrap().status(), 200);
            let records = over(session, send).await;
            let of_copy: Vec<_> = records.requests.iter().filter(|request| &*request.path == "/x").collect();
            assert!(of_copy.iter().all(|request| request.reason == reason && request.verdict.as_str() == "error"));
            let mut statuses: Vec<_> = of_copy.iter().map(|request| (request.status, request.grpc_status)).collect();
            statuses.sort_unstable();
            assert_eq!(statuses, [(Some(200), Some(14)), (Some(502), None)]);
        }
    });
}

#[test]
fn a_stream_whose_endpoint_refuses_goes_to_another_one_of_the_same_copy() {
    play(async {
        let (own, mut live) = (Backend::new().await, Backend::new().await);
        let copies = vec![("user", peer::nobody().await)];
        let setup = Setup { copies, beside: vec![live.server.address], ..Setup::default() };
        let world = World::new(own.server.address, setup).await;
        let session = world.call("").await;
        let mut send = client(&session).await;
        let response = send.send_request(get("/", &[("azds-route-as", "user")]), true).unwrap().0;
        live.call().await.1.send_response(Response::new(()), true).unwrap();
        assert_eq!(response.await.unwrap().status(), 200);
        let records = over(session, send).await;
        assert_eq!(records.request(), (Some(200), "redirected", "routed"));
        let request = &records.requests[0];
        assert_eq!(request.target.as_ref().map(|target| target.address), Some(live.server.address));
        assert!(request.notes.iter().any(|note| note == crate::flow::Note::AnotherEndpoint));
    });
}

#[test]
fn a_server_that_leaves_gets_no_new_streams_and_finishes_those_it_has() {
    play(async {
        let server = Server::new().await;
        let world = World::new(server.address, Setup::default()).await;
        let session = world.call("").await;
        let mut send = client(&session).await;
        let first = send.send_request(get("/first", &[]), true).unwrap().0;
        let mut old = h2::server::handshake(server.accept().await.0).await.unwrap();
        let (_, mut respond) = old.accept().await.unwrap().unwrap();
        old.graceful_shutdown();
        tokio::task::spawn_local(async move { while old.accept().await.is_some() {} });
        // Its GOAWAY has to arrive first; what comes before is answered all the same.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let second = send.send_request(get("/second", &[]), true).unwrap().0;
        let mut new = h2::server::handshake(server.accept().await.0).await.unwrap();
        new.accept().await.unwrap().unwrap().1.send_response(Response::new(()), true).unwrap();
        tokio::task::spawn_local(async move { while new.accept().await.is_some() {} });
        assert_eq!(second.await.unwrap().status(), 200);
        respond.send_response(Response::builder().status(201).body(()).unwrap(), true).unwrap();
        assert_eq!(first.await.unwrap().status(), 201);
        let records = over(session, send).await;
        assert!(records.requests.iter().all(|request| request.verdict.as_str() == "forwarded"));
    });
}

#[test]
fn a_server_that_vanishes_in_the_middle_of_a_response_ends_it_clearly() {
    for (fields, is_grpc) in [(&[][..], false), (&[GRPC][..], true)] {
        play(async move {
            let server = Server::new().await;
            let world = World::new(server.address, Setup::default()).await;
            let session = world.call("").await;
            let mut send = client(&session).await;
            let response = send.send_request(get("/", fields), true).unwrap().0;
            let mut peer = h2::server::handshake(server.accept().await.0).await.unwrap();
            let (_, mut respond) = peer.accept().await.unwrap().unwrap();
            let mut body = respond.send_response(Response::new(()), false).unwrap();
            body.send_data("part".into(), false).unwrap();
            let flush = std::future::poll_fn(|cx| peer.poll_closed(cx));
            tokio::time::timeout(Duration::from_millis(20), flush).await.unwrap_err();
            drop((peer, body, respond));
            let mut body = response.await.unwrap().into_body();
            assert_eq!(body.data().await.unwrap().unwrap(), "part");
            if is_grpc {
                assert!(body.data().await.is_none());
                assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "14");
            } else {
                assert_eq!(body.data().await.unwrap().unwrap_err().reason(), Some(Reason::INTERNAL_ERROR));
            }
            drop(body);
            assert_eq!(over(session, send).await.request(), (Some(200), "error", "upstream_closed"));
        });
    }
}

/// A world whose connections may hold that much for peers that do not keep up; twice as much as one workload of it may.
async fn narrow(origin: &Backend, budget: usize) -> World {
    let mut setup = Setup { budget: Some(budget), ..Setup::default() };
    setup.settings.http2.stream_window = 65_535;
    World::new(origin.server.address, setup).await
}

#[test]
fn streams_beyond_what_may_be_held_are_told_to_come_again() {
    play(async {
        let mut origin = Backend::new().await;
        // 4 KiB a stream, and its head.
        let world = narrow(&origin, 20_000).await;
        let session = world.call("").await;
        let mut send = client(&session).await;
        let mut waiting = Vec::new();
        for _ in 0..2 {
            waiting.push(send.send_request(get("/", &[]), true).unwrap().0);
            waiting.push(send.send_request(get("/", &[("x", &"y".repeat(20_000))]), true).unwrap().0);
        }
        // The large heads find no room, whatever comes before and after them.
        let (one, other) = (origin.call().await, origin.call().await);
        for large in [3, 1] {
            let response = waiting.remove(large).await.unwrap();
            assert_eq!(
                (response.status(), response.headers()["retry-after"].as_bytes()),
                (503.try_into().unwrap(), &b"1"[..])
            );
            let (body, _) = text(response.into_body()).await;
            assert!(body.contains("max_buffered_bytes"), "{body}");
        }
        for (mut call, response) in [one, other].into_iter().zip(waiting) {
            call.1.send_response(Response::new(()), true).unwrap();
            assert_eq!(response.await.unwrap().status(), 200);
        }
        let records = over(session, send).await;
        let refused = records.requests.iter().filter(|request| request.reason == "agent_memory").count();
        assert_eq!((refused, records.requests.len()), (2, 4));
    });
}

#[test]
fn streams_whose_readers_have_stopped_are_reset_once_they_hold_too_much() {
    play(async {
        let mut origin = Backend::new().await;
        // Each may hold its window and 64 KiB that wait to be sent: there is room for two of them.
        let world = narrow(&origin, 2 * (2 * 131_071 + 30_000)).await;
        let session = world.call("").await;
        let mut send = client(&session).await;
        let mut responses = Vec::new();
        let mut senders = Vec::new();
        for _ in 0..3 {
            let response = send.send_request(get("/", &[]), true).unwrap().0;
            let (_, mut respond) = origin.call().await;
            let mut body = respond.send_response(Response::new(()), false).unwrap();
            body.reserve_capacity(300_000);
            body.send_data(Bytes::from(vec![b'x'; 300_000]), true).unwrap();
            responses.push(response.await.unwrap().into_body());
            senders.push(body);
            settle().await;
        }
        let mut last = responses.pop().unwrap();
        let reset = loop {
            match last.data().await {
                Some(Ok(_)) => {}
                Some(Err(error)) => break error,
                None => panic!("an orderly end"),
            }
        };
        assert_eq!(reset.reason(), Some(Reason::ENHANCE_YOUR_CALM));
        for response in responses {
            assert_eq!(text(response).await.0.len(), 300_000, "those before are whole");
        }
        drop((last, senders));
        let records = over(session, send).await;
        let reasons: Vec<&str> = records.requests.iter().map(|request| request.reason).collect();
        assert_eq!(reasons.iter().filter(|reason| **reason == "agent_memory").count(), 1, "{reasons:?}");
    });
}
