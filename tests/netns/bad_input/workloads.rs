//! Workloads whose namespace is missing, vanishes or comes again, or in which the agent's port is taken.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use interceptor_tests::{Pod, wait};
use serde_json::json;

use crate::stage::{LIMIT, Scene, Stage, ask, routes, vip};

/// Waits until `status` says that of a workload; gives the detail.
fn wait_state(stage: &Stage, name: &str, state: &str) -> String {
    wait::until(LIMIT, &format!("the workload {name} to be {state}"), || {
        let status = stage.agent.status()?;
        let all = status["workload_states"].as_array().unwrap();
        let found = all.iter().find(|workload| workload["name"] == name);
        let workload = found.ok_or_else(|| anyhow::anyhow!("no {name} in {status}"))?;
        anyhow::ensure!(workload["state"] == state, "{workload}");
        Ok(workload["detail"].as_str().unwrap().to_owned())
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", stage.agent.log_tail(30)))
}

/// A request of the pod's is routed, so it is captured.
fn captured(pod: &Pod) -> bool {
    let answer = ask(pod, vip(12), "/", &["Host: serviceB"]);
    !routes(&answer).is_empty()
}

/// A workload whose namespace is found through a link in the laboratory's directory.
fn linked(scene: &mut Scene, name: &str, pod: &Pod) -> PathBuf {
    let link = scene.lab.temp().join(format!("{name}.netns"));
    let addresses = pod.addresses();
    scene
        .config
        .item("workloads", json!({ "name": name, "space": "azureuser", "netns": link, "addresses": addresses }));
    link
}

/// Lets the link lead to the pod, in one step.
fn lead(link: &Path, pod: &Pod) {
    let new = link.with_extension("new");
    symlink(pod.netns().path(), &new).unwrap();
    fs::rename(new, link).unwrap();
}

#[test]
fn a_missing_namespace_stops_nobody_else_and_is_captured_when_it_appears() {
    let mut scene = Scene::worked_example("missing");
    scene.deploy("serviceB", "default", 12);
    let late = scene.lab.pod("late").unwrap();
    // The one that fails comes first.
    let link = linked(&mut scene, "late", &late);
    let other = scene.caller("other", Some("azureuser"));
    let stage = scene.start();
    let detail = wait_state(&stage, "late", "failed");
    assert!(detail.contains("late.netns"), "{detail}");
    let status = stage.agent.status().unwrap();
    assert_eq!(status["workloads"], json!({ "captured": 2, "pending": 0, "failed": 1 }));
    assert!(captured(&other));
    assert!(!captured(&late), "it keeps its direct traffic");
    lead(&link, &late);
    wait_state(&stage, "late", "captured");
    assert!(captured(&late));
}

#[test]
fn a_namespace_that_vanishes_and_comes_again_is_captured_again() {
    let mut scene = Scene::worked_example("vanish");
    scene.deploy("serviceB", "default", 12);
    let other = scene.caller("other", Some("azureuser"));
    let (first, second) = (scene.lab.pod("first").unwrap(), scene.lab.pod("second").unwrap());
    let link = linked(&mut scene, "comes", &first);
    lead(&link, &first);
    let mut stage = scene.start();
    assert!(captured(&first));
    first.remove().unwrap();
    wait_state(&stage, "comes", "failed");
    assert!(captured(&other));
    // Restarted, as Kubernetes does it: the same name, another namespace and other addresses.
    stage.scene.config.remove_workload("comes");
    linked(&mut stage.scene, "comes", &second);
    stage.reload();
    lead(&link, &second);
    wait_state(&stage, "comes", "captured");
    assert!(captured(&second));
    stage.expect_running();
}

#[test]
fn a_pod_that_uses_the_agents_port_itself_fails_alone() {
    let mut scene = Scene::worked_example("port");
    scene.deploy("serviceB", "default", 12);
    let taken = scene.caller("taken", Some("azureuser"));
    let other = scene.caller("other", Some("azureuser"));
    let listener = taken.listen("0.0.0.0:15001".parse().unwrap()).unwrap();
    let stage = scene.start();
    let detail = wait_state(&stage, "taken", "failed");
    assert!(detail.contains("15001") && detail.contains("capture.outbound_port"), "{detail}");
    assert!(captured(&other));
    assert!(!captured(&taken), "it keeps its direct traffic");
    drop(listener);
    wait_state(&stage, "taken", "captured");
    assert!(captured(&taken));
}
