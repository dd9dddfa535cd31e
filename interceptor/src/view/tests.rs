//! The views of the example configuration.

use super::*;
use crate::config::{CapturedServices, Config, EXAMPLE, SpaceSpec};

fn snapshot() -> Snapshot {
    let mut config = Config::parse(EXAMPLE, "example").unwrap().config;
    config.topology.spaces.push(SpaceSpec {
        name: "orphan".to_owned(),
        parent: Some("gone".to_owned()),
        propagate: None,
    });
    Snapshot::build(&config.topology, &config.routing, 1)
}

#[test]
fn spaces_show_their_chain_or_their_fault() {
    let spaces = spaces(&snapshot());
    let derived = spaces.iter().find(|space| space.name == "azureuser").unwrap();
    assert_eq!(derived.chain, ["azureuser", "default"]);
    assert_eq!((derived.root.as_deref(), derived.services, derived.workloads), (Some("default"), 1, 1));
    let orphan = spaces.iter().find(|space| space.name == "orphan").unwrap();
    assert_eq!(orphan.root, None);
    assert!(orphan.fault.as_deref().unwrap().contains("\"gone\" does not exist"));
}

#[test]
fn workloads_show_their_state_by_name() {
    let status = StatusBoard::new("file", "x");
    status.set_workload("serviceA-azureuser", WorkloadState::Failed, "gone");
    let views = workloads(&snapshot(), &status);
    assert_eq!(
        views.iter().map(|w| w.name.as_str()).collect::<Vec<_>>(),
        ["serviceA-azureuser", "serviceA-default", "serviceB-default"]
    );
    assert_eq!((views[0].state, views[0].detail.as_str()), (WorkloadState::Failed, "gone"));
    assert_eq!((views[0].netns.as_str(), views[1].state), ("pid 4711", WorkloadState::Pending));
}

#[test]
fn services_show_their_ready_endpoints() {
    let snapshot = snapshot();
    let views = services(&snapshot, &Wanted::new(&snapshot, CapturedServices::SpaceServices));
    assert_eq!(views[1].ports[0].ready, ["10.244.0.21:8081".parse().unwrap()]);
    assert!(views[1].ready);
}

#[test]
fn routes_name_the_copy_that_each_space_leads_to() {
    let snapshot = snapshot();
    let wanted = Wanted::new(&snapshot, CapturedServices::SpaceServices);
    let rows: Vec<String> = routes(&snapshot, &wanted, "serviceA-azureuser")
        .unwrap()
        .iter()
        .map(|row| {
            let target = row.target.space.as_deref().unwrap_or_default();
            format!("{} {} -> {target} {}", row.service, row.space.as_deref().unwrap_or("-"), row.reason)
        })
        .collect();
    assert_eq!(
        rows,
        [
            "serviceA.azureuser - -> azureuser same_space",
            "serviceA.azureuser default -> default routed",
            "serviceA.azureuser azureuser -> azureuser same_space",
            "serviceB.default - -> default same_space",
            "serviceB.default default -> default same_space",
            "serviceB.default azureuser -> default same_space",
        ]
    );
    assert!(routes(&snapshot, &wanted, "nobody").is_none());
}

#[test]
fn what_has_only_one_copy_is_shown_as_not_captured() {
    let snapshot = snapshot();
    let wanted = Wanted::new(&snapshot, CapturedServices::Overridden);
    let calls: Vec<Calls> = services(&snapshot, &wanted).iter().map(|service| service.captured_calls).collect();
    assert_eq!(calls, [Calls::All, Calls::All, Calls::OutsideRoots]);
    // A pod of the root space reaches serviceB directly, one of a derived space does not.
    for (workload, reason) in [("serviceA-default", "only_copy"), ("serviceA-azureuser", "same_space")] {
        let rows = routes(&snapshot, &wanted, workload).unwrap();
        let b: Vec<&RouteView> = rows.iter().filter(|row| row.service == "serviceB.default").collect();
        assert_eq!(b.len(), 3);
        assert!(b.iter().all(|row| row.reason == reason && row.target.kind == "original"), "{b:?}");
        assert!(b.iter().all(|row| row.chain.is_empty() == (reason == "only_copy")), "{b:?}");
        assert!(rows.iter().any(|row| row.reason == "routed"));
    }
}
