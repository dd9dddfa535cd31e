//! What only kernel splice can get wrong: whether it is used, what it counts, what it leaves, and a reader that stops.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::{HELLO, MUCH, bytes};
use crate::wire::{LIMIT, TCP, UNDECLARED, Way, Wire, exchange, expect_reset, reset, send, until_end};

fn wire(name: &str) -> Wire {
    let wire = Wire::with(name, |config| {
        config.set("proxy", "splice", "kernel");
    });
    let status = wire.splice_status();
    assert_eq!(status["backend"], "kernel", "{status}");
    assert_eq!(status["why"], "as configured; the self-test passed");
    wire
}

fn events(wire: &Wire, event: &str) -> u64 {
    wire.splice_status()["events"][event].as_u64().unwrap()
}

/// The record of the only connection.
fn record(wire: &Wire) -> Value {
    let found = interceptor_tests::wait::until(LIMIT, "the record", || {
        let flows = wire.agent.flows(&["--last", "1"])?;
        flows.into_iter().next().ok_or_else(|| anyhow::anyhow!("none yet"))
    });
    found.unwrap()
}

/// Sends one way, and reads at the same time: more than all buffers hold.
fn pass(from: &TcpStream, to: &TcpStream, data: &[u8]) {
    std::thread::scope(|scope| {
        scope.spawn(|| send(from, data));
        let mut got = vec![0; data.len()];
        let mut to = to;
        to.read_exact(&mut got).unwrap();
        assert!(got == data);
    });
}

#[test]
fn what_the_kernel_moved_is_in_the_record() {
    for way in Way::BOTH {
        let wire = wire("kernel-bytes");
        let server = wire.listen(TCP);
        let (client, peer) = wire.pair(&server, way, TCP);
        let (up, down) = (bytes(3_000_001, 3), bytes(2_000_003, 7));
        for _ in 0..3 {
            pass(&client, &peer, &up);
            pass(&peer, &client, &down);
        }
        assert_eq!((events(&wire, "handed"), events(&wire, "left")), (2, 0), "{way:?}");
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(until_end(&peer), b"");
        drop(peer);
        assert_eq!(until_end(&client), b"");
        let record = record(&wire);
        assert_eq!(record["bytes_in"], 9_000_003, "{record}");
        assert_eq!(record["bytes_out"], 6_000_009, "{record}");
        assert_eq!(record["reason"], "end_of_stream", "{record}");
    }
}

#[test]
fn short_exchanges_are_not_worth_handing_over() {
    let wire = wire("kernel-short");
    let server = wire.listen(TCP);
    let (client, peer) = wire.pair(&server, Way::Outbound, TCP);
    for _ in 0..100 {
        exchange(&client, &peer, "ping", "pong");
    }
    assert_eq!(events(&wire, "handed"), 0);
}

#[test]
fn an_upgraded_connection_is_handed_over() {
    let wire = wire("kernel-ws");
    let server = wire.listen(UNDECLARED);
    let upgrade = "GET /chat HTTP/1.1\r\nHost: peer\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    for (count, way) in [(2, Way::Outbound), (4, Way::Inbound)] {
        let (client, peer) = wire.pair(&server, way, UNDECLARED);
        exchange(&client, &peer, upgrade, switching);
        let data = bytes(MUCH, 5);
        for _ in 0..3 {
            pass(&client, &peer, &data);
            pass(&peer, &client, &data);
        }
        assert_eq!(events(&wire, "handed"), count, "{way:?}");
        // One side ends, the other goes on, in the kernel as before.
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(until_end(&peer), b"");
        pass(&peer, &client, &data);
        send(&peer, "last");
        drop(peer);
        assert_eq!(until_end(&client), b"last", "{way:?}");
    }
}

#[test]
fn a_reader_that_stops_for_seconds_gets_every_byte() {
    // A GiB, in parts whose bytes tell their place.
    const PARTS: usize = 1 << 10;
    let mut wire = wire("kernel-stop");
    let server = wire.listen(TCP);
    let (client, peer) = wire.pair(&server, Way::Outbound, TCP);
    let part = |index: usize| -> Vec<u8> {
        let mut part = bytes(1 << 20, 13);
        part[..8].copy_from_slice(&index.to_be_bytes());
        part
    };
    peer.set_read_timeout(None).unwrap();
    client.set_write_timeout(None).unwrap();
    let sender = std::thread::spawn(move || {
        for index in 0..PARTS {
            send(&client, part(index));
        }
        client
    });
    let mut got = vec![0; 1 << 20];
    let mut from = &peer;
    for index in 0..PARTS {
        if index == 20 || index == 40 {
            std::thread::sleep(Duration::from_secs(2));
            let resident = wire.memory_kib("VmRSS:");
            assert!(resident < 64 * 1024, "{resident} KiB resident");
        }
        from.read_exact(&mut got).unwrap();
        assert!(got == part(index), "part {index} differs");
    }
    let client = sender.join().unwrap();
    assert_eq!((events(&wire, "handed"), events(&wire, "left")), (1, 1));
    // The other direction was never touched.
    send(&peer, "thanks");
    drop(peer);
    assert_eq!(until_end(&client), b"thanks");
    drop(client);
    assert_eq!(record(&wire)["bytes_in"], 1 << 30);
}

#[test]
fn a_reset_overtakes_nothing_that_the_kernel_holds() {
    let wire = wire("kernel-words");
    let server = wire.listen(TCP);
    for way in Way::BOTH {
        let (client, peer) = wire.pair(&server, way, TCP);
        exchange(&client, &peer, HELLO, "ok");
        pass(&peer, &client, &bytes(MUCH, 5));
        pass(&peer, &client, &bytes(MUCH, 5));
        // More than the sockets' buffers hold, less than the kernel gives a direction up for.
        let data = bytes(3_500_000, 9);
        send(&peer, &data);
        wire.wait_all_sent(TCP);
        reset(peer);
        let mut got = vec![0; data.len()];
        (&client).read_exact(&mut got).unwrap();
        assert!(got == data, "{way:?}");
        expect_reset(&client);
    }
    assert_eq!(events(&wire, "handed"), 2);
}

#[test]
fn a_server_that_dies_under_an_upload_is_noticed_by_its_client() {
    let wire = wire("kernel-dead");
    let server = wire.listen(TCP);
    for half_closed in [false, true] {
        let (client, peer) = wire.pair(&server, Way::Outbound, TCP);
        exchange(&client, &peer, HELLO, "ok");
        pass(&client, &peer, &bytes(MUCH, 5));
        pass(&client, &peer, &bytes(MUCH, 5));
        if half_closed {
            // Nobody reads from the server's side any more when it breaks.
            peer.shutdown(Shutdown::Write).unwrap();
            assert_eq!(until_end(&client), b"");
        }
        reset(peer);
        if half_closed {
            let broken = interceptor_tests::wait::until(LIMIT, "the upload to break", || {
                anyhow::ensure!((&client).write_all(&[0; 1000]).is_err(), "it is still taken");
                Ok(())
            });
            broken.unwrap();
        } else {
            expect_reset(&client);
        }
    }
}
