//! What is not HTTP passes byte for byte, with its ends and its breaks (rule R8), whichever way the bytes move.
//!
//! Every test runs once per `proxy.splice` and in both directions.

mod bulk;
mod kernel;
mod overlap;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use crate::wire::{
    LIMIT, TCP, UNDECLARED, Way, Wire, exchange, expect, expect_end, expect_reset, reset, send, until_end,
};

/// Far below any timeout of the agent's.
const AT_ONCE: Duration = Duration::from_millis(1500);

/// First bytes that no HTTP client sends.
const HELLO: &[u8] = b"\x16\x03\x01\x00\x05hello";

/// More than a direction copies before it is spliced.
const MUCH: usize = 300_000;

fn each_backend(name: &str, test: impl Fn(&mut Wire)) {
    for backend in ["splice", "copy", "kernel"] {
        let mut wire = Wire::with(&format!("{name}-{backend}"), |config| {
            config.set("proxy", "splice", backend);
        });
        // A fall-back would pass every test for the wrong reason.
        assert_eq!(wire.splice_status()["backend"], backend, "{}", wire.splice_status());
        test(&mut wire);
        wire.agent.process().expect_running().unwrap();
    }
}

/// Each direction, on a port that is declared as TCP and on one where the bytes tell.
const CASES: [(Way, (u16, u16)); 4] =
    [(Way::Outbound, UNDECLARED), (Way::Inbound, UNDECLARED), (Way::Outbound, TCP), (Way::Inbound, TCP)];

fn bytes(length: usize, seed: u8) -> Vec<u8> {
    let cycle = (0..=250_u8).map(|byte| byte.wrapping_mul(seed));
    cycle.cycle().take(length).collect()
}

#[test]
fn each_side_can_end_its_direction_alone() {
    each_backend("half", |wire| {
        for (way, port) in CASES {
            let server = wire.listen(port);
            for length in [1000, MUCH] {
                let (up, down) = (bytes(length, 3), bytes(length, 7));
                let (client, peer) = wire.pair(&server, way, port);
                exchange(&client, &peer, HELLO, "welcome");
                send(&client, &up);
                client.shutdown(Shutdown::Write).unwrap();
                assert!(until_end(&peer) == up, "{way:?} {length}");
                // The other direction goes on for as long as it likes.
                send(&peer, &down);
                expect(&client, &down[..length / 2]);
                send(&peer, "last");
                drop(peer);
                assert!(until_end(&client) == [&down[length / 2..], b"last"].concat(), "{way:?} {length}");

                let (client, peer) = wire.pair(&server, way, port);
                exchange(&client, &peer, HELLO, &down);
                peer.shutdown(Shutdown::Write).unwrap();
                expect_end(&client);
                send(&client, &up);
                send(&client, "last");
                drop(client);
                assert!(until_end(&peer) == [&up[..], b"last"].concat(), "{way:?} {length}");
            }
        }
    });
}

#[test]
fn a_client_that_only_ends_its_direction_is_still_served() {
    each_backend("silent", |wire| {
        for (way, port) in CASES {
            let server = wire.listen(port);
            let client = wire.dial(way, port);
            client.shutdown(Shutdown::Write).unwrap();
            let peer = server.accept();
            expect_end(&peer);
            send(&peer, "it is noon");
            drop(peer);
            assert_eq!(until_end(&client), b"it is noon", "{way:?} {port:?}");
        }
    });
}

#[test]
fn a_server_that_speaks_first_is_heard_at_once() {
    each_backend("greet", |wire| {
        for (way, port) in CASES {
            let server = wire.listen(port);
            let begin = Instant::now();
            let (client, peer) = wire.pair(&server, way, port);
            send(&peer, "220 ready\r\n");
            expect(&client, "220 ready\r\n");
            // What follows may look like anything.
            exchange(&client, &peer, "GET / HTTP/1.1\nodd\n", "500 what\r\n");
            assert!(begin.elapsed() < AT_ONCE, "{way:?} {port:?} took {:?}", begin.elapsed());
        }
    });
}

#[test]
fn a_reset_is_passed_on_as_a_reset() {
    each_backend("reset", |wire| {
        for (way, port) in CASES {
            let server = wire.listen(port);
            for data in [&b"a"[..], &bytes(MUCH, 5)] {
                for by_client in [true, false] {
                    let (client, peer) = wire.pair(&server, way, port);
                    exchange(&client, &peer, HELLO, data);
                    exchange(&client, &peer, data, "ok");
                    let (breaking, other) = if by_client { (client, peer) } else { (peer, client) };
                    let begin = Instant::now();
                    reset(breaking);
                    expect_reset(&other);
                    assert!(begin.elapsed() < AT_ONCE, "{way:?} {port:?} took {:?}", begin.elapsed());
                }
            }
        }
    });
}

#[test]
fn a_reset_overtakes_nothing_that_was_sent_before() {
    each_backend("late-reset", |wire| {
        let data = bytes(100_000, 9);
        for (way, port) in CASES {
            let server = wire.listen(port);
            let (client, peer) = wire.pair(&server, way, port);
            exchange(&client, &peer, HELLO, "ok");
            // The client reads nothing before the server, whose bytes have left it, breaks the connection.
            send(&peer, &data);
            wire.wait_all_sent(port);
            reset(peer);
            expect(&client, &data);
            expect_reset(&client);
        }
    });
}

#[test]
fn a_refused_destination_is_a_reset_at_once() {
    each_backend("refused", |wire| {
        // Who calls the pod itself is refused by the kernel (netns/probes/listening.rs).
        for (way, port) in CASES.into_iter().filter(|(way, _)| *way == Way::Outbound) {
            let client = wire.dial(way, port);
            let begin = Instant::now();
            expect_reset(&client);
            assert!(begin.elapsed() < AT_ONCE, "{way:?} {port:?} took {:?}", begin.elapsed());
        }
    });
}

#[test]
fn nothing_sent_before_an_end_is_lost() {
    each_backend("tail", |wire| {
        let data = bytes(1_000_003, 11);
        for (way, port) in CASES {
            let server = wire.listen(port);
            for _ in 0..5 {
                let (client, peer) = wire.pair(&server, way, port);
                let sender = std::thread::spawn({
                    let data = data.clone();
                    move || {
                        send(&peer, &data);
                        // Closed at once, with all buffers full on the way.
                        drop(peer);
                    }
                });
                // A reader slower than the sender.
                let mut got = Vec::new();
                let mut part = [0; 10_000];
                loop {
                    let count = (&client).read(&mut part).unwrap();
                    got.extend_from_slice(&part[..count]);
                    if count == 0 {
                        break;
                    }
                    std::thread::yield_now();
                }
                sender.join().unwrap();
                assert!(got == data, "{way:?} {port:?}: {} of {} bytes", got.len(), data.len());
            }
        }
    });
}

#[test]
fn a_slow_reader_slows_its_sender_down_instead_of_filling_the_agents_memory() {
    each_backend("slow", |wire| {
        let server = wire.listen(TCP);
        for way in Way::BOTH {
            let (client, peer) = wire.pair(&server, way, TCP);
            let data = bytes(1 << 20, 13);
            peer.set_write_timeout(Some(Duration::from_millis(700))).unwrap();
            // Written until the sender is blocked: that is where back-pressure begins.
            let mut sent = 0;
            loop {
                match (&peer).write(&data[sent % data.len()..]) {
                    Ok(count) => sent += count,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => panic!("{error}"),
                }
                assert!(sent < 100 << 20, "{way:?}: {sent} bytes went somewhere");
            }
            let resident = wire.memory_kib("VmRSS:");
            assert!(resident < 64 * 1024, "{way:?}: {resident} KiB resident");
            // And it ends when the reader reads.
            let rest = std::thread::spawn(move || drop(peer));
            let got = until_end(&client);
            rest.join().unwrap();
            assert_eq!(got.len(), sent);
            assert!(got.chunks(data.len()).all(|part| part == &data[..part.len()]), "{way:?}: bytes differ");
        }
    });
}

#[test]
fn a_thousand_idle_connections_cost_little_and_leave_nothing() {
    each_backend("idle", |wire| {
        wire.serve(TCP.1, &["echo"]);
        let before = wire.descriptors();
        let to = wire.address(Way::Outbound, TCP).to_string();
        let pod = interceptor_tests::bins::pod().unwrap();
        let mut holder = wire.client.spawn(pod, ["hold", "--to", &to, "--count", "1000"]).unwrap();
        interceptor_tests::wait::until(LIMIT, "1000 connections", || {
            holder.expect_running()?;
            anyhow::ensure!(holder.stdout() == "1000\n", "not yet");
            Ok(())
        })
        .unwrap();
        assert!(wire.descriptors() >= before + 2000, "{} before, {} now", before, wire.descriptors());
        let resident = wire.memory_kib("VmRSS:");
        assert!(resident < 48 * 1024, "{resident} KiB resident");
        let client = wire.dial(Way::Outbound, TCP);
        send(&client, "one more");
        expect(&client, "one more");
        drop(client);
        holder.kill().unwrap();
        let closed = interceptor_tests::wait::until(LIMIT, "descriptors to be closed", || {
            let now = wire.descriptors();
            anyhow::ensure!(now <= before, "{now} instead of {before}");
            Ok(())
        });
        closed.unwrap();
    });
}
