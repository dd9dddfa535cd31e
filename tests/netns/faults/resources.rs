//! Nothing is left of something: descriptors of the agent, local ports of a pod, room in socket buffers. What was accepted
//! goes on, what cannot be is told or waits, and all is well again once there is room.

use std::fs;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use interceptor_tests::app::streams::{Total, pattern_total, send_pattern};
use interceptor_tests::http::Connection;
use interceptor_tests::{Pod, wait};
use serde_json::json;

use super::log::metric;
use super::{GET, GET_COPY, OK, requests, with_copy};
use crate::metrics::ENDPOINT;
use crate::wire::{LIMIT, Server, TCP, UNDECLARED, Way, Wire, exchange, expect, send};

/// Leaves the agent so many descriptors that it does not use yet.
fn leave_descriptors(wire: &mut Wire, free: usize) {
    let pid = wire.pid();
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let used: Vec<usize> = entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
    // The limit is on the number that a new one gets, the lowest that is free. A gap is none: accept(2) of the thread that
    // waits for a successor has reserved it.
    let dense = (0..).find(|number| (*number..number + 16).all(|number| !used.contains(&number))).unwrap();
    let limit = format!("--nofile={}:", dense + free);
    wire.lab.on_node().run("prlimit", ["--pid", &pid.to_string(), &limit]).unwrap();
}

/// Time that the agent has spent on processors.
fn processor_time(wire: &mut Wire) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", wire.pid())).unwrap();
    let ticks = stat.rsplit(')').next().unwrap().split_ascii_whitespace().skip(11).take(2);
    Duration::from_millis(ticks.map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum())
}

#[test]
fn an_agent_without_descriptors_serves_on_without_spinning_and_accepts_again() {
    let mut wire = Wire::with("emfile", |config| {
        config.set("metrics", "address", ENDPOINT).set("proxy", "workers", 1).set("proxy", "connect_timeout", "4s");
    });
    let (http, raw) = (wire.listen(UNDECLARED), wire.listen(TCP));
    let served = wire.pair(&raw, Way::Outbound, TCP);
    let asked = wire.pair(&http, Way::Inbound, UNDECLARED);
    exchange(&asked.0, &asked.1, GET, OK);
    // Room for three connections with their upstreams, and for one that then waits for its second descriptor.
    let used = wire.descriptors();
    leave_descriptors(&mut wire, 7);
    let mut held: Vec<_> = (0..3).map(|_| wire.pair(&raw, Way::Outbound, TCP)).collect();
    let accepted = wire.dial(Way::Outbound, TCP);
    send(&accepted, "\x16hello");
    let waiting: Vec<TcpStream> = (0..10).map(|_| wire.dial(Way::Outbound, TCP)).collect();
    let begin = (Instant::now(), processor_time(&mut wire));
    while begin.0.elapsed() < Duration::from_secs(2) {
        exchange(&served.0, &served.1, "\x16ping", "pong");
        exchange(&asked.0, &asked.1, GET, OK);
        std::thread::sleep(Duration::from_millis(100));
    }
    let spent = processor_time(&mut wire) - begin.1;
    assert!(spent < Duration::from_millis(500), "{spent:?} of two seconds");
    assert!(raw.waiting().is_none());
    // As soon as one ends there is room for the one that was accepted, and then for those that wait, one by one.
    held.pop();
    let peer = raw.accept();
    exchange(&accepted, &peer, "", "welcome");
    expect(&peer, "\x16hello");
    drop((held, accepted, peer));
    for client in waiting {
        // They come in no certain order: each is told the same.
        let peer = raw.accept();
        send(&peer, "at last");
        drop(peer);
        expect(&client, "at last");
    }
    println!("{spent:?} of processor time in two seconds without descriptors");
    // What waits for too long is told so.
    let patience = Duration::from_secs(4);
    wait::until(LIMIT, "the others to be closed", || {
        let now = wire.descriptors();
        anyhow::ensure!(now <= used, "{now} descriptors instead of {used}");
        Ok(())
    })
    .unwrap();
    leave_descriptors(&mut wire, 1);
    let (client, begin) = (wire.dial(Way::Outbound, UNDECLARED), Instant::now());
    send(&client, GET);
    let answer = Connection::new(client).response("GET").unwrap();
    assert_eq!((answer.status().unwrap(), answer.first("server")), (503, Some("interceptor")), "{answer:?}");
    assert!(begin.elapsed() >= patience && begin.elapsed() < LIMIT, "{:?}", begin.elapsed());
    leave_descriptors(&mut wire, 1000);
    let record = requests(&wire).into_iter().find(|record| record["status"] == 503).unwrap();
    assert_eq!((&record["reason"], &record["side"]), (&json!("agent_socket"), &json!("agent")), "{record}");
    let (client, peer) = wire.pair(&raw, Way::Outbound, TCP);
    exchange(&client, &peer, "\x16new", "welcome");
    assert!(metric(&wire, "interceptor_accept_pauses_total") > 0);
    let told = wire.agent.log_tail(usize::MAX).matches("accepting pauses").count();
    assert!(told <= 42, "{told} lines");
    wire.agent.process().expect_running().unwrap();
}

#[test]
fn a_pod_without_local_ports_is_told_so_and_goes_on_once_there_are_some() {
    let (wire, pod) = with_copy("ports", &[]);
    let copy = Server::in_pod(&pod, UNDECLARED);
    wire.client.netns().run(|| Ok(fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40009")?)).unwrap();
    // The application's own connections need ports as well, ten for each destination; all lead to one endpoint.
    let destinations = [wire.address(Way::Outbound, UNDECLARED), wire.server.at(UNDECLARED.1)];
    let mut open = Vec::new();
    let mut told = None;
    for number in 0..12 {
        let client = wire.dial_at(Way::Outbound, destinations[number % 2]);
        send(&client, GET_COPY);
        let peer = wait::until(LIMIT, "the copy or an answer", || {
            if let Some(peer) = copy.waiting() {
                return Ok(Some(peer));
            }
            let mut byte = [0];
            client.set_nonblocking(true)?;
            let answered = client.peek(&mut byte);
            client.set_nonblocking(false)?;
            answered?;
            Ok(None)
        });
        match peer.unwrap() {
            Some(peer) => {
                expect(&peer, GET_COPY);
                send(&peer, OK);
                expect(&client, OK);
                open.push((client, peer));
            }
            None => told = Some(Connection::new(client).response("GET").unwrap()),
        }
    }
    let told = told.expect("twelve connections from ten ports");
    assert_eq!((told.status().unwrap(), told.first("server")), (503, Some("interceptor")), "{told:?}");
    let body = String::from_utf8_lossy(&told.body);
    assert!(body.contains("ip_local_port_range"), "{body}");
    let records = requests(&wire);
    let record = records.iter().find(|record| record["status"] == 503).unwrap();
    assert_eq!((&record["reason"], &record["side"]), (&json!("no_local_port"), &json!("agent")), "{record}");
    // The server ends a connection: its port is free as soon as the agent has seen that.
    let (_client, peer) = open.pop().unwrap();
    drop(peer);
    let served = wait::until(LIMIT, "a port to be free", || {
        let client = wire.dial_at(Way::Outbound, destinations[0]);
        send(&client, GET_COPY);
        let connected = || copy.waiting().context("the copy has no connection");
        Ok((client, wait::until(Duration::from_millis(200), "the copy", connected)?))
    });
    let (client, peer) = served.unwrap();
    expect(&peer, GET_COPY);
    send(&peer, OK);
    expect(&client, OK);
}

fn shrink_buffers(pod: &Pod) {
    let write = || {
        for key in ["tcp_wmem", "tcp_rmem"] {
            fs::write(format!("/proc/sys/net/ipv4/{key}"), "4096 4096 4096")?;
        }
        Ok(())
    };
    pod.netns().run(write).unwrap();
}

#[test]
fn the_smallest_socket_buffers_cost_time_and_no_byte() {
    const BYTES: u64 = 3_000_000;
    for splice in ["splice", "copy", "kernel"] {
        let wire = Wire::with(&format!("buffers-{splice}"), |config| {
            config.set("proxy", "splice", splice);
        });
        shrink_buffers(&wire.client);
        shrink_buffers(&wire.server);
        for (port, way) in [(TCP, Way::Outbound), (TCP, Way::Inbound)] {
            let server = wire.listen(port);
            let (client, peer) = wire.pair(&server, way, port);
            std::thread::scope(|scope| {
                for (from, to) in [(&client, &peer), (&peer, &client)] {
                    scope.spawn(move || send_pattern(&mut &*from, BYTES).unwrap());
                    scope.spawn(move || {
                        let mut total = Total::default();
                        std::io::copy(&mut std::io::Read::take(to, BYTES), &mut total).unwrap();
                        assert_eq!(total.to_json(), pattern_total(BYTES), "{splice} {way:?}");
                    });
                }
            });
        }
    }
}
