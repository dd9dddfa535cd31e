//! How it is found out what a connection speaks, and what becomes of one that leads nowhere.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::flow::{Protocol, ProtocolFrom};

fn found(records: &Records) -> (Protocol, ProtocolFrom) {
    (records.connection.protocol, records.connection.protocol_from)
}

#[test]
fn a_server_that_speaks_first_is_not_waited_for() {
    // What is declared HTTP gets the client a head start, and is dialled after all.
    for app_protocol in [None, Some("http"), Some("unheard-of")] {
        play(async move {
            let origin = Server::new().await;
            let world = World::new(origin.address, Setup { app_protocol, ..Setup::default() }).await;
            let mut session = world.call("").await;
            let mut server = origin.accept().await;
            server.send("220 ready\r\n").await;
            session.client.expect("220 ready\r\n").await;
            session.client.send("EHLO me\r\n").await;
            server.expect("EHLO me\r\n").await;
            drop(server);
            assert_eq!(found(&session.over().await), (Protocol::Opaque, ProtocolFrom::ServerFirst));
        });
    }
}

#[test]
fn the_clients_first_bytes_tell() {
    for (first, protocol) in [("\x16\x03\x01\x02", Protocol::Tls), ("*1\r\n$4\r\nPING\r\n", Protocol::Opaque)] {
        for early in [true, false] {
            play(async move {
                let origin = Server::new().await;
                let world = World::new(origin.address, Setup::default()).await;
                let mut session = world.call(if early { first } else { "" }).await;
                let mut server = origin.accept().await;
                if !early {
                    session.client.send(first).await;
                }
                server.expect(first).await;
                drop(server);
                assert_eq!(found(&session.over().await), (protocol, ProtocolFrom::ClientBytes));
            });
        }
    }
}

#[test]
fn what_stays_ambiguous_is_opaque_after_the_deadline() {
    for early in [true, false] {
        play(async move {
            let origin = Server::new().await;
            let mut setup = Setup::default();
            setup.settings.detect_timeout = Duration::from_millis(20);
            let mut session = World::new(origin.address, setup).await.call(if early { "ruok" } else { "" }).await;
            let mut server = origin.accept().await;
            settle().await;
            if !early {
                session.client.send("ruok").await;
            }
            server.expect("ruok").await;
            drop(server);
            assert_eq!(found(&session.over().await), (Protocol::Opaque, ProtocolFrom::Deadline));
        });
    }
}

#[test]
fn a_request_line_beyond_the_bound_is_opaque() {
    for early in [true, false] {
        play(async move {
            let origin = Server::new().await;
            let mut setup = Setup::default();
            setup.settings.max_head_bytes = 40_000;
            let long = format!("GET /{}", "x".repeat(60_000));
            let mut session = World::new(origin.address, setup).await.call(if early { &long } else { "" }).await;
            let mut server = origin.accept().await;
            if !early {
                session.client.send(&long).await;
            }
            server.expect(&long).await;
            drop(server);
            assert_eq!(found(&session.over().await), (Protocol::Opaque, ProtocolFrom::ClientBytes));
        });
    }
}

#[test]
fn a_silent_client_that_ends_its_direction_still_hears_the_server() {
    for late in [true, false] {
        play(async move {
            let origin = Server::new().await;
            let mut session = World::new(origin.address, Setup::default()).await.call("").await;
            let mut server = if late { Some(origin.accept().await) } else { None };
            session.client.end().await;
            if !late {
                server = Some(origin.accept().await);
            }
            let mut server = server.unwrap();
            server.ended().await;
            server.send("the time\r\n").await;
            drop(server);
            assert_eq!(session.client.rest().await, "the time\r\n");
            let records = session.over().await;
            assert_eq!(found(&records), (Protocol::Opaque, ProtocolFrom::Nothing));
            assert_eq!(records.end(), ("forwarded", "end_of_stream"));
        });
    }
}

#[test]
fn a_destination_that_spoke_http_before_is_not_dialled_before_the_client_speaks() {
    play(async {
        let (origin, copy) = (Server::new().await, Server::new().await);
        let setup = Setup { copies: vec![("user", copy.address)], ..Setup::default() };
        let world = World::new(origin.address, setup).await;
        for first in [get_in("user"), String::new(), String::new()] {
            let mut session = world.call(&first).await;
            if first.is_empty() {
                session.client.send(get_in("user")).await;
            }
            let mut server = copy.accept().await;
            server.expect(get_in("user")).await;
            server.send(OK).await;
            session.client.expect(OK).await;
            assert_eq!(found(&session.over().await), (Protocol::Http1, ProtocolFrom::ClientBytes));
        }
        assert!(origin.is_left_alone().await);
    });
}

#[test]
fn an_unreachable_destination_is_a_reset_for_whoever_does_not_speak_http() {
    // Said before the dial, said after it, nothing said; declared opaque.
    for (first, then, port) in [("PING\r\n", "", ""), ("", "PING\r\n", ""), ("", "", ""), ("", "", "tcp")] {
        play(async move {
            let setup = Setup { port, ..Setup::default() };
            let mut session = World::new(peer::nobody().await, setup).await.call(first).await;
            settle().await;
            // Not for long: after a moment without HTTP the client has its reset already.
            session.client.send(then).await;
            session.client.was_reset().await;
            let records = session.over().await;
            assert_eq!(records.end(), ("error", "upstream_refused"));
            let error = records.connection.error.unwrap();
            assert!(error.starts_with("connecting to 127.0.0.1:"), "{error}");
        });
    }
}

#[test]
fn a_destination_that_does_not_answer_is_a_reset_after_the_connect_timeout() {
    for first in ["", "PING\r\n"] {
        play(async move {
            let mute = peer::Mute::new().await;
            let mut setup = Setup::default();
            setup.settings.connect_timeout = Duration::from_millis(50);
            let mut session = World::new(mute.address, setup).await.call("").await;
            settle().await;
            session.client.send(first).await;
            session.client.was_reset().await;
            assert_eq!(session.over().await.end(), ("error", "upstream_timeout"));
        });
    }
}

#[test]
fn http_does_not_wait_for_an_original_destination_that_does_not_answer() {
    play(async {
        let (mute, copy) = (peer::Mute::new().await, Server::new().await);
        let setup = Setup { copies: vec![("user", copy.address)], ..Setup::default() };
        let mut session = World::new(mute.address, setup).await.call("").await;
        settle().await;
        session.client.send(get_in("user")).await;
        let mut server = copy.accept().await;
        server.expect(get_in("user")).await;
        server.send(OK).await;
        session.client.expect(OK).await;
        assert_eq!(session.over().await.request(), (Some(200), "redirected", "routed"));
    });
}

#[test]
fn a_client_that_is_gone_before_it_said_anything_is_recorded_as_that() {
    play(async {
        let origin = Server::new().await;
        let world = World::new(origin.address, Setup::default()).await;
        let session = world.call("").await;
        let _server = origin.accept().await;
        assert_eq!(session.broken().await.end(), ("error", "client_reset"));
        // While the destination is being dialled.
        let mute = peer::Mute::new().await;
        let session = World::new(mute.address, Setup::default()).await.call("").await;
        settle().await;
        assert_eq!(session.broken().await.end(), ("error", "client_reset"));
        // After it has begun to say something.
        let mut session = world.call("").await;
        let _server = origin.accept().await;
        session.client.send("GE").await;
        settle().await;
        assert_eq!(session.broken().await.end(), ("error", "client_reset"));
    });
}

#[test]
fn the_original_destination_is_what_the_loopback_address_stands_for() {
    play(async {
        let origin = Server::new().await;
        let world = World::new(origin.address, Setup::default()).await;
        let stands_for: SocketAddr = world.context.destinations.loopback(origin.address).unwrap().into();
        for (ip, original) in [(stands_for.ip(), Some(origin.address)), (Ipv4Addr::LOCALHOST.into(), None)] {
            let listener = TcpListener::bind((ip, 0)).await.unwrap();
            let at = listener.local_addr().unwrap();
            let (_client, accepted) = tokio::join!(TcpStream::connect(at), listener.accept());
            assert_eq!(crate::proxy::original_of(&world.context, &accepted.unwrap().0), original, "{ip}");
        }
    });
}

#[test]
fn the_memory_of_what_spoke_http_is_bounded() {
    play(async {
        let context = World::new(peer::nobody().await, Setup::default()).await.context;
        let address = |port| SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), port));
        for port in 0..=16_384 {
            assert!(!context.speaks_http(address(port)));
            context.learn_http(address(port));
            assert!(context.speaks_http(address(port)));
        }
        assert!(!context.speaks_http(address(0)) && context.http.borrow().len() == 1);
    });
}
