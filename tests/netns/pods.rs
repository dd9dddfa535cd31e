//! Pods that are known by nothing but their UID and addresses: found through cgroups as the kubelet lays them out.

mod churn;
mod inside;

use std::path::Path;
use std::time::Duration;

use interceptor_tests::kubelet::{Class, Driver, Kubelet};
use interceptor_tests::pod::addresses;
use interceptor_tests::{Agent, Config, Lab, Pod, Process, bins, cgroup, wait};
use serde_json::{Value, json};

use crate::stage::{LIMIT, Scene, ask, http_service, vip};

/// A space, the service `serviceB` in it, and pods of the kubelet that call it.
struct Node {
    scene: Scene,
    agent: Option<Agent>,
}

/// A UID like those that the API server gives.
fn uid(number: u8) -> String {
    format!("3f2b1c9a-5d61-4be8-9f5e-0a6c1d2e3f{number:02x}")
}

impl Node {
    fn new(name: &str) -> Node {
        let mut scene = Scene::worked_example(name);
        let server = scene.app("serviceB.default");
        scene.publish(&http_service("serviceB", "default", 12).endpoint(&server));
        // The kubelet's directory is to be found.
        scene.config.unset("capture", "cgroup");
        Node { scene, agent: None }
    }

    fn lab(&self) -> &Lab {
        &self.scene.lab
    }

    fn config(&mut self) -> &mut Config {
        &mut self.scene.config
    }

    fn kubelet(&self, driver: Driver) -> Kubelet {
        Kubelet::new(self.lab().cgroup(), driver)
    }

    /// A workload that is the pod with this UID and the addresses of this number.
    fn workload(&mut self, name: &str, uid: &str, number: u8) {
        let (v4, v6) = addresses(number);
        let workload = json!({ "name": name, "space": "default", "pod_uid": uid, "addresses": [v4, v6] });
        self.config().remove_workload(name).item("workloads", workload);
    }

    fn start(&mut self) {
        let root = self.lab().cgroup().to_str().unwrap().to_owned();
        let agent = Agent::start_at(self.lab(), self.lab().on_node(), &self.scene.config, &["--cgroup-root", &root]);
        self.agent = Some(agent.unwrap_or_else(|error| panic!("{error:#}")));
    }

    fn agent(&self) -> &Agent {
        self.agent.as_ref().unwrap()
    }

    fn reload(&self) {
        self.agent().reload(&self.scene.config).unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// State and detail of a workload.
    fn state(&self, name: &str) -> (String, String) {
        let status = self.agent().status().unwrap();
        let all = status["workload_states"].as_array().unwrap();
        let state = all.iter().find(|state| state["name"] == name).unwrap_or_else(|| panic!("no {name} in {status}"));
        let text = |key: &str| state[key].as_str().unwrap().to_owned();
        (text("state"), text("detail"))
    }

    #[track_caller]
    fn wait_state(&self, name: &str, state: &str, detail: &str) {
        wait::until(LIMIT, "the workload's state", || {
            let (now, why) = self.state(name);
            anyhow::ensure!(now == state && why.contains(detail), "{name} is {now}: {why}");
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// What it calls is intercepted.
    #[track_caller]
    fn is_captured(&self, pod: &Pod, name: &str, path: &str) {
        self.wait_state(name, "captured", "");
        let answer = ask(pod, vip(12), path, &[]);
        assert_eq!(answer["name"], "serviceB.default");
        let flows = wait::until(LIMIT, "the flow record", || {
            let flows = self.agent().flows(&["--last", "100000"])?;
            let found: Vec<Value> = flows.into_iter().filter(|flow| flow["path"] == path).collect();
            anyhow::ensure!(!found.is_empty(), "none of {path}");
            Ok(found)
        })
        .unwrap();
        assert_eq!((flows.len(), &flows[0]["workload"]), (1, &json!(name)), "{flows:?}");
    }
}

/// Ends a pod with everything in it, and its directory.
fn remove(pod: &Pod, dir: &Path) {
    pod.remove().unwrap();
    cgroup::destroy(dir, Duration::from_secs(10)).unwrap();
}

#[test]
fn pods_are_captured_in_every_layout_of_the_kubelet_whether_they_or_the_agent_came_first() {
    let mut node = Node::new("layouts");
    let kubelets = [
        node.kubelet(Driver::Cgroupfs),
        node.kubelet(Driver::Systemd),
        node.kubelet(Driver::Cgroupfs).below("kubelet"),
        node.kubelet(Driver::Systemd).below("kubelet"),
    ];
    let mut places = Vec::new();
    for kubelet in kubelets {
        for class in [Class::Guaranteed, Class::Burstable, Class::BestEffort] {
            let number = u8::try_from(places.len()).unwrap() + 3;
            let name = format!("pod{number}");
            node.workload(&name, &uid(number), number);
            places.push((name, number, kubelet.container(&uid(number), class, "7e1f0a")));
        }
    }
    let make = |node: &Node, (name, number, dir): &(String, u8, std::path::PathBuf)| {
        let pod = node.lab().pod_at(name, dir).unwrap();
        assert_eq!(pod.v4, addresses(*number).0, "the test counts as the laboratory does");
        pod
    };
    let (before, after) = places.split_at(places.len() / 2);
    let mut pods: Vec<Pod> = before.iter().map(|place| make(&node, place)).collect();
    node.start();
    for (pod, (name, ..)) in pods.iter().zip(before) {
        node.is_captured(pod, name, &format!("/{name}"));
    }
    for (name, ..) in after {
        assert_eq!(node.state(name).0, "pending", "{name}: {:?}", node.state(name));
    }
    pods.extend(after.iter().map(|place| make(&node, place)));
    for (pod, (name, ..)) in pods.iter().zip(&places).skip(before.len()) {
        node.is_captured(pod, name, &format!("/{name}"));
    }
    // The opposite: below the same directory, but no workload.
    let other = node.kubelet(Driver::Systemd).container(&uid(0xff), Class::Burstable, "7e1f0a");
    let other = node.lab().pod_at("other", &other).unwrap();
    assert_eq!(ask(&other, vip(12), "/other", &[])["name"], "serviceB.default");
    let flows = node.agent().flows(&["--last", "100000"]).unwrap();
    assert_eq!(flows.iter().filter(|flow| flow["path"] == "/other").count(), 0);
}

#[test]
fn restarts_and_sandboxes_that_are_made_anew_are_followed() {
    let mut node = Node::new("sandbox");
    let kubelet = node.kubelet(Driver::Systemd);
    let container = |id: &str| kubelet.container(&uid(1), Class::Burstable, id);
    node.workload("app", &uid(1), 3);
    node.start();
    node.wait_state("app", "failed", "there is no kubepods cgroup below");
    let pod = node.lab().pod_at("app", &container("a0")).unwrap();
    node.is_captured(&pod, "app", "/first");
    let captured = node.state("app").1;

    // A container of the pod comes and ends: nothing changes.
    let process = in_cgroup(&pod, &container("a1"));
    drop(process);
    cgroup::destroy(&container("a1"), LIMIT).unwrap();
    node.is_captured(&pod, "app", "/container");
    assert_eq!(node.state("app").1, captured);

    // The sandbox dies. The next one has another namespace and, as it happens, the same addresses.
    pod.remove().unwrap();
    node.wait_state("app", "pending", "no process runs in its cgroup");
    let pod = node.lab().pod_again(&pod, &container("b0")).unwrap();
    node.is_captured(&pod, "app", "/second");
    let again = node.state("app").1;
    assert_ne!(again, captured, "the same namespace?");

    // The usual case: other addresses, of which the source tells later.
    pod.remove().unwrap();
    let pod = node.lab().pod_at("app", &container("c0")).unwrap();
    node.wait_state("app", "pending", "has an address of the pod");
    assert_eq!(ask(&pod, vip(12), "/early", &[])["name"], "serviceB.default", "it passes meanwhile");
    node.workload("app", &uid(1), 4);
    node.reload();
    node.is_captured(&pod, "app", "/third");

    remove(&pod, &kubelet.pod(&uid(1), Class::Burstable));
    node.wait_state("app", "pending", "it has no cgroup yet");
    let held = node.agent().status().unwrap()["workloads"].clone();
    assert_eq!(held["captured"], 0, "{held}");
}

/// A process of the pod in another container.
fn in_cgroup(pod: &Pod, dir: &Path) -> Process {
    std::fs::create_dir(dir).unwrap();
    pod.with_cgroup("container", dir.to_owned()).spawn(bins::pod().unwrap(), ["pause"]).unwrap()
}

#[test]
fn a_process_that_is_not_yet_in_the_pods_namespace_leads_nowhere() {
    let mut node = Node::new("early");
    let kubelet = node.kubelet(Driver::Cgroupfs);
    let dir = kubelet.container(&uid(1), Class::BestEffort, "a0");
    std::fs::create_dir_all(&dir).unwrap();
    node.workload("app", &uid(1), 3);
    node.start();
    node.wait_state("app", "pending", "no process runs in its cgroup");
    // A runtime puts its process into the cgroup first, while it is still in the node's namespace.
    let runtime = node.lab().on_node().with_cgroup("runtime", dir);
    let process = runtime.spawn(bins::pod().unwrap(), ["pause"]).unwrap();
    node.wait_state("app", "pending", "none of the 1 network namespaces");
    assert_eq!(ask(node.lab().on_node(), vip(12), "/node", &[])["name"], "serviceB.default");
    assert_eq!(ask(&runtime, vip(12), "/runtime", &[])["name"], "serviceB.default");
    let pod = node.lab().pod_at("app", &kubelet.container(&uid(1), Class::BestEffort, "a1")).unwrap();
    node.is_captured(&pod, "app", "/pod");
    drop(process);
    node.is_captured(&pod, "app", "/still");
    let flows = node.agent().flows(&["--last", "100000"]).unwrap();
    assert_eq!(flows.iter().filter(|flow| flow["path"] == "/node" || flow["path"] == "/runtime").count(), 0);
}
