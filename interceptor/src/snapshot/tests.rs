//! Whatever way led there: a snapshot that changes made is the one that is built from all that there is, and that one is
//! what a plain reading of the rules says ([`model`]).

mod model;
mod random;

use std::net::SocketAddr;

use self::model::{Picture, picture};
use self::random::Random;
use super::*;
use crate::config::{Carrier, Config, SpaceSpec, Topology};

fn topology(text: &str) -> Topology {
    Config::parse(&format!("{text}\ncapture: {{cgroup: /sys/fs/cgroup/pods}}"), "test").unwrap().config.topology
}

fn build(topology: &Topology) -> Snapshot {
    Snapshot::build(topology, &routing(), 1)
}

fn routing() -> Routing {
    Config::parse("spaces: []", "test").unwrap().config.routing
}

#[test]
fn any_sequence_of_changes_ends_where_a_build_of_the_result_does() {
    for seed in 1..=60 {
        let mut random = Random::new(seed);
        let mut world = Topology::default();
        let mut snapshot = Snapshot::empty(&routing());
        for step in 0..60 {
            let changes = random.changes();
            let changes: Vec<Change<'_>> = changes.iter().map(|owned| owned.apply(&mut world)).collect();
            let (next, delta) = snapshot.update(&changes);
            let (before, after) = (Picture::of(&snapshot), Picture::of(&next));
            let expected = picture(&world);
            assert_eq!(after, expected, "seed {seed}, step {step}: after {changes:?}");
            assert_eq!(Picture::of(&build(&world)), expected, "seed {seed}, step {step}: built");
            let missed = before.changed_for_capture(&after, &delta);
            assert!(missed.is_empty(), "seed {seed}, step {step}: {missed:?} missing in {delta:?} of {changes:?}");
            assert_eq!(next.version, snapshot.version + 1);
            snapshot = next;
        }
        // And the opposite way: all that there is, given again, changes nothing.
        let (same, delta) = snapshot.replaced(&world, &routing());
        assert_eq!((Picture::of(&same), delta), (picture(&world), Delta::default()), "seed {seed}");
        let (none, _) = snapshot.replaced(&Topology::default(), &routing());
        assert_eq!(Picture::of(&none), picture(&Topology::default()));
        assert_eq!((none.services().count(), none.destinations().count()), (0, 0));
        assert_eq!(none.parked.iter().count(), 0, "nothing is left behind");
    }
}

#[test]
fn a_list_in_which_things_repeat_is_read_from_the_front() {
    for seed in 100..140 {
        let mut random = Random::new(seed);
        let mut world = Topology::default();
        for _ in 0..12 {
            for change in random.changes() {
                change.append(&mut world);
            }
        }
        assert_eq!(Picture::of(&build(&world)), picture(&world), "seed {seed}");
        // Put into force over something else, it is the same.
        let mut other = Topology::default();
        random.changes().iter().for_each(|change| change.append(&mut other));
        assert_eq!(Picture::of(&build(&other).replaced(&world, &routing()).0), picture(&world), "seed {seed}");
    }
}

const TWO: &str = r#"
spaces: [{name: default}, {name: dev, parent: default}]
services:
  - {name: a, space: default, addresses: [10.96.0.1], ports: [{port: 80}], endpoints: [{address: 10.244.0.1}, {address: 10.244.0.2}]}
  - {name: b, space: default, addresses: [10.96.0.2], ports: [{port: 80}], endpoints: [{address: 10.244.0.3}]}
"#;

fn addresses(delta: &Delta) -> Vec<String> {
    delta.destinations.iter().map(ToString::to_string).collect()
}

#[test]
fn what_did_not_change_is_neither_told_nor_copied() {
    let mut world = topology(TWO);
    let before = build(&world);
    world.services[0].endpoints[1].address = "10.244.0.9".parse().unwrap();
    let (after, delta) = before.update(&[Change::Service(&world.services[0])]);
    assert_eq!(addresses(&delta), ["10.244.0.2:80", "10.244.0.9:80"]);
    assert!(delta.workloads.is_empty());
    let other = |snapshot: &Snapshot| {
        Arc::clone(snapshot.service_named(snapshot.space_named("default").unwrap(), "b").unwrap())
    };
    assert!(Arc::ptr_eq(&other(&before), &other(&after)));
    assert!(Arc::ptr_eq(&before.spaces, &after.spaces) && Arc::ptr_eq(&before.workloads, &after.workloads));
    // The old one is as it was.
    let gone: SocketAddr = "10.244.0.2:80".parse().unwrap();
    assert!(before.destination(gone).is_some() && after.destination(gone).is_none());

    world.services[0].endpoints[1].ready = false;
    let (_, delta) = after.update(&[Change::Service(&world.services[0])]);
    assert_eq!(delta, Delta::default(), "an endpoint that is not ready is as captured as one that is");
    let (_, delta) =
        after.update(&[Change::Service(&world.services[1]), Change::ServiceGone { space: "dev", name: "a" }]);
    assert_eq!(delta, Delta::default(), "that is so already");
}

#[test]
fn another_copy_concerns_all_that_there_are() {
    let mut world = topology(TWO);
    let before = build(&world);
    world.services[1].name = "a".to_owned();
    world.services[1].space = "dev".to_owned();
    let (after, delta) = before.update(&[Change::Service(&world.services[1])]);
    assert_eq!(addresses(&delta), ["10.96.0.1:80", "10.96.0.2:80", "10.244.0.1:80", "10.244.0.2:80", "10.244.0.3:80"]);
    let (_, gone) = after.update(&[Change::SpaceGone("dev")]);
    assert_eq!(addresses(&gone), addresses(&delta));
}

#[test]
fn a_service_waits_for_its_space_and_comes_back_with_it() {
    let world = topology(TWO);
    let before = build(&world);
    let lost = SpaceSpec { name: "default".to_owned(), parent: Some("nobody".to_owned()), propagate: None };
    let (without, _) = before.update(&[Change::Space(&lost)]);
    assert_eq!((without.service_count(), without.destinations().count()), (0, 0));
    assert!(without.spaces().all(|space| space.fault.is_some()));
    let (again, delta) = without.update(&[Change::Space(&world.spaces[0])]);
    assert_eq!(Picture::of(&again), Picture::of(&before));
    assert_eq!(delta.destinations.len(), again.destinations().count());
    // What was changed meanwhile comes back changed, what was removed does not.
    let changes = [Change::ServiceGone { space: "default", name: "b" }, Change::Space(&world.spaces[0])];
    let (again, _) = without.update(&changes);
    assert_eq!(again.service_count(), 1);
}

#[test]
fn rules_can_change_alone() {
    let before = build(&topology(TWO));
    let rules = Routing { route_headers: vec![Carrier::Header("x-space".to_owned())], ..routing() };
    let (after, delta) = before.replaced(&topology(TWO), &rules);
    assert_eq!((after.route_header(0).map(|name| &**name), &*after.routing), (Some("x-space"), &rules));
    assert_eq!(delta, Delta::default());
}
