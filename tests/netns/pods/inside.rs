//! The agent as a pod of the DaemonSet: it sits itself below the cgroup that it captures.

use std::fs;

use interceptor_tests::kubelet::{Class, Driver};
use interceptor_tests::{Agent, bins};
use serde_json::Value;

use super::{Node, uid};
use crate::stage::{Stage, ask, vip};

/// Requests of the load.
const REQUESTS: u64 = 2000;

#[test]
fn an_agent_in_a_pod_of_the_captured_tree_does_not_capture_itself() {
    let mut node = Node::new("inside");
    let kubelet = node.kubelet(Driver::Systemd);
    let own = kubelet.container(&uid(0xa0), Class::Burstable, "a9e27");
    fs::create_dir_all(&own).unwrap();
    node.workload("caller", &uid(1), 3);
    let caller = node.lab().pod_at("caller", &kubelet.container(&uid(1), Class::Guaranteed, "a0")).unwrap();
    // The agent has the node's network, and its own cgroup.
    let place = node.lab().on_node().with_cgroup("agent", own.clone());
    let root = node.lab().cgroup().to_str().unwrap().to_owned();
    let mut agent = Agent::start_at(node.lab(), &place, &node.scene.config, &["--cgroup-root", &root])
        .unwrap_or_else(|error| panic!("{error:#}"));
    let pid = agent.process().pid();
    let procs = fs::read_to_string(own.join("cgroup.procs")).unwrap();
    assert!(procs.lines().any(|line| line == pid.to_string()), "the agent is not where it should be: {procs:?}");
    node.agent = Some(agent);
    node.is_captured(&caller, "caller", "/one");

    let to = vip(12).to_string();
    let load = ["load", "--to", &to, "--connections", &REQUESTS.to_string()];
    let output = caller.output(bins::pod().unwrap(), load).unwrap();
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["failed"], 0, "{result}");

    let Node { scene, agent } = node;
    let stage = Stage { scene, agent: agent.unwrap() };
    // Every connection of the application was redirected once. What the agent connected for them was seen by the hook and
    // passed: a captured destination, from the workload's own namespace.
    assert_eq!(stage.kernel("outbound", "redirected"), REQUESTS + 1);
    assert_eq!(stage.kernel("outbound", "self_capture"), 0);
    let passed = stage.kernel("outbound", "agent");
    assert!((1..=REQUESTS + 1).contains(&passed), "{passed}");
    assert_eq!(stage.flows(&[]).iter().filter(|flow| flow["kind"] == "request").count() as u64, REQUESTS + 1);

    // The opposite: the same cgroup tree, another pod's cgroup, the workload's namespace.
    let other = kubelet.container(&uid(1), Class::Guaranteed, "a1");
    fs::create_dir(&other).unwrap();
    ask(&caller.with_cgroup("other", other), vip(12), "/other", &[]);
    assert_eq!(stage.kernel("outbound", "redirected"), REQUESTS + 2);
}
