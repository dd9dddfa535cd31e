//! A new configuration is for the next request: what is under way is not disturbed, and no request is lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use interceptor_tests::app::streams::{Total, pattern_total, send_pattern};
use interceptor_tests::http::Connection;
use interceptor_tests::{Service, wait};

use crate::wire::{LIMIT, UNDECLARED, Way, Wire, exchange, expect, send};

const GET: &str = "GET / HTTP/1.1\r\nHost: peer\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn a_download_goes_on_while_its_space_is_removed() {
    const BYTES: u64 = 20_000_000;
    let mut wire = Wire::with("reload-download", |config| {
        config.space("dev", Some("default"));
    });
    // The copy in `dev` is in the client's pod itself; any pod will do.
    let copy = wire.lab.pod("copy").unwrap();
    let listener = copy.listen("[::]:8080".parse().unwrap()).unwrap();
    let service = Service::new("peer", "dev").port("any", 80, 8080, None).endpoint(&copy);
    wire.config.service(&service).workload(&copy, Some("dev"));
    wire.agent.reload(&wire.config).unwrap();
    let request = "GET / HTTP/1.1\r\nazds-route-as: dev\r\n\r\n";
    let client = wire.dial(Way::Outbound, UNDECLARED);
    send(&client, request);
    let (peer, _) = listener.accept().unwrap();
    expect(&peer, request);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n");
    send(&peer, &head);
    expect(&client, &head);
    std::thread::scope(|scope| {
        scope.spawn(|| send_pattern(&mut &peer, BYTES).unwrap());
        // The buffers on the way are full and the response is in its middle.
        let mut total = Total::default();
        std::io::copy(&mut std::io::Read::take(&client, BYTES / 4), &mut total).unwrap();
        wire.config.remove_service("dev", "peer").remove_workload("copy").remove_space("dev");
        wire.agent.reload(&wire.config).unwrap();
        std::io::copy(&mut std::io::Read::take(&client, BYTES - BYTES / 4), &mut total).unwrap();
        assert_eq!(total.to_json(), pattern_total(BYTES));
    });
    // The next request of the same connection goes by the new configuration (rule R5).
    let server = wire.listen(UNDECLARED);
    send(&client, request);
    let peer = server.accept();
    expect(&peer, request);
    send(&peer, OK);
    expect(&client, OK);
}

#[test]
fn a_connection_outlives_the_capture_of_its_workload() {
    let mut wire = Wire::new("reload-released");
    let server = wire.listen(UNDECLARED);
    let open: Vec<_> = Way::BOTH.map(|way| wire.pair(&server, way, UNDECLARED)).into();
    for (client, peer) in &open {
        exchange(client, peer, GET, OK);
    }
    wire.config.remove_workload("client").remove_workload("server");
    wire.agent.reload(&wire.config).unwrap();
    for (client, peer) in &open {
        exchange(client, peer, GET, OK);
    }
    let (client, peer) = wire.pair(&server, Way::Outbound, UNDECLARED);
    exchange(&client, &peer, GET, OK);
    assert_eq!(peer.peer_addr().unwrap().port(), client.local_addr().unwrap().port(), "the new one is direct");
}

#[test]
fn fifty_reloads_under_load_cost_no_request() {
    let mut wire = Wire::new("reload-load");
    wire.serve(UNDECLARED.1, &["http", "--name", "peer"]);
    let kept = Way::BOTH.map(|way| Connection::new(wire.dial(way, UNDECLARED)));
    let to = wire.address(Way::Outbound, UNDECLARED).to_string();
    let over = AtomicBool::new(false);
    let extra =
        Service::new("extra", "default").address(std::net::Ipv4Addr::new(10, 96, 0, 11)).port("any", 80, 8080, None);
    std::thread::scope(|scope| {
        // Two connections that stay, and new ones all the time.
        let answers = kept.map(|mut connection| {
            let over = &over;
            scope.spawn(move || {
                let mut answers = 0;
                while !over.load(Ordering::Relaxed) {
                    connection.send(GET.as_bytes()).unwrap();
                    assert_eq!(connection.response("GET").unwrap().status().unwrap(), 200);
                    answers += 1;
                }
                answers
            })
        });
        let (client, pod, over_ref) = (wire.client.clone(), interceptor_tests::bins::pod().unwrap(), &over);
        let fresh = scope.spawn(move || {
            let mut answers = 0;
            while !over_ref.load(Ordering::Relaxed) {
                let load = ["load", "--to", &to, "--connections", "50", "--requests", "2", "--threads", "2"];
                let output = client.output(&pod, load).unwrap();
                let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
                assert_eq!((&result["failed"], &result["answers"]), (&0.into(), &100.into()), "{result}");
                answers += 100;
            }
            answers
        });
        for round in 0..50 {
            match round % 3 {
                0 => wire.config.service(&extra),
                1 => wire.config.space("dev", Some("default")),
                _ => wire.config.remove_service("default", "extra").remove_space("dev"),
            };
            let before = wire.agent.snapshot_version().unwrap();
            wire.agent.write_config(&wire.config.to_text()).unwrap();
            // At once, instead of when the file is looked at next.
            wire.agent.process().signal(nix::sys::signal::Signal::SIGHUP).unwrap();
            let taken = wait::until(LIMIT, "the reload", || {
                anyhow::ensure!(wire.agent.snapshot_version()? > before, "not yet");
                Ok(())
            });
            taken.unwrap();
        }
        over.store(true, Ordering::Relaxed);
        let kept: u64 = answers.into_iter().map(|thread| thread.join().unwrap()).sum();
        let fresh: u64 = fresh.join().unwrap();
        println!("50 reloads, {kept} requests on kept connections, {fresh} on new ones, none failed");
        assert!(kept > 100 && fresh >= 100);
    });
}

#[test]
fn the_agent_never_captures_itself() {
    let mut wire = Wire::new("self");
    wire.serve(UNDECLARED.1, &["http", "--name", "peer"]);
    let to = wire.address(Way::Outbound, UNDECLARED).to_string();
    let result = wire.call(&["load", "--to", &to, "--connections", "3000"]);
    let result: serde_json::Value = serde_json::from_str(&result).unwrap();
    assert_eq!(result["failed"], 0, "{result}");
    // Every connection was intercepted once: at the caller's pod, not again at the server's, and no other one was.
    assert_eq!(wire.counted("outbound", "redirected"), 3000);
    assert_eq!(wire.counted("outbound", "self_capture"), 0);
    assert_eq!(wire.counted("inbound", "redirected"), 0);
    // An upstream connection serves up to 32 clients, one after the other.
    let arrived = wire.counted("inbound", "peer");
    assert!((3000 / 32..=3000).contains(&arrived), "{arrived} connections");
    let before = wire.descriptors();
    wait::until(Duration::from_secs(10), "connections to be closed", || {
        anyhow::ensure!(wire.descriptors() <= before);
        Ok(())
    })
    .unwrap();
}
