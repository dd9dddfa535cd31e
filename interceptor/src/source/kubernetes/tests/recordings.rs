//! What a real API server (v1.36.2) sent: its lists, its watches event by event, and the worked example on them.
//!
//! Nobody filled the recorded slices with endpoints (there was no kubelet), so the tests do that as the controller would.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::Cluster;
use crate::route::{Direction, Query, Target, decide};

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/recordings/kubernetes").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The objects of the recorded lists. Items of a list do not say their kind.
fn listed() -> Vec<Value> {
    let lists =
        [("namespaces", "Namespace"), ("services", "Service"), ("endpointslices", "EndpointSlice"), ("pods", "Pod")];
    let mut objects = Vec::new();
    for (resource, kind) in lists {
        let list: Value = serde_json::from_str(&read(&format!("list-{resource}.json"))).unwrap();
        for item in list["items"].as_array().unwrap() {
            let mut item = item.clone();
            item["kind"] = json!(kind);
            objects.push(item);
        }
    }
    objects
}

/// The events of all recorded watches in the order in which they happened.
fn watched() -> Vec<(u64, String, Value)> {
    let mut events = Vec::new();
    for resource in ["namespaces", "services", "endpointslices", "pods"] {
        for line in read(&format!("watch-{resource}.jsonl")).lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            let (kind, object) = (event["type"].as_str().unwrap().to_owned(), event["object"].clone());
            let version = object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
            events.push((version, kind, object));
        }
    }
    events.sort_by_key(|(version, ..)| *version);
    events.retain(|(_, kind, _)| kind != "BOOKMARK");
    events
}

/// A recorded slice with one endpoint, as the controller writes it.
fn with_endpoint(objects: &[Value], service: &str, namespace: &str, port: (&str, u16), address: &str) -> Value {
    let is_it = |object: &&Value| {
        object["metadata"]["namespace"] == namespace
            && object["metadata"]["labels"]["kubernetes.io/service-name"] == service
    };
    let mut slice = objects.iter().find(is_it).unwrap().clone();
    slice["endpoints"] =
        json!([{"addresses": [address], "conditions": {"ready": true, "serving": true, "terminating": false}}]);
    slice["ports"] = json!([{"name": port.0, "port": port.1, "protocol": "TCP"}]);
    slice
}

/// The recorded cluster with its pods behind its services.
fn cluster() -> Cluster {
    let mut objects = listed();
    let pods = [
        ("servicea", "dev", ("http", 8080), "10.244.0.6"),
        ("serviceb", "dev", ("http", 8080), "10.244.0.7"),
        ("servicea", "azureuser", ("http", 8080), "10.244.0.8"),
        ("db", "dev", ("postgres", 5432), "10.244.0.9"),
        ("grpcb", "dev", ("grpc", 50052), "10.244.0.10"),
    ];
    let slices: Vec<Value> =
        pods.iter().map(|(service, space, port, ip)| with_endpoint(&objects, service, space, *port, ip)).collect();
    objects.extend(slices);
    Cluster::of(&objects)
}

#[test]
fn the_recorded_lists_are_the_spaces_services_and_workloads_that_were_made() {
    let cluster = cluster();
    assert!(cluster.world.is_complete());
    assert_eq!(cluster.spaces(), ["azureuser<dev", "dev<-", "kate<azureuser"]);
    // Not kubernetes.default: that namespace is no space.
    assert_eq!(cluster.services(), ["db.dev", "grpcb.dev", "servicea.azureuser", "servicea.dev", "serviceb.dev"]);
    let pods = ["azureuser/servicea-0@azureuser", "dev/servicea-0@dev", "dev/serviceb-0@dev"];
    assert_eq!(cluster.workloads(), pods);
    assert_eq!(cluster.troubles(), [""; 0]);
    // ClusterIPs and pods; of the headless db nothing, of grpcb the pod's port that has the name.
    assert_eq!(
        cluster.destinations(),
        [
            "10.96.197.18:80",
            "10.96.229.223:9090",
            "10.96.229.223:50051",
            "10.96.236.84:80",
            "10.96.237.236:80",
            "10.244.0.6:8080",
            "10.244.0.7:8080",
            "10.244.0.8:8080",
            "10.244.0.10:50052",
        ]
    );
    let grpcb = cluster.snapshot.services().find(|service| &*service.id.name == "grpcb").unwrap().clone();
    let protocols: Vec<_> = grpcb.ports.iter().map(|port| (&*port.name, port.app_protocol.as_deref())).collect();
    assert_eq!(protocols, [("grpc", Some("kubernetes.io/h2c")), ("metrics", None)]);
    assert!(!grpcb.ports[1].is_ready(), "its endpoint has no port of that name");
}

/// Where a call goes that azureuser's pod makes, with a header.
fn target(cluster: &Cluster, destination: &str, header: &str) -> String {
    let query = Query {
        direction: Direction::Outbound,
        workload: "azureuser/servicea-0",
        destination: destination.parse().unwrap(),
        header: Some(header.as_bytes()),
        host: None,
        recalled: None,
        turn: 0,
    };
    match decide(&cluster.snapshot, &query).target {
        Target::Original => "original".to_owned(),
        Target::Endpoint { address, service } => format!("{service} {address}"),
    }
}

#[test]
fn the_worked_example_follows_the_recorded_watches() {
    let mut cluster = Cluster::new();
    cluster.list(&[]);
    let (a, b) = ("10.96.197.18:80", "10.96.236.84:80");
    for (version, kind, mut object) in watched() {
        // The controllers, who were not there.
        for (name, address) in [("servicea-pz2md", "10.244.0.6"), ("servicea-f4cfh", "10.244.0.8")] {
            if object["metadata"]["name"] == name {
                object = with_endpoint(&[object], "servicea", object_namespace(name), ("http", 8080), address);
            }
        }
        cluster.event(&object, kind == "DELETED");
        match version {
            // Namespaces are made first and labelled afterwards.
            227 => assert_eq!(cluster.spaces(), [""; 0]),
            231 => assert_eq!(cluster.spaces(), ["dev<-"]),
            241 => assert_eq!(cluster.spaces(), ["azureuser<dev", "dev<-", "kate<azureuser"]),
            // Pods without an address are no workloads yet.
            256 => assert_eq!(cluster.workloads(), [""; 0]),
            271 => {
                assert_eq!(cluster.workloads().len(), 3);
                assert_eq!(target(&cluster, a, "azureuser"), "servicea.azureuser 10.244.0.8:8080");
                assert_eq!(target(&cluster, a, "kate"), "servicea.azureuser 10.244.0.8:8080");
                assert_eq!(target(&cluster, a, "dev"), "original");
                assert_eq!(target(&cluster, b, "azureuser"), "original");
            }
            // The copy's service is deleted while its slice is still there: to dev's again (R9).
            287 => assert_eq!(target(&cluster, a, "azureuser"), "original"),
            // Terminating pods stay captured until they are gone.
            291 => assert_eq!(cluster.workloads().len(), 3),
            292 => assert_eq!(cluster.workloads(), ["dev/servicea-0@dev", "dev/serviceb-0@dev"]),
            _ => {}
        }
    }
    // kate has lost its parent label: a root now.
    assert_eq!(cluster.spaces(), ["azureuser<dev", "dev<-", "kate<-"]);
    assert_eq!(cluster.services(), ["db.dev", "grpcb.dev", "servicea.dev", "serviceb.dev"]);
}

fn object_namespace(slice: &str) -> &'static str {
    if slice == "servicea-f4cfh" { "azureuser" } else { "dev" }
}

#[test]
fn events_lead_where_a_list_of_the_result_leads() {
    let mut by_events = Cluster::new();
    by_events.list(&[]);
    let mut left: Vec<Value> = Vec::new();
    for (_, kind, object) in watched() {
        by_events.event(&object, kind == "DELETED");
        left.retain(|known| {
            (&known["kind"], &known["metadata"]["uid"]) != (&object["kind"], &object["metadata"]["uid"])
        });
        if kind != "DELETED" {
            left.push(object);
        }
        let mut listed = Cluster::of(&left);
        let seen = |cluster: &Cluster| {
            (cluster.spaces(), cluster.services(), cluster.workloads(), cluster.destinations(), cluster.troubles())
        };
        assert_eq!(seen(&by_events), seen(&listed));
        // A new list of the same things changes nothing; one of nothing takes all away.
        let version = listed.snapshot.version;
        listed.list(&left);
        assert_eq!((listed.snapshot.version, seen(&listed)), (version + 1, seen(&by_events)));
        listed.list(&[]);
        assert_eq!(seen(&listed), (vec![], vec![], vec![], vec![], vec![]));
    }
}
