//! Connections that are not HTTP: bytes both ways, half-closes and resets as what they were.

use super::*;
use crate::config::Splice;
use crate::flow::ProtocolFrom;

/// Beyond what makes a direction go over to splice(2).
const LARGE: usize = 2 * 1024 * 1024;

fn pattern(seed: usize) -> Vec<u8> {
    (0..LARGE).map(|at| u8::try_from((at * 31 + at / 4096 + seed) % 251).unwrap()).collect()
}

/// Both ends send at once; the client ends first.
async fn exchange(client: &mut Peer, server: &mut Peer) {
    let (up, down) = (pattern(1), pattern(2));
    let (from_client, to_client) = client.0.split();
    let (from_server, to_server) = server.0.split();
    let (up_got, down_got) =
        tokio::join!(transfer(to_client, &up, from_server), transfer(to_server, &down, from_client),);
    assert!(up_got == up && down_got == down, "the bytes differ");
}

/// Sends all and ends; gives what came out at the other end.
async fn transfer(
    mut to: tokio::net::tcp::WriteHalf<'_>,
    bytes: &[u8],
    mut from: tokio::net::tcp::ReadHalf<'_>,
) -> Vec<u8> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut got = Vec::with_capacity(LARGE);
    let send = async {
        to.write_all(bytes).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let (_, read) = tokio::join!(send, from.read_to_end(&mut got));
    read.unwrap();
    got
}

#[test]
fn large_transfers_arrive_whole_both_ways_at_once_spliced_or_copied() {
    for splice in [Splice::Auto, Splice::Splice, Splice::Copy] {
        play(async move {
            let origin = Server::new().await;
            let mut setup = Setup { port: "tcp-x", ..Setup::default() };
            setup.settings.splice = splice;
            let mut session = World::new(origin.address, setup).await.call("").await;
            let mut server = origin.accept().await;
            exchange(&mut session.client, &mut server).await;
            let records = session.over().await;
            assert_eq!(records.end(), ("forwarded", "end_of_stream"));
            assert_eq!((records.connection.bytes_in, records.connection.bytes_out), (LARGE as u64, LARGE as u64));
            assert_eq!(records.connection.protocol_from, ProtocolFrom::Declared);
            assert!(records.requests.is_empty());
        });
    }
}

#[test]
fn either_end_may_end_its_direction_and_go_on_reading() {
    play(async {
        let origin = Server::new().await;
        let world = World::new(origin.address, Setup { app_protocol: Some("redis"), ..Setup::default() }).await;
        let mut session = world.call("PING\r\n").await;
        let mut server = origin.accept().await;
        session.client.end().await;
        assert_eq!(server.rest().await, "PING\r\n");
        server.send("+PONG\r\n").await;
        session.client.expect("+PONG\r\n").await;
        server.end().await;
        session.client.ended().await;
        assert_eq!(session.over().await.end(), ("forwarded", "end_of_stream"));

        let mut session = world.call("").await;
        let mut server = origin.accept().await;
        server.send("+BYE\r\n").await;
        server.end().await;
        assert_eq!(session.client.rest().await, "+BYE\r\n");
        session.client.send("still here").await;
        server.expect("still here").await;
        session.client.end().await;
        server.ended().await;
        assert_eq!(session.over().await.end(), ("forwarded", "end_of_stream"));
    });
}

#[test]
fn a_reset_of_one_end_reaches_the_other_as_a_reset() {
    for spliced in [false, true] {
        play(async move {
            let origin = Server::new().await;
            let world = World::new(origin.address, Setup { port: "tcp", ..Setup::default() }).await;
            let some = vec![b'x'; if spliced { 100_000 } else { 10 }];
            let mut session = world.call("").await;
            let mut server = origin.accept().await;
            session.client.send(&some).await;
            server.expect(&some).await;
            server.send(&some).await;
            session.client.expect(&some).await;
            server.reset();
            session.client.was_reset().await;
            assert_eq!(session.over().await.end(), ("error", "upstream_reset"));

            let mut session = world.call("").await;
            let mut server = origin.accept().await;
            session.client.send(&some).await;
            server.expect(&some).await;
            let (records, ()) = tokio::join!(session.broken(), server.was_reset());
            assert_eq!(records.end(), ("error", "client_reset"));
        });
    }
}

#[test]
fn what_a_server_said_before_it_broke_off_reading_is_passed_on() {
    for size in [1000, 1_000_000] {
        play(async move {
            let origin = Server::new().await;
            let world = World::new(origin.address, Setup { port: "tcp", ..Setup::default() }).await;
            let mut session = world.call("").await;
            let mut server = origin.accept().await;
            // The server never reads what the client sends on and on; then it goes.
            let flood = async {
                let bytes = vec![b'x'; size];
                use tokio::io::AsyncWriteExt;
                while session.client.0.write_all(&bytes).await.is_ok() {}
            };
            let leave = async {
                server.send("no more").await;
                server.expect("xx").await;
                drop(server);
            };
            tokio::join!(flood, leave);
            let records = session.over().await;
            assert_eq!(records.end(), ("error", "upstream_reset"));
            assert_eq!(records.connection.bytes_out, 7);
            let took = records.connection.duration;
            assert!(took.as_secs() < 2, "nobody is waited for who has broken off himself: {took:?}");
        });
    }
}

#[test]
fn a_task_that_is_stopped_still_leaves_its_record() {
    play(async {
        let origin = Server::new().await;
        let session = World::new(origin.address, Setup { port: "tcp", ..Setup::default() }).await.call("").await;
        let _server = origin.accept().await;
        assert_eq!(session.abandoned().await.end(), ("error", "agent_abandoned"));
    });
}
