//! One agent takes over from another: what was under way goes on, what waits is served, and until it is done nothing that
//! the successor does or fails to do makes a difference.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use interceptor_tests::{Service, wait};
use nix::sys::signal::Signal;

use crate::crash::{GET, OK, word, works_directly};
use crate::wire::{LIMIT, Server, TCP, UNDECLARED, Way, Wire, exchange, expect, expect_end, expect_reset, send};

const CLOSED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nconnection: close\r\n\r\nok";

#[track_caller]
fn succeed(wire: &mut Wire) -> interceptor_tests::Agent {
    wire.agent.succeed(&wire.lab, &wire.config).unwrap_or_else(|error| panic!("{error:#}"))
}

/// A client of the agent before is answered once more, and sent away.
#[track_caller]
fn is_answered_and_sent_away(client: &TcpStream, peer: &TcpStream, request: &str) {
    expect(peer, request);
    send(peer, OK);
    expect(client, CLOSED);
    expect_end(client);
}

/// Whether the agent is between the two ends.
fn is_intercepted(wire: &Wire, server: &Server, way: Way) -> bool {
    let before = wire.counted(word(way), "redirected");
    let (client, peer) = wire.pair(server, way, UNDECLARED);
    exchange(&client, &peer, GET, OK);
    wire.counted(word(way), "redirected") > before
}

#[test]
fn http_ends_with_the_response_under_way_and_other_streams_when_they_want() {
    let mut wire = Wire::new("handover");
    let (server, raw) = (wire.listen(UNDECLARED), wire.listen(TCP));
    let http = Way::BOTH.map(|way| wire.pair(&server, way, UNDECLARED));
    let streams = Way::BOTH.map(|way| wire.pair(&raw, way, TCP));
    for (client, peer) in &http {
        exchange(client, peer, GET, OK);
        send(client, GET);
        expect(peer, GET);
    }
    for (client, peer) in &streams {
        exchange(client, peer, "one", "two");
    }
    let before = Way::BOTH.map(|way| wire.counted(word(way), "redirected"));
    let mut old = succeed(&mut wire);
    // The counters go on, and so does everything else.
    assert_eq!(Way::BOTH.map(|way| wire.counted(word(way), "redirected")), before);
    for (client, peer) in &http {
        send(peer, OK);
        expect(client, CLOSED);
        expect_end(client);
    }
    drop(http);
    for way in Way::BOTH {
        assert!(is_intercepted(&wire, &server, way), "{way:?}");
    }
    for (client, peer) in &streams {
        exchange(client, peer, "three", "four");
    }
    old.process().expect_running().unwrap();
    drop(streams);
    assert_eq!(old.process().wait(LIMIT).unwrap().code(), Some(0), "{}", old.log_tail(20));
    // What it removed was its own.
    for way in Way::BOTH {
        assert!(is_intercepted(&wire, &server, way), "{way:?}");
    }
    assert!(wire.config.admin_socket().exists());
}

#[test]
fn a_client_that_has_asked_again_already_is_answered_before_it_is_sent_away() {
    let mut wire = Wire::new("pipelined");
    let server = wire.listen(UNDECLARED);
    let (client, peer) = wire.pair(&server, Way::Outbound, UNDECLARED);
    send(&client, GET);
    expect(&peer, GET);
    let _old = succeed(&mut wire);
    // It comes before the first response: to close after that one would lose it.
    send(&client, GET);
    std::thread::sleep(Duration::from_millis(200));
    send(&peer, OK);
    expect(&client, OK);
    is_answered_and_sent_away(&client, &peer, GET);
}

#[test]
fn requests_that_were_sent_at_once_are_all_answered_before_the_client_is_sent_away() {
    const POST: &str = "POST / HTTP/1.1\r\nHost: peer\r\nContent-Length: 5\r\n\r\nhello";
    let mut wire = Wire::new("at-once");
    let server = wire.listen(UNDECLARED);
    for first in [GET, POST] {
        let (client, peer) = wire.pair(&server, Way::Outbound, UNDECLARED);
        exchange(&client, &peer, GET, OK);
        let _old = succeed(&mut wire);
        send(&client, [first, POST, GET].concat());
        for request in [first, POST] {
            expect(&peer, request);
            send(&peer, OK);
            expect(&client, OK);
        }
        is_answered_and_sent_away(&client, &peer, GET);
    }
}

#[test]
fn a_request_on_a_connection_of_the_agent_before_goes_by_the_configuration_of_its_time() {
    let mut wire = Wire::with("learning", |config| {
        config.space("dev", Some("default"));
    });
    let server = wire.listen(UNDECLARED);
    let copy = wire.lab.pod("copy").unwrap();
    let copies = copy.listen("[::]:8080".parse().unwrap()).unwrap();
    let request = "GET / HTTP/1.1\r\nHost: peer\r\nazds-route-as: dev\r\n\r\n";
    let asked = [(); 2].map(|()| {
        let (client, peer) = wire.pair(&server, Way::Outbound, UNDECLARED);
        exchange(&client, &peer, request, OK);
        (client, peer)
    });
    let [(first, _first_peer), (second, second_peer)] = asked;
    // It comes with the successor, so that the one before has not heard of it ...
    wire.config.service(&Service::new("peer", "dev").port("any", 80, 8080, None).endpoint(&copy));
    let _old = succeed(&mut wire);
    send(&first, request);
    let (peer, _) = copies.accept().unwrap();
    is_answered_and_sent_away(&first, &peer, request);
    // ... and goes again when the one before has nothing more to do with it.
    wire.config.remove_service("dev", "peer");
    wire.agent.reload(&wire.config).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    send(&second, request);
    is_answered_and_sent_away(&second, &second_peer, request);
}

#[test]
fn connections_that_wait_at_a_listener_are_served_by_the_successor() {
    let mut wire = Wire::with("waiting", |config| {
        config.set("proxy", "workers", 1);
    });
    let server = wire.listen(UNDECLARED);
    // Accepted by nobody: they lie in the kernel's queue when the listener changes hands. With only one worker and its
    // thread stopped the old agent could not say what it listens on, so it is the successor that must be slow: many at
    // once are more than any worker accepts in one turn.
    let clients: Vec<_> = (0..50).map(|_| wire.dial(Way::Outbound, UNDECLARED)).collect();
    let _old = succeed(&mut wire);
    let more: Vec<_> = (0..50).map(|_| wire.dial(Way::Outbound, UNDECLARED)).collect();
    for client in clients.iter().chain(&more) {
        send(client, GET);
    }
    for _ in 0..100 {
        let peer = server.accept();
        expect(&peer, GET);
        send(&peer, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    }
    for client in clients.iter().chain(&more) {
        expect(client, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    }
}

#[test]
fn a_stream_that_outlives_the_drain_is_reset_and_an_idle_client_sent_away_before() {
    let mut wire = Wire::with("drained", |config| {
        config.set("proxy", "drain_timeout", "2s");
    });
    let (server, raw) = (wire.listen(UNDECLARED), wire.listen(TCP));
    let (idle, idle_peer) = wire.pair(&server, Way::Outbound, UNDECLARED);
    exchange(&idle, &idle_peer, GET, OK);
    let (client, peer) = wire.pair(&raw, Way::Outbound, TCP);
    exchange(&client, &peer, "one", "two");
    let mut old = succeed(&mut wire);
    let begin = Instant::now();
    expect_end(&idle);
    assert!(begin.elapsed() < Duration::from_millis(1900), "{:?}", begin.elapsed());
    expect_reset(&client);
    expect_reset(&peer);
    assert!(begin.elapsed() > Duration::from_millis(1500), "{:?}", begin.elapsed());
    assert_eq!(old.process().wait(LIMIT).unwrap().code(), Some(0));
}

#[test]
fn a_successor_that_dies_or_may_not_start_changes_nothing() {
    let mut wire = Wire::new("unborn");
    let server = wire.listen(UNDECLARED);
    let (client, peer) = wire.pair(&server, Way::Outbound, UNDECLARED);
    exchange(&client, &peer, GET, OK);
    // Its configuration is refused.
    let mut bad = wire.config.clone();
    bad.set("proxy", "workers", "many");
    let mut successor = wire.agent.start_successor(&wire.lab, &bad).unwrap();
    assert_eq!(successor.process().wait(LIMIT).unwrap().code(), Some(1), "{}", successor.log_tail(20));
    wire.agent.write_config(&wire.config.to_text()).unwrap();
    exchange(&client, &peer, GET, OK);
    // It is killed, at times that lie before, in and after the takeover.
    let (mut kept, mut taken) = (0, 0);
    for pause in [1, 10, 20, 30, 40, 50, 60, 80, 100, 120, 150, 200, 300, 400, 600] {
        let mut successor = wire.agent.start_successor(&wire.lab, &wire.config).unwrap();
        std::thread::sleep(Duration::from_millis(pause));
        successor.kill9().unwrap();
        // An agent that has been succeeded ends; this one may take a moment to see that there was none.
        let over = wait::until(Duration::from_secs(3), "the agent to capture", || {
            let status = wire.agent.status()?;
            anyhow::ensure!(status["ready"] == true, "{status}");
            Ok(())
        });
        if over.is_ok() {
            kept += 1;
            for way in Way::BOTH {
                assert!(is_intercepted(&wire, &server, way), "{way:?} after {pause} ms");
            }
            exchange(&client, &peer, GET, OK);
        } else {
            // It had everything already: that is the death of an agent, and the way is free.
            taken += 1;
            drop((client, peer, server));
            for way in Way::BOTH {
                works_directly(&wire, way);
            }
            assert_eq!(wire.agent.process().wait(LIMIT).unwrap().code(), Some(0));
            break;
        }
    }
    println!("{kept} times the agent went on, {taken} times it had been succeeded");
    assert!(kept > 0);
}

#[test]
fn a_successor_that_hangs_in_the_middle_is_not_waited_for() {
    let mut wire = Wire::new("halfway");
    let server = wire.listen(UNDECLARED);
    let mut successor = wire.agent.start_successor(&wire.lab, &wire.config).unwrap();
    // Stopped as soon as it has asked for anything.
    wait::until(LIMIT, "the agent to hear of it", || {
        anyhow::ensure!(wire.agent.log_tail(50).contains("a successor asks"));
        Ok(())
    })
    .unwrap();
    successor.process().signal(Signal::SIGSTOP).unwrap();
    for way in Way::BOTH {
        assert!(is_intercepted(&wire, &server, way), "{way:?}");
    }
    // Wherever it stands, the agent is itself again within its patience, and the next one may come.
    drop(successor);
    wait::until(Duration::from_secs(15), "the agent to answer", || {
        anyhow::ensure!(wire.agent.status()?["ready"] == true);
        Ok(())
    })
    .unwrap();
    let _old = succeed(&mut wire);
    for way in Way::BOTH {
        assert!(is_intercepted(&wire, &server, way), "{way:?}");
    }
}

#[test]
fn where_nothing_can_be_taken_over_the_old_one_makes_way() {
    let mut wire = Wire::new("otherport");
    let server = wire.listen(UNDECLARED);
    let raw = wire.listen(TCP);
    let (client, peer) = wire.pair(&raw, Way::Outbound, TCP);
    exchange(&client, &peer, "one", "two");
    wire.config.set("capture", "outbound_port", 15101);
    let mut old = succeed(&mut wire);
    assert!(wire.agent.log_tail(200).contains("it listens on capture.outbound_port 15001, the successor on 15101"));
    for way in Way::BOTH {
        assert!(is_intercepted(&wire, &server, way), "{way:?}");
    }
    exchange(&client, &peer, "three", "four");
    drop((client, peer));
    assert_eq!(old.process().wait(LIMIT).unwrap().code(), Some(0), "{}", old.log_tail(20));
    for way in Way::BOTH {
        assert!(is_intercepted(&wire, &server, way), "{way:?}");
    }
}

#[test]
fn another_configuration_comes_with_the_successor() {
    let mut wire = Wire::new("reconfigured");
    let server = wire.listen(UNDECLARED);
    for way in Way::BOTH {
        assert!(is_intercepted(&wire, &server, way), "{way:?}");
    }
    // The server's pod is not captured any more, more workers than before listen, the client's stays.
    wire.config.remove_workload("server").set("proxy", "workers", 3);
    let mut old = succeed(&mut wire);
    assert!(is_intercepted(&wire, &server, Way::Outbound));
    assert!(!is_intercepted(&wire, &server, Way::Inbound), "the server's pod is nobody's");
    assert_eq!(old.process().wait(LIMIT).unwrap().code(), Some(0), "{}", old.log_tail(20));
    // And back, with fewer workers than there are listeners.
    let server_pod = wire.server.clone();
    wire.config.workload(&server_pod, Some("default")).set("proxy", "workers", 1);
    let _old = succeed(&mut wire);
    for _ in 0..20 {
        for way in Way::BOTH {
            assert!(is_intercepted(&wire, &server, way), "{way:?}");
        }
    }
}
