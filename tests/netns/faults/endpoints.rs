//! A copy of which a part is dead: whoever can be reached answers, for HTTP/1 and HTTP/2 alike, and the record says so.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use interceptor_tests::Pod;
use interceptor_tests::http::Connection;
use serde_json::Value;

use super::{GET_COPY, OK, copy, requests};
use crate::wire::{LIMIT, Server, UNDECLARED, Way, Wire, exchange, expect, send};

/// Addresses at which nobody answers; the node has a route that swallows all of them.
fn hole(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 244, 1, number).into()
}

/// `peer` has a copy in `azureuser` with that many holes, and with a pod that lives if there is to be one.
fn wire(name: &str, holes: u8, lives: bool) -> (Wire, Option<Pod>) {
    let mut pod = None;
    let wire = Wire::with_lab(name, |lab, config| {
        let mut service = (1..=holes).fold(copy(), |service, number| service.endpoint_at(hole(number), true));
        if lives {
            service = service.endpoint(pod.insert(lab.pod("copy").unwrap()));
        }
        config.space("azureuser", Some("default")).service(&service);
        config.set("proxy", "connect_timeout", "300ms");
    });
    let route = wire.lab.on_node().output("ip", ["route", "add", "blackhole", "10.244.1.0/24"]).unwrap();
    assert!(route.status.success(), "{route:?}");
    (wire, pod)
}

fn moved(record: &Value) -> bool {
    record["notes"].as_array().is_some_and(|notes| notes.iter().any(|note| note == "another_endpoint"))
}

#[test]
fn a_dead_endpoint_costs_a_request_its_connect_timeout_and_nothing_else() {
    let (wire, pod) = wire("deadone", 1, true);
    let copy = Server::in_pod(&pod.unwrap(), UNDECLARED);
    let mut slow = 0;
    for _ in 0..4 {
        let begin = Instant::now();
        let client = wire.dial(Way::Outbound, UNDECLARED);
        send(&client, GET_COPY);
        let peer = copy.accept();
        expect(&peer, GET_COPY);
        send(&peer, OK);
        expect(&client, OK);
        slow += usize::from(begin.elapsed() >= Duration::from_millis(300));
    }
    let records = requests(&wire);
    let count = records.iter().filter(|record| moved(record)).count();
    assert!((1..4).contains(&count), "{records:#?}");
    assert!(slow >= count, "{slow} of {count}");
    for record in &records {
        assert_eq!((&record["status"], &record["target"]["space"]), (&200.into(), &"azureuser".into()), "{record}");
    }
}

#[test]
fn where_every_endpoint_is_dead_the_client_is_told_after_three() {
    let (wire, _) = wire("deadall", 6, false);
    let near = wire.listen(UNDECLARED);
    let client = wire.dial(Way::Outbound, UNDECLARED);
    let begin = Instant::now();
    send(&client, GET_COPY);
    let answer = Connection::new(client).response("GET").unwrap();
    let took = begin.elapsed();
    assert_eq!((answer.status().unwrap(), answer.first("server")), (504, Some("interceptor")), "{answer:?}");
    assert!(took >= Duration::from_millis(900) && took < Duration::from_millis(900) + LIMIT / 10, "{took:?}");
    let record = requests(&wire).remove(0);
    assert_eq!((&record["reason"], moved(&record)), (&"upstream_timeout".into(), true), "{record}");
    // Never another space's copy, which lives.
    while let Some(peer) = near.waiting() {
        crate::wire::expect_end(&peer);
    }
    let (client, peer) = wire.pair(&near, Way::Outbound, UNDECLARED);
    exchange(&client, &peer, super::GET, OK);
}
