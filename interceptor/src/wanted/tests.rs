//! What is captured in a small world, and that neither mode changes any request's way in many random ones.

mod walk;

use std::net::SocketAddr;

use super::*;
use crate::config::{Config, SpaceSpec};

/// serviceA has a copy in azureuser, serviceB none; serviceC is azureuser's alone. The tree shop has no second copy.
const WORLD: &str = r#"
spaces: [{name: default}, {name: azureuser, parent: default}, {name: shop}]
services:
  - {name: serviceA, space: default, addresses: [10.96.0.1], ports: [{port: 80, target_port: 8080}], endpoints: [{address: 10.244.0.1}]}
  - {name: serviceA, space: azureuser, addresses: [10.96.0.2], ports: [{port: 80, target_port: 8080}], endpoints: [{address: 10.244.0.2}]}
  - {name: serviceB, space: default, addresses: [10.96.0.3], ports: [{port: 80, target_port: 8080}], endpoints: [{address: 10.244.0.3}]}
  - {name: serviceC, space: azureuser, addresses: [10.96.0.4], ports: [{port: 80, target_port: 8080}], endpoints: [{address: 10.244.0.4}]}
  - {name: serviceA, space: shop, addresses: [10.96.0.5], ports: [{port: 80, target_port: 8080}], endpoints: [{address: 10.244.0.5}]}
  - {name: twin, space: default, addresses: [10.96.0.6], ports: [{port: 80, target_port: 8080}], endpoints: [{address: 10.244.0.1}]}
workloads:
  - {name: in-default, space: default, netns: /n/1, addresses: [10.244.0.1]}
  - {name: in-azureuser, space: azureuser, netns: /n/2, addresses: [10.244.0.2]}
  - {name: outside, netns: /n/3, addresses: [10.244.0.9]}
routing: {ingress_suffixes: [eus.azds.io]}
capture: {cgroup: /sys/fs/cgroup/pods}
"#;

fn world(change: impl FnOnce(&mut Config)) -> Snapshot {
    let mut config = Config::parse(WORLD, "world").unwrap().config;
    change(&mut config);
    Snapshot::build(&config.topology, &config.routing, 1)
}

fn calls(snapshot: &Snapshot, services: CapturedServices, to: &str) -> Calls {
    let to: SocketAddr = to.parse().unwrap();
    Wanted::new(snapshot, services).calls_to(&snapshot.destination(to).unwrap())
}

fn inbound(snapshot: &Snapshot, services: CapturedServices, to: &str) -> bool {
    let to: SocketAddr = to.parse().unwrap();
    Wanted::new(snapshot, services).inbound(&snapshot.destination(to).unwrap())
}

const A_DEFAULT: &str = "10.96.0.1:80";
const B: &str = "10.96.0.3:80";
const B_POD: &str = "10.244.0.3:8080";
const C: &str = "10.96.0.4:80";
const SHOP: &str = "10.96.0.5:80";
const SHOP_POD: &str = "10.244.0.5:8080";

#[test]
fn space_services_captures_every_call_and_every_port_of_a_tree() {
    let snapshot = world(|_| {});
    for (to, destination) in snapshot.destinations() {
        let wanted = Wanted::new(&snapshot, CapturedServices::SpaceServices);
        assert_eq!(wanted.calls_to(&destination), Calls::All, "{to}");
        assert_eq!(wanted.inbound(&destination), destination.is_endpoint(), "{to}");
    }
}

#[test]
fn overridden_captures_what_a_second_copy_can_change() {
    let snapshot = world(|_| {});
    for (to, captured) in [
        (A_DEFAULT, Calls::All),
        ("10.96.0.2:80", Calls::All),
        ("10.244.0.2:8080", Calls::All),
        (B, Calls::OutsideRoots),
        (B_POD, Calls::OutsideRoots),
        (C, Calls::All),
        (SHOP, Calls::None),
        (SHOP_POD, Calls::None),
        // Alone in its tree, but its pod is serviceA's too.
        ("10.96.0.6:80", Calls::OutsideRoots),
        ("10.244.0.1:8080", Calls::All),
    ] {
        assert_eq!(calls(&snapshot, CapturedServices::Overridden, to), captured, "{to}");
    }
    for (to, captured) in [(B_POD, true), ("10.244.0.2:8080", true), (SHOP_POD, false), (B, false)] {
        assert_eq!(inbound(&snapshot, CapturedServices::Overridden, to), captured, "{to}");
    }
}

#[test]
fn the_first_copy_of_any_service_wakes_its_tree_and_the_last_that_goes_lays_it_to_rest() {
    let without =
        |config: &mut Config| config.topology.services.retain(|s| s.name != "serviceA" || s.space == "default");
    let asleep = world(without);
    for to in [A_DEFAULT, B, C] {
        assert_eq!(calls(&asleep, CapturedServices::Overridden, to), Calls::None, "{to}");
    }
    assert!(!inbound(&asleep, CapturedServices::Overridden, B_POD));
    // A copy in a space at fault is no copy: nothing can be routed there.
    let faulty = world(|config| {
        config.topology.spaces[1] =
            SpaceSpec { name: "azureuser".to_owned(), parent: Some("gone".to_owned()), propagate: None };
    });
    assert_eq!(calls(&faulty, CapturedServices::Overridden, A_DEFAULT), Calls::None);
}

#[test]
fn without_ingress_hosts_a_single_copy_is_not_intercepted_inbound() {
    let snapshot = world(|config| config.routing.ingress_suffixes.clear());
    assert!(!inbound(&snapshot, CapturedServices::Overridden, B_POD));
    assert!(inbound(&snapshot, CapturedServices::Overridden, "10.244.0.2:8080"), "its header may name another copy");
    assert!(inbound(&snapshot, CapturedServices::SpaceServices, B_POD));
}

#[test]
fn only_pods_of_root_spaces_are_in_root() {
    let snapshot = world(|_| {});
    let wanted = Wanted::new(&snapshot, CapturedServices::Overridden);
    for (name, in_root) in [("in-default", true), ("in-azureuser", false), ("outside", false)] {
        assert_eq!(wanted.in_root(snapshot.workload(name).unwrap()), in_root, "{name}");
    }
    assert!(Calls::OutsideRoots.include(false) && !Calls::OutsideRoots.include(true));
    assert!(Calls::All.include(true) && !Calls::None.include(false));
}
