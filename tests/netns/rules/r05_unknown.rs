//! R5: a space that is unknown, outside the destination's tree or at fault changes nothing, and is never an error of ours.

use serde_json::{Value, json};

use crate::stage::{SUFFIX, Scene, ask, routes, vip};

#[test]
fn r05_unknown_foreign_and_faulty_spaces_keep_the_destination_and_the_header() {
    let mut scene = Scene::worked_example("r05");
    scene.config.space("ring1", Some("ring2")).space("ring2", Some("ring1"));
    scene.config.space("orphan", Some("gone"));
    let caller = scene.caller("caller", Some("azureuser"));
    let pod = scene.deploy("serviceB", "default", 12);
    scene.deploy("serviceB", "azureuser", 13);
    // What would answer if the faulty spaces and the other tree counted.
    scene.deploy("serviceB", "shop", 14);
    scene.deploy("serviceB", "ring1", 15);
    let stage = scene.start();
    let cases = [
        ("nobody", "unknown_space"),
        ("azure user", "unknown_space"),
        ("shop", "other_tree"),
        ("ring1", "faulty_space"),
        ("ring2", "faulty_space"),
        ("orphan", "faulty_space"),
    ];
    for (n, (space, reason)) in cases.into_iter().enumerate() {
        let header = format!("azds-route-as: {space}");
        let (out, inbound) = (format!("/out{n}"), format!("/in{n}"));
        let host = format!("Host: azureuser.s.default.serviceB.{SUFFIX}");
        let outside = stage.scene.lab.outside();
        for answer in [
            ask(&caller, vip(12), &out, &["Host: serviceB", &header]),
            ask(outside, pod.at(8080), &inbound, &[&host, &header]),
        ] {
            assert_eq!(answer["name"], "serviceB.default", "{space}");
            assert_eq!(routes(&answer), [header.as_str()]);
        }
        for path in [out, inbound] {
            let record = stage.request(&path);
            assert_eq!(record["reason"], reason, "{record}");
            assert_eq!(record["status"], 200);
            assert_eq!(record["verdict"], "forwarded");
            let named = if reason == "other_tree" { json!(space) } else { Value::Null };
            assert_eq!(record["space"], named, "{record}");
            assert_eq!(record["injected"], false);
        }
    }
    // A faulty space is a warning, and everything else works.
    let status = stage.agent.status().unwrap();
    let warnings = status["source"]["warnings"].to_string();
    for space in ["ring1", "ring2", "orphan"] {
        assert!(warnings.contains(space), "{warnings}");
    }
    let known = ["Host: serviceB", "azds-route-as: azureuser"];
    assert_eq!(ask(&caller, vip(12), "/", &known)["name"], "serviceB.azureuser");
}

#[test]
fn r05_callers_and_destinations_in_a_faulty_space_are_served_as_without_us() {
    let mut scene = Scene::worked_example("r05faulty");
    scene.config.space("ring1", Some("ring2")).space("ring2", Some("ring1"));
    let caller = scene.caller("caller", Some("ring2"));
    scene.deploy("serviceB", "ring1", 15);
    scene.deploy("serviceB", "default", 12);
    let stage = scene.start();
    for (number, name) in [(15, "serviceB.ring1"), (12, "serviceB.default")] {
        for headers in [&["Host: serviceB"][..], &["Host: serviceB", "azds-route-as: default"]] {
            let answer = ask(&caller, vip(number), "/", headers);
            assert_eq!(answer["name"], name, "{headers:?}");
            assert_eq!(routes(&answer).len(), headers.len() - 1, "nothing is added: {answer}");
        }
    }
    assert!(stage.flows(&["--status", "5xx"]).is_empty());
}
