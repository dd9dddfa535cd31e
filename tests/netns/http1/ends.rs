//! When one end of an HTTP/1.1 connection goes, the other end learns of it as it would without the interceptor.

use std::net::Shutdown;
use std::time::Instant;

use interceptor_tests::wait;

use super::{AT_ONCE, GET, OK};
use crate::wire::{LIMIT, UNDECLARED, Way, Wire, exchange, expect, expect_end, expect_reset, reset, send, until_end};

#[test]
fn a_server_that_closes_an_idle_connection_closes_the_clients() {
    let wire = Wire::new("h1-idle");
    let server = wire.listen(UNDECLARED);
    for way in Way::BOTH {
        for by_reset in [false, true] {
            let (client, peer) = wire.pair(&server, way, UNDECLARED);
            exchange(&client, &peer, GET, OK);
            exchange(&client, &peer, GET, OK);
            if by_reset {
                reset(peer)
            } else {
                drop(peer)
            }
            // Not a 502 for the request that a client would send next.
            let begin = Instant::now();
            expect_end(&client);
            assert!(begin.elapsed() < AT_ONCE, "{way:?} took {:?}", begin.elapsed());
        }
    }
}

#[test]
fn a_client_that_leaves_is_missed_by_the_server_at_once() {
    let wire = Wire::new("h1-leave");
    let server = wire.listen(UNDECLARED);
    let begun = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n";
    for way in Way::BOTH {
        for answered in [false, true] {
            for by_reset in [false, true] {
                let (client, peer) = wire.pair(&server, way, UNDECLARED);
                send(&client, GET);
                expect(&peer, GET);
                if answered {
                    send(&peer, begun);
                    expect(&client, begun);
                }
                // Servers cancel what nobody waits for when they read this end, whether they write or not.
                let begin = Instant::now();
                if by_reset {
                    reset(client)
                } else {
                    drop(client)
                }
                let mut byte = [0];
                match std::io::Read::read(&mut &peer, &mut byte) {
                    Ok(0) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
                    other => panic!("{way:?}, answered {answered}, reset {by_reset}: {other:?}"),
                }
                assert!(begin.elapsed() < AT_ONCE, "{way:?} took {:?}", begin.elapsed());
            }
        }
    }
}

#[test]
fn a_client_that_ends_its_direction_still_gets_the_answer() {
    let wire = Wire::new("h1-half");
    let server = wire.listen(UNDECLARED);
    for way in Way::BOTH {
        for before in [0, 1] {
            let (client, peer) = wire.pair(&server, way, UNDECLARED);
            for _ in 0..before {
                exchange(&client, &peer, GET, OK);
            }
            send(&client, GET);
            client.shutdown(Shutdown::Write).unwrap();
            expect(&peer, GET);
            expect_end(&peer);
            send(&peer, OK);
            drop(peer);
            assert_eq!(until_end(&client), OK.as_bytes(), "{way:?}");
        }
    }
}

#[test]
fn a_broken_upload_or_download_is_not_made_to_look_whole() {
    let wire = Wire::new("h1-broken");
    let server = wire.listen(UNDECLARED);
    for way in Way::BOTH {
        for by_reset in [false, true] {
            let (client, peer) = wire.pair(&server, way, UNDECLARED);
            let upload = "PUT / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc";
            send(&client, upload);
            expect(&peer, upload);
            if by_reset {
                reset(client)
            } else {
                drop(client)
            }
            let mut rest = Vec::new();
            // By end or by reset; with nothing added.
            std::io::Read::read_to_end(&mut &peer, &mut rest).ok();
            assert_eq!(rest, b"", "{way:?}");

            let (client, peer) = wire.pair(&server, way, UNDECLARED);
            let download = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc";
            exchange(&client, &peer, GET, download);
            if by_reset {
                reset(peer)
            } else {
                drop(peer)
            }
            expect_reset(&client);
        }
    }
}

#[test]
fn a_request_into_a_connection_that_its_server_leaves_ends_as_without_the_agent() {
    let wire = Wire::new("h1-race");
    let server = wire.listen(UNDECLARED);
    for way in Way::BOTH {
        let (client, peer) = wire.pair(&server, way, UNDECLARED);
        exchange(&client, &peer, GET, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let post = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1";
        send(&client, post);
        expect(&peer, post);
        drop(peer);
        // No 502: whether to repeat the request is the client's affair.
        let mut rest = Vec::new();
        std::io::Read::read_to_end(&mut &client, &mut rest).ok();
        assert_eq!(String::from_utf8_lossy(&rest), "", "{way:?}");
    }
}

#[test]
fn an_answer_before_the_end_of_the_body_reaches_the_client() {
    let wire = Wire::new("h1-early");
    let server = wire.listen(UNDECLARED);
    let head = "POST / HTTP/1.1\r\nContent-Length: 100000000\r\n\r\n";
    let refusal = "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 5\r\n\r\nlarge";
    for way in Way::BOTH {
        let (client, peer) = wire.pair(&server, way, UNDECLARED);
        send(&client, head);
        expect(&peer, head);
        // The body is under way, more than all buffers hold, when the answer comes and the server closes.
        let body = client.try_clone().unwrap();
        let sender = std::thread::spawn(move || {
            let part = [b'.'; 65536];
            while std::io::Write::write_all(&mut &body, &part).is_ok() {}
        });
        send(&peer, refusal);
        peer.shutdown(Shutdown::Write).unwrap();
        expect(&client, refusal);
        drop(peer);
        sender.join().unwrap();
    }
}

#[test]
fn connections_of_ended_clients_leave_no_descriptors() {
    let mut wire = Wire::new("h1-descriptors");
    let server = wire.listen(UNDECLARED);
    let before = wire.descriptors();
    let open: Vec<_> = (0..20).map(|n| wire.pair(&server, Way::BOTH[n % 2], UNDECLARED)).collect();
    for (client, peer) in &open {
        exchange(client, peer, GET, OK);
    }
    assert!(wire.descriptors() >= before + 40);
    drop(open);
    let closed = wait::until(LIMIT, "descriptors to be closed", || {
        let now = wire.descriptors();
        anyhow::ensure!(now <= before, "{now} instead of {before}");
        Ok(())
    });
    closed.unwrap();
}
