//! The agent dies, hangs, or is told to end: traffic goes on without it, and a new one takes over.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use interceptor_tests::{Agent, bpftool, wait};
use nix::sys::signal::Signal;

use crate::wire::{LIMIT, UNDECLARED, Way, Wire, exchange, expect, expect_end, send};

pub(crate) const GET: &str = "GET / HTTP/1.1\r\nHost: peer\r\n\r\n";
pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// The shortest that the configuration allows.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// A connection that the kernel takes to the server's own socket: the agent is in no part of it.
#[track_caller]
pub(crate) fn works_directly(wire: &Wire, way: Way) {
    let server = wire.listen(UNDECLARED);
    let client = wire.dial(way, UNDECLARED);
    // Nobody but the server can have answered the handshake.
    let peer = server.accept();
    let far = peer.peer_addr().unwrap();
    assert_eq!(far.port(), client.local_addr().unwrap().port(), "{way:?}: {far} is not the client's own socket");
    exchange(&client, &peer, GET, OK);
    exchange(&client, &peer, "\x16\x03\x01", "anything");
}

/// Waits until the kernel has none of these links or maps any more.
#[track_caller]
fn wait_gone(kind: &str, own: &[u64]) {
    let gone = wait::until(LIMIT, &format!("every {kind} to be gone"), || {
        let all = bpftool::json(&[kind, "show"])?;
        let all = all.as_array().with_context(|| format!("no list: {all}"))?;
        let left: Vec<u64> = all.iter().filter_map(|one| one["id"].as_u64()).filter(|id| own.contains(id)).collect();
        anyhow::ensure!(left.is_empty(), "left: {left:?}");
        Ok(())
    });
    gone.unwrap();
}

#[test]
fn a_killed_agent_is_out_of_the_way_at_once() {
    let mut wire = Wire::new("kill9");
    let server = wire.listen(UNDECLARED);
    let open: Vec<_> = Way::BOTH.map(|way| wire.pair(&server, way, UNDECLARED)).into();
    for (client, peer) in &open {
        exchange(client, peer, GET, OK);
    }
    let own: Vec<u64> = own_links(wire.pid());
    let own_maps = own_maps(wire.pid());
    assert!(own.len() >= 7 && own_maps.len() >= 10, "{own:?} {own_maps:?}");
    wire.agent.kill9().unwrap();
    let begin = Instant::now();
    for (client, peer) in open {
        // What ran through it is reset, for both sides: neither hangs, neither takes a part for the whole.
        for end in [client, peer] {
            let mut byte = [0];
            let ended = std::io::Read::read(&mut &end, &mut byte);
            let reset = ended.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset);
            assert!(reset, "{ended:?}");
        }
    }
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    drop(server);
    for way in Way::BOTH {
        works_directly(&wire, way);
    }
    println!("direct in both directions {:?} after the kill", begin.elapsed());
    wait_gone("link", &own);
    wait_gone("map", &own_maps);
    // Nor a listener in any pod.
    for pod in [&wire.client, &wire.server] {
        let sockets = pod.output("ss", ["-Htln", "sport = :15001"]).unwrap();
        assert_eq!(String::from_utf8_lossy(&sockets.stdout), "");
    }
}

#[test]
fn a_tenth_of_a_second_after_a_kill_new_connections_go_directly() {
    let mut wire = Wire::new("kill9-again");
    let server = wire.listen(UNDECLARED);
    // A busy machine takes its time for anything: what the agent's end takes is what it takes at best.
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let redirected = wire.counted("outbound", "redirected");
        drop(wire.pair(&server, Way::Outbound, UNDECLARED));
        assert!(wire.counted("outbound", "redirected") > redirected);
        let begin = Instant::now();
        wire.agent.kill9().unwrap();
        for way in Way::BOTH {
            let client = wire.dial(way, UNDECLARED);
            let far = server.accept().peer_addr().unwrap();
            assert_eq!(far.port(), client.local_addr().unwrap().port(), "{way:?}");
        }
        best = best.min(begin.elapsed());
        wire.agent = Agent::start(&wire.lab, &wire.config).unwrap_or_else(|error| panic!("{error:#}"));
    }
    println!("direct in both directions {best:?} after a kill, at best");
    assert!(best < Duration::from_millis(100), "{best:?}");
}

/// The bpf maps that a process holds.
fn own_maps(pid: u32) -> Vec<u64> {
    held(pid, "map_id:")
}

/// The bpf links that a process holds.
pub(crate) fn own_links(pid: u32) -> Vec<u64> {
    held(pid, "link_id:")
}

/// The numbers of kernel objects that a process holds.
fn held(pid: u32, key: &str) -> Vec<u64> {
    let infos = fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap();
    let texts = infos.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
    texts.filter_map(|text| text.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok())).collect()
}

#[test]
fn an_agent_that_hangs_loses_new_connections_after_the_heartbeat_and_gets_them_back() {
    let mut wire = Wire::with("hang", |config| {
        config.set("capture", "heartbeat_timeout", "500ms");
    });
    let stale = |wire: &Wire| Way::BOTH.map(|way| wire.counted(word(way), "agent_stale"));
    assert_eq!(stale(&wire), [0, 0]);
    wire.agent.process().signal(Signal::SIGSTOP).unwrap();
    let stopped = Instant::now();
    wait::until(LIMIT, "the heartbeat to be too old", || {
        anyhow::ensure!(stopped.elapsed() > HEARTBEAT + Duration::from_millis(100));
        Ok(())
    })
    .unwrap();
    for way in Way::BOTH {
        works_directly(&wire, way);
    }
    wire.agent.process().signal(Signal::SIGCONT).unwrap();
    assert_eq!(stale(&wire), [1, 1]);
    // It takes part again.
    let server = wire.listen(UNDECLARED);
    wait::until(LIMIT, "a connection to be intercepted again", || {
        let before = wire.counted("outbound", "redirected");
        let (client, peer) = wire.pair(&server, Way::Outbound, UNDECLARED);
        exchange(&client, &peer, GET, OK);
        anyhow::ensure!(wire.counted("outbound", "redirected") > before);
        Ok(())
    })
    .unwrap();
}

pub(crate) fn word(way: Way) -> &'static str {
    match way {
        Way::Outbound => "outbound",
        Way::Inbound => "inbound",
    }
}

#[test]
fn an_agent_that_is_told_to_end_finishes_what_is_under_way() {
    let mut wire = Wire::new("sigterm");
    let server = wire.listen(UNDECLARED);
    let socket = wire.config.admin_socket().clone();
    assert!(socket.exists());
    let (client, peer) = wire.pair(&server, Way::Outbound, UNDECLARED);
    send(&client, GET);
    expect(&peer, GET);
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\nfir";
    send(&peer, head);
    expect(&client, head);
    wire.agent.process().signal(Signal::SIGTERM).unwrap();
    // New connections pass it by while the old one goes on.
    wait::until(LIMIT, "new connections to be direct", || {
        let (client, peer) = wire.pair(&server, Way::Outbound, UNDECLARED);
        anyhow::ensure!(peer.peer_addr()?.port() == client.local_addr()?.port(), "it is intercepted");
        exchange(&client, &peer, GET, OK);
        Ok(())
    })
    .unwrap();
    let (inbound, inbound_peer) = wire.pair(&server, Way::Inbound, UNDECLARED);
    exchange(&inbound, &inbound_peer, GET, OK);
    assert_eq!(inbound_peer.peer_addr().unwrap().port(), inbound.local_addr().unwrap().port());
    wire.agent.process().expect_running().unwrap();
    send(&peer, "st!");
    drop(peer);
    expect(&client, "st!");
    expect_end(&client);
    drop(client);
    let status = wire.agent.process().wait(LIMIT).unwrap();
    assert_eq!((status.code(), status.signal()), (Some(0), None));
    assert!(!socket.exists(), "{} is left", socket.display());
}

#[test]
fn an_idle_agent_ends_at_once() {
    let mut wire = Wire::new("idle-end");
    let begin = Instant::now();
    assert!(wire.agent.stop().unwrap().success());
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[test]
fn a_new_agent_takes_over_after_a_crash() {
    let mut wire = Wire::new("restart");
    let socket = wire.config.admin_socket().clone();
    for _ in 0..3 {
        wire.agent.kill9().unwrap();
        assert!(Path::new(&socket).exists(), "a crash leaves its socket");
        wire.agent = Agent::start(&wire.lab, &wire.config).unwrap_or_else(|error| panic!("{error:#}"));
        let server = wire.listen(UNDECLARED);
        for way in Way::BOTH {
            let (client, peer) = wire.pair(&server, way, UNDECLARED);
            exchange(&client, &peer, GET, OK);
            assert_eq!(wire.counted(word(way), "redirected"), 1, "{way:?}");
        }
    }
}
