//! Rules R1 to R7 as tables over one small world: two trees, a chain of four levels, copies here and there.

use std::net::SocketAddr;

use super::*;
use crate::config::{Config, Topology};

const B_DEFAULT: &str = "10.96.0.2:80";
const B_POD_DEFAULT: &str = "10.244.0.2:8080";

/// serviceB: in default (root), user (child), not in grand (grandchild); serviceA: in default and grand.
const WORLD: &str = r#"
spaces:
  - {name: default}
  - {name: user, parent: default}
  - {name: grand, parent: user}
  - {name: great, parent: grand}
  - {name: other}
  - {name: lost, parent: nowhere}
services:
  - {name: serviceA, space: default, addresses: [10.96.0.1], ports: [{name: http, port: 80, target_port: 8080}], endpoints: [{address: 10.244.0.1}]}
  - {name: serviceB, space: default, addresses: [10.96.0.2, "fd00:96::2"], ports: [{name: http, port: 80, target_port: 8080}, {name: raw, port: 90}], endpoints: [{address: 10.244.0.2}, {address: "fd00:244::2"}]}
  - {name: serviceA, space: grand, addresses: [10.96.0.3], ports: [{name: http, port: 80, target_port: 8080}], endpoints: [{address: 10.244.0.3, ready: false}]}
  - {name: serviceB, space: user, addresses: [10.96.0.4], ports: [{name: http, port: 8000, target_port: 8081}], endpoints: [{address: 10.244.0.4}, {address: 10.244.0.5}, {address: "fd00:244::4"}]}
  - {name: serviceB, space: other, addresses: [10.96.0.6], ports: [{port: 80}], endpoints: [{address: 10.244.0.6}]}
  - {name: serviceB, space: lost, addresses: [10.96.0.7], ports: [{port: 80}], endpoints: [{address: 10.244.0.7}]}
  - {name: twin1, space: default, addresses: [10.96.0.8], ports: [{port: 80, target_port: 8080}], endpoints: [{address: 10.244.0.8}]}
  - {name: twin2, space: default, addresses: [10.96.0.9], ports: [{port: 80, target_port: 8080}], endpoints: [{address: 10.244.0.8}]}
workloads:
  - {name: in-default, space: default, netns: /n/1, addresses: [10.244.0.1]}
  - {name: in-user, space: user, netns: /n/2, addresses: [10.244.0.4]}
  - {name: in-other, space: other, netns: /n/3, addresses: [10.244.0.6]}
  - {name: nowhere, netns: /n/4, addresses: [10.244.0.99]}
  - {name: in-lost, space: lost, netns: /n/5, addresses: [10.244.0.7]}
routing: {ingress_suffixes: [fedcba09.eus.azds.io]}
capture: {cgroup: /sys/fs/cgroup/pods}
"#;

fn world_with(change: impl FnOnce(&mut Topology, &mut crate::config::Routing)) -> Snapshot {
    let mut config = Config::parse(WORLD, "world").unwrap().config;
    change(&mut config.topology, &mut config.routing);
    Snapshot::build(&config.topology, &config.routing, 1)
}

fn world() -> Snapshot {
    world_with(|_, _| {})
}

fn query<'a>(workload: &'a str, to: &str, header: Option<&'a str>) -> Query<'a> {
    Query {
        direction: Direction::Outbound,
        workload,
        destination: to.parse().unwrap(),
        header: header.map(str::as_bytes),
        host: None,
        recalled: None,
        turn: 0,
    }
}

fn chain(decision: &Decision<'_>) -> String {
    let steps: Vec<String> = decision.chain().iter().map(|step| format!("{}:{}", step.space, step.outcome)).collect();
    steps.join(" ")
}

fn endpoint(decision: &Decision<'_>) -> Option<String> {
    match &decision.target {
        Target::Original => None,
        Target::Endpoint { address, service } => Some(format!("{address} {service}")),
    }
}

#[test]
fn r3_the_first_space_of_the_chain_with_an_address_takes_the_request() {
    let world = world();
    for (header, to, target, steps) in [
        ("default", B_DEFAULT, None, "default:taken"),
        ("user", B_DEFAULT, Some("10.244.0.4:8081 serviceB.user"), "user:taken"),
        ("grand", B_DEFAULT, Some("10.244.0.4:8081 serviceB.user"), "grand:no_service user:taken"),
        ("great", B_DEFAULT, Some("10.244.0.4:8081 serviceB.user"), "great:no_service grand:no_service user:taken"),
        ("user", "10.96.0.1:80", None, "user:no_service default:taken"),
        ("great", "10.96.0.1:80", None, "great:no_service grand:no_ready_endpoint user:no_service default:taken"),
        ("default", "10.96.0.4:8000", Some("10.244.0.2:8080 serviceB.default"), "default:taken"),
        ("user", "10.96.0.2:90", None, "user:no_port default:taken"),
    ] {
        let decision = decide(&world, &query("nowhere", to, Some(header)));
        assert_eq!((endpoint(&decision).as_deref(), chain(&decision).as_str()), (target, steps), "{header} to {to}");
        assert_eq!((decision.space_name().map(|name| &**name), decision.space_from), (Some(header), SpaceFrom::Header));
        assert!(!decision.inject, "R2: a header that is there is never added again");
    }
}

#[test]
fn r3_a_space_whose_endpoints_are_not_ready_is_passed_over() {
    let not_ready = world_with(|topology, _| {
        topology.services[3].endpoints.iter_mut().for_each(|endpoint| endpoint.ready = false);
    });
    let decision = decide(&not_ready, &query("nowhere", B_DEFAULT, Some("user")));
    assert_eq!((endpoint(&decision), chain(&decision).as_str()), (None, "user:no_ready_endpoint default:taken"));

    let none = world_with(|topology, _| {
        topology
            .services
            .iter_mut()
            .flat_map(|service| &mut service.endpoints)
            .for_each(|endpoint| endpoint.ready = false);
    });
    let decision = decide(&none, &query("nowhere", B_DEFAULT, Some("user")));
    assert_eq!((endpoint(&decision), decision.reason), (None, Reason::NoCopy));
}

#[test]
fn r3_endpoints_take_turns_within_the_callers_family() {
    let world = world();
    let pick =
        |to: &str, turn| endpoint(&decide(&world, &Query { turn, ..query("nowhere", to, Some("user")) })).unwrap();
    assert_eq!(pick(B_DEFAULT, 0), "10.244.0.4:8081 serviceB.user");
    assert_eq!(pick(B_DEFAULT, 1), "10.244.0.5:8081 serviceB.user");
    assert_eq!(pick(B_DEFAULT, 2), "10.244.0.4:8081 serviceB.user");
    assert_eq!(pick("[fd00:96::2]:80", 1), "[fd00:244::4]:8081 serviceB.user");
    assert_eq!(pick(B_POD_DEFAULT, 0), "10.244.0.4:8081 serviceB.user", "a dialled pod is rerouted, too");
}

#[test]
fn r4_without_a_header_the_callers_space_counts_if_it_is_in_the_tree() {
    let world = world();
    for (workload, target, space, reason) in [
        ("in-user", Some("10.244.0.4:8081 serviceB.user"), Some("user"), Reason::Routed),
        ("in-default", None, Some("default"), Reason::SameSpace),
        ("in-other", None, None, Reason::NoSpaceNamed),
        ("in-lost", None, None, Reason::NoSpaceNamed),
        ("nowhere", None, None, Reason::NoSpaceNamed),
    ] {
        let decision = decide(&world, &query(workload, B_DEFAULT, None));
        assert_eq!(
            (endpoint(&decision).as_deref(), decision.space_name().map(|name| &**name)),
            (target, space),
            "{workload}"
        );
        assert_eq!((decision.reason, decision.inject), (reason, space.is_some()), "{workload}");
    }
    let off = world_with(|_, routing| routing.default_space = DefaultSpace::None);
    let decision = decide(&off, &query("in-user", B_DEFAULT, None));
    assert_eq!((endpoint(&decision), decision.inject, decision.reason), (None, false, Reason::NoSpaceNamed));
    let inbound = Query { direction: Direction::Inbound, ..query("in-user", "10.244.0.4:8081", None) };
    assert!(decide(&world, &inbound).space.is_none(), "inbound, the called pod's space says nothing of the caller");
}

#[test]
fn r5_an_unknown_space_or_one_of_another_tree_keeps_the_original() {
    let world = world();
    for (header, reason) in [
        ("nobody", Reason::UnknownSpace),
        ("", Reason::UnknownSpace),
        ("User", Reason::UnknownSpace),
        ("user, default", Reason::UnknownSpace),
        ("other", Reason::OtherTree),
        ("lost", Reason::FaultySpace),
    ] {
        let decision = decide(&world, &query("in-user", B_DEFAULT, Some(header)));
        assert_eq!((endpoint(&decision), decision.reason, decision.inject), (None, reason, false), "{header:?}");
    }
    let bytes = Query { header: Some(b"\xff\xfe"), ..query("in-user", B_DEFAULT, None) };
    assert_eq!(decide(&world, &bytes).reason, Reason::UnknownSpace);
}

#[test]
fn r1_and_r2_a_host_names_the_space_unless_a_header_does() {
    let world = world();
    let with_host = |host: &'static str, header| Query {
        direction: Direction::Inbound,
        host: Some(host.as_bytes()),
        ..query("in-default", B_POD_DEFAULT, header)
    };
    let derived = "user.s.default.serviceB.fedcba09.eus.azds.io";
    for (host, header, space, from, inject) in [
        (derived, None, Some("user"), SpaceFrom::Host, true),
        ("USER.s.Default.serviceB.fedcba09.eus.azds.io:80", None, Some("user"), SpaceFrom::Host, true),
        ("default.serviceB.fedcba09.eus.azds.io", None, Some("default"), SpaceFrom::Host, true),
        (derived, Some("default"), Some("default"), SpaceFrom::Header, false),
        (derived, Some("nobody"), None, SpaceFrom::Header, false),
        ("nobody.s.default.serviceB.fedcba09.eus.azds.io", None, None, SpaceFrom::Host, false),
        ("user.s.other.serviceB.fedcba09.eus.azds.io", None, None, SpaceFrom::Host, false),
        ("other.serviceB.fedcba09.eus.azds.io", None, Some("other"), SpaceFrom::Host, false),
        ("serviceB.default", None, None, SpaceFrom::None, false),
    ] {
        let decision = decide(&world, &with_host(host, header));
        assert_eq!(
            (decision.space_name().map(|name| &**name), decision.space_from),
            (space, from),
            "{host} {header:?}"
        );
        assert_eq!(decision.inject, inject, "{host} {header:?}");
    }
}

#[test]
fn r7_inbound_a_request_of_this_space_stays_and_another_spaces_is_forwarded() {
    let world = world();
    let inbound = |header| Query { direction: Direction::Inbound, ..query("in-default", B_POD_DEFAULT, header) };
    assert_eq!(endpoint(&decide(&world, &inbound(Some("default")))), None);
    assert_eq!(endpoint(&decide(&world, &inbound(None))), None);
    let forwarded = decide(&world, &inbound(Some("grand")));
    assert_eq!(endpoint(&forwarded).as_deref(), Some("10.244.0.4:8081 serviceB.user"));
    let not_ready = Query { direction: Direction::Inbound, ..query("x", "10.244.0.3:8080", Some("grand")) };
    assert_eq!(endpoint(&decide(&world, &not_ready)), None, "a pod that was called itself answers for its space");
}

#[test]
fn a_pod_behind_several_services_is_told_apart_by_the_host() {
    let world = world();
    let to_twin = |host: Option<&'static [u8]>| Query { host, ..query("in-user", "10.244.0.8:8080", Some("user")) };
    assert_eq!(decide(&world, &to_twin(None)).reason, Reason::AmbiguousService);
    assert_eq!(decide(&world, &to_twin(Some(b"elsewhere"))).reason, Reason::AmbiguousService);
    let decision = decide(&world, &to_twin(Some(b"twin2.default:8080")));
    assert_eq!(decision.service.unwrap().to_string(), "twin2.default");
}

#[test]
fn the_same_space_can_be_balanced_by_the_agent() {
    let world = world_with(|_, routing| routing.same_space = SameSpace::Endpoint);
    let decision = decide(&world, &query("nowhere", B_DEFAULT, Some("default")));
    assert_eq!(endpoint(&decision).as_deref(), Some("10.244.0.2:8080 serviceB.default"));
    assert_eq!(decision.reason, Reason::SameSpace);
}

#[test]
fn r11_what_is_in_no_usable_tree_is_no_destination() {
    let world = world();
    for (addr, captured) in [
        (B_DEFAULT, true),
        (B_POD_DEFAULT, true),
        ("10.96.0.2:81", false),
        ("10.96.0.7:80", false),
        ("10.244.0.7:80", false),
        ("192.0.2.1:80", false),
    ] {
        let addr: SocketAddr = addr.parse().unwrap();
        assert_eq!(world.destination(addr).is_some(), captured, "{addr}");
    }
    assert_eq!(decide(&world, &query("in-user", "192.0.2.1:80", Some("user"))).reason, Reason::NotCaptured);
}

#[test]
fn a_space_that_was_found_again_counts_before_the_callers_and_never_in_another_tree() {
    let world = world();
    let recalled = |workload, name, to| Query { recalled: Some((name, SpaceFrom::Trace)), ..query(workload, to, None) };
    for (workload, name, to, space, from) in [
        ("in-default", "user", B_DEFAULT, Some("user"), SpaceFrom::Trace),
        ("nowhere", "user", B_DEFAULT, Some("user"), SpaceFrom::Trace),
        // Gone meanwhile, at fault, or of another tree than what is called: as if nothing were known.
        ("in-default", "gone", B_DEFAULT, Some("default"), SpaceFrom::Caller),
        ("in-default", "lost", B_DEFAULT, Some("default"), SpaceFrom::Caller),
        ("in-default", "other", B_DEFAULT, Some("default"), SpaceFrom::Caller),
        ("in-other", "user", "10.96.0.6:80", Some("other"), SpaceFrom::Caller),
        ("nowhere", "other", B_DEFAULT, None, SpaceFrom::None),
    ] {
        let decision = decide(&world, &recalled(workload, name, to));
        let found = (decision.space_name().map(|name| &**name), decision.space_from);
        assert_eq!(found, (space, from), "{workload} {name} {to}");
        assert_eq!(decision.inject, space.is_some(), "{workload} {name} {to}");
    }
    let header = Query { header: Some(b"grand"), ..recalled("in-default", "user", B_DEFAULT) };
    assert_eq!(decide(&world, &header).space_from, SpaceFrom::Header, "what the request says itself stands");
}
