//! Configurations that are refused: all at once, with what is wrong and where, the last good one in force.

use interceptor_tests::{Agent, wait};
use serde_json::{Value, json};

use crate::stage::{LIMIT, Scene, Stage, ask, vip};

/// Waits until `status` tells why a file was refused.
fn refusal(stage: &Stage) -> String {
    wait::until(LIMIT, "the refusal in status", || {
        let error = stage.agent.status()?["source"]["last_error"].clone();
        error.as_str().map(str::to_owned).ok_or_else(|| anyhow::anyhow!("there is none"))
    })
    .unwrap()
}

#[test]
fn duplicates_and_contradictions_are_refused_with_the_last_good_one_in_force() {
    let mut scene = Scene::worked_example("dup");
    let caller = scene.caller("caller", Some("azureuser"));
    scene.deploy("serviceB", "default", 12);
    scene.deploy("serviceB", "azureuser", 13);
    let stage = scene.start();
    let version = stage.agent.snapshot_version().unwrap();
    let service = |name: &str, address: &str| json!({ "name": name, "space": "default", "addresses": [address], "ports": [{ "port": 80 }] });
    let workload = |name: &str, address: &str| json!({ "name": name, "pid": 1, "addresses": [address] });
    let cases: [(&str, Value, &str); 8] = [
        ("spaces", json!({ "name": "azureuser" }), "azureuser"),
        ("services", service("serviceB", "10.96.9.1"), "serviceB"),
        ("services", service("other", "10.96.0.12"), "10.96.0.12"),
        ("services", json!({ "name": "x", "space": "default", "ports": [{ "port": 0 }] }), "port"),
        ("workloads", workload("caller", "10.244.9.1"), "caller"),
        ("workloads", workload("other", &caller.v4.to_string()), &caller.v4.to_string()),
        ("workloads", json!({ "name": "x", "addresses": ["10.0.0.1"] }), "netns"),
        ("workloads", json!({ "name": "x", "pid": 1, "adresses": ["10.0.0.1"] }), "addresses"),
    ];
    let good = stage.scene.config.to_text();
    for (list, item, says) in cases {
        let mut config = stage.scene.config.clone();
        stage.agent.write_config(&config.item(list, item.clone()).to_text()).unwrap();
        let error = refusal(&stage);
        assert!(error.contains(says) && error.contains("interceptor.yaml:"), "{item}: {error}");
        let header = ["Host: serviceB", "azds-route-as: azureuser"];
        assert_eq!(ask(&caller, vip(12), "/", &header)["name"], "serviceB.azureuser");
        stage.agent.write_config(&good).unwrap();
        wait::until(LIMIT, "the error to go", || {
            let error = stage.agent.status()?["source"]["last_error"].clone();
            anyhow::ensure!(error.is_null(), "{error}");
            Ok(())
        })
        .unwrap();
    }
    assert!(stage.agent.snapshot_version().unwrap() >= version);
}

#[test]
fn an_agent_does_not_start_with_a_refused_configuration_and_says_all_that_is_wrong() {
    let scene = Scene::worked_example("nostart");
    let text = json!({
        "spaces": [{ "name": "a" }, { "name": "a" }],
        "services": [{ "name": "s", "space": "nowhere", "ports": [] }],
        "worklods": [],
        "admin": { "socket": scene.config.admin_socket() },
    });
    let mut agent = Agent::start_unready(&scene.lab, &text.to_string(), scene.config.admin_socket()).unwrap();
    let status = agent.process().wait(LIMIT).unwrap();
    let error = agent.log_tail(40);
    assert_eq!(status.code(), Some(1), "{error}");
    for says in ["spaces[1]", "services[0]", "worklods", "workloads"] {
        assert!(error.contains(says), "{says} in {error}");
    }
    assert!(!scene.config.admin_socket().exists());
}
