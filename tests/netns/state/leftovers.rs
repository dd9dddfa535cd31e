//! An agent that was succeeded and is killed before it has drained leaves entries in the maps that its successor goes on with:
//! that one takes them away, and nothing of its own.

use interceptor_tests::wait;

use super::maps::Map;
use crate::wire::{LIMIT, TCP, UNDECLARED, Way, Wire, exchange, expect_reset};

#[test]
fn what_a_killed_predecessor_leaves_in_the_maps_is_taken_away() {
    let mut wire = Wire::with("leftovers", |config| {
        config.space("dev", Some("default")).set("dns", "servers", vec!["10.96.0.53"]);
        config.set("proxy", "drain_timeout", "5m");
    });
    let derived = wire.lab.pod("derived").unwrap();
    wire.config.workload(&derived, Some("dev"));
    wire.agent.reload(&wire.config).unwrap();
    let (clients, servers) = (Map::of(&mut wire, "CLIENTS"), Map::of(&mut wire, "DNS_SERVERS"));
    let raw = wire.listen(TCP);
    let outside = interceptor_tests::lab::OUTSIDE_V4;
    let (client, peer) = wire.pair(&raw, Way::Inbound, TCP);
    exchange(&client, &peer, "one", "two");
    let mut old = wire.agent.succeed(&wire.lab, &wire.config).unwrap_or_else(|error| panic!("{error:#}"));
    let (kept, kept_peer) = wire.pair(&raw, Way::Inbound, TCP);
    exchange(&kept, &kept_peer, "one", "two");
    // Two looks and more: what the old one still needs stays.
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert_eq!((clients.entries(), servers.entries()), (2, 2));
    assert_eq!(peer.peer_addr().unwrap().ip().to_canonical(), outside);
    old.kill9().unwrap();
    expect_reset(&client);
    expect_reset(&peer);
    wait::until(LIMIT, "what it left to be gone", || {
        let now = (clients.entries(), servers.entries());
        anyhow::ensure!(now == (1, 1), "{now:?}: {}", wire.agent.log_tail(10));
        Ok(())
    })
    .unwrap_or_else(|error| panic!("{error:#}"));
    assert_eq!(kept_peer.peer_addr().unwrap().ip().to_canonical(), outside, "what the successor has made stays");
    exchange(&kept, &kept_peer, "three", "four");
    drop((kept, kept_peer));
    wait::until(LIMIT, "the last client to be gone", || {
        anyhow::ensure!(clients.entries() == 0);
        Ok(())
    })
    .unwrap();
    assert!(super::is_intercepted(&wire, Way::Inbound), "{UNDECLARED:?}");
}
