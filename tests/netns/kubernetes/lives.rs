//! Pods that are not simply there and running: init containers, jobs, and pods on the host's network.

use std::fs;
use std::time::Duration;

use interceptor_tests::kubelet::Class;
use interceptor_tests::place::Place;
use interceptor_tests::{cgroup, wait};
use serde_json::{Value, json};

use super::{Cluster, NODE, resource};
use crate::stage::{LIMIT, ask, vip};

/// `dev` ← `azureuser`, with a copy of serviceb in both, and an agent that knows them.
fn cluster(name: &str) -> Cluster {
    let mut cluster = Cluster::new(name);
    cluster.space("dev", None);
    cluster.space("azureuser", Some("dev"));
    cluster.deploy("serviceb", "dev", 12, &[]);
    cluster.deploy("serviceb", "azureuser", 13, &[]);
    cluster.start();
    cluster.wait_captured(2);
    cluster
}

/// Who answers a call to serviceb in dev.
fn call(from: &Place, path: &str) -> Value {
    ask(from, vip(12), path, &["Host: serviceb"])["name"].clone()
}

/// The records of a path.
fn flows(cluster: &Cluster, path: &str) -> Vec<Value> {
    let all = cluster.agent().flows(&["--last", "100000"]).unwrap();
    all.into_iter().filter(|flow| flow["path"] == path).collect()
}

/// A workload's state, if it is known.
fn state(status: &Value, name: &str) -> Option<String> {
    let all = status["workload_states"].as_array().unwrap();
    let found = all.iter().find(|state| state["name"] == name)?;
    Some(format!("{}: {}", found["state"].as_str().unwrap(), found["detail"].as_str().unwrap()))
}

fn descriptors(cluster: &mut Cluster) -> usize {
    let pid = cluster.agent_mut().process().pid();
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

#[test]
fn what_an_init_container_calls_is_captured_before_there_is_an_application() {
    let mut cluster = cluster("init");
    // The kubelet shows a pod's addresses as soon as it has a sandbox; it is Pending until all init containers have ended.
    let (pod, uid) = cluster.pod_in_phase("app-0", "azureuser", "Pending");
    let status = cluster.wait_captured(3);
    let captured = state(&status, "azureuser/app-0").unwrap();
    let dir = cluster.container(&uid, "1417");
    let init = pod.with_cgroup("init", dir);
    assert_eq!(call(&init, "/init"), "serviceb.azureuser");
    let flow = wait::until(LIMIT, "the record", || {
        flows(&cluster, "/init").pop().ok_or_else(|| anyhow::anyhow!("there is none"))
    });
    assert_eq!(flow.unwrap()["workload"], "azureuser/app-0");

    // It ends, the next one comes, then the application: the pod stays captured as it is.
    for (container, id) in [("second", "1418"), ("application", "a991")] {
        cgroup::destroy(&cluster.kubelet.container(&uid, Class::Burstable, "1417"), LIMIT).unwrap();
        let place = pod.with_cgroup(container, cluster.container(&uid, id));
        assert_eq!(call(&place, &format!("/{container}")), "serviceb.azureuser");
        if container == "application" {
            cluster.set_phase("app-0", "azureuser", "Running");
            assert_eq!(call(&place, "/running"), "serviceb.azureuser");
        }
    }
    let status = cluster.wait_captured(3);
    assert_eq!(state(&status, "azureuser/app-0").unwrap(), captured);
    for path in ["/init", "/second", "/application", "/running"] {
        assert_eq!(flows(&cluster, path).len(), 1, "{path}");
    }
}

#[test]
fn a_job_is_captured_while_it_runs_and_nothing_of_it_is_left() {
    let mut cluster = cluster("jobs");
    let before = descriptors(&mut cluster);
    for number in 0..5 {
        let (name, path) = (format!("job-{number}"), format!("/job/{number}"));
        let workload = format!("azureuser/{name}");
        let (pod, uid) = cluster.pod_in_phase(&name, "azureuser", "Pending");
        cluster.wait_captured(3);
        let dir = cluster.container(&uid, "10b");
        let job = pod.with_cgroup("job", dir.clone());
        cluster.set_phase(&name, "azureuser", "Running");
        assert_eq!(call(&job, &path), "serviceb.azureuser");
        let records = wait::until(LIMIT, "the record", || {
            let found = flows(&cluster, &path);
            anyhow::ensure!(!found.is_empty(), "there is none");
            Ok(found)
        });
        assert_eq!(records.unwrap()[0]["workload"], workload);

        // Its process has ended, and so has the job; its sandbox stays for a while. Whoever looks in then is left alone.
        cgroup::destroy(&dir, LIMIT).unwrap();
        cluster.set_phase(&name, "azureuser", "Succeeded");
        let status = cluster.wait_captured(2);
        assert_eq!(state(&status, &workload), None, "{status}");
        assert_eq!(call(&pod, &format!("{path}/ended")), "serviceb.dev");
        pod.remove().unwrap();
        cgroup::destroy(&cluster.kubelet.pod(&uid, Class::Burstable), LIMIT).unwrap();
        // Kept for its log, or deleted at once.
        if number % 2 == 0 {
            cluster.server.delete(resource("", "pods"), "azureuser", &name).unwrap();
        }
        // Who answers has looked at it as it looks at all strangers' calls; the job's own agent has not.
        let ended = flows(&cluster, &format!("{path}/ended"));
        assert!(ended.iter().all(|flow| flow["direction"] == "inbound"), "{ended:?}");
    }
    wait::until(Duration::from_secs(10), "the agent to let go of the jobs", || {
        let now = descriptors(&mut cluster);
        anyhow::ensure!(now <= before, "{now} descriptors, {before} before");
        Ok(())
    })
    .unwrap();
    let status = cluster.agent().status().unwrap();
    assert_eq!((&status["workloads"]["captured"], &status["workloads"]["failed"]), (&json!(2), &json!(0)), "{status}");
    assert_eq!(status["source"]["warnings"], json!([]), "an end is no trouble: {status}");
}

#[test]
fn a_pod_on_the_hosts_network_is_skipped_with_its_reason_and_what_it_calls_passes() {
    let mut cluster = cluster("hostnet");
    let uid = cluster.next_uid();
    let place = cluster.scene.lab.on_node().with_cgroup("hostly", cluster.container(&uid, "a991"));
    let node = json!([{"ip": "10.244.0.1"}, {"ip": "fd00:244::1"}]);
    cluster.apply(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "hostly", "namespace": "azureuser",
            "annotations": {"interceptor.azds.io/capture": "true"}},
        "spec": {"nodeName": NODE, "hostNetwork": true, "containers": [{"name": "app", "image": "none"}]},
        "status": {"phase": "Running", "podIP": "10.244.0.1", "podIPs": node}}));
    cluster.server.set_uid(resource("", "pods"), "azureuser", "hostly", &uid).unwrap();
    let reason = "pod azureuser/hostly: not captured: it uses the host's network, in which it cannot be told from other such pods; \
                  give it a network of its own";
    let status = cluster.wait_status("the reason", |status| status["source"]["warnings"] == json!([reason]));
    assert_eq!(
        (status["workloads"]["captured"].clone(), state(&status, "azureuser/hostly")),
        (json!(2), None),
        "{status}"
    );
    let metrics = super::ask_metrics(&cluster);
    assert!(metrics.contains("interceptor_source_warnings 1"), "{metrics}");
    assert!(cluster.agent().log_tail(200).contains(reason), "it is in the log");
    // Its calls go where everybody's on the node go; a captured pod's do not.
    assert_eq!(call(&place, "/hostly"), "serviceb.dev");
    let caller = cluster.pod("caller", "azureuser");
    cluster.wait_captured(3);
    assert_eq!(call(&caller, "/caller"), "serviceb.azureuser");
    assert!(flows(&cluster, "/hostly").iter().all(|flow| flow["direction"] == "inbound"), "it was captured");
    // It goes, and so does what was said of it.
    cluster.server.delete(resource("", "pods"), "azureuser", "hostly").unwrap();
    cluster.wait_status("the reason to go", |status| status["source"]["warnings"] == json!([]));
}
