//! An API server that refuses, is gone, or comes back: before the first complete list nothing is captured, afterwards what
//! is known stays in force.

use interceptor_tests::apiserver::Fault;
use serde_json::{Value, json};

use super::{Cluster, ask_metrics, watch};
use crate::stage::{ask, routes, vip};

#[test]
fn what_is_known_serves_through_an_outage_and_nothing_is_captured_before_all_is_known() {
    let mut cluster = Cluster::new("outage");
    cluster.space("dev", None);
    cluster.space("azureuser", Some("dev"));
    cluster.deploy("serviceb", "dev", 12, &[]);
    cluster.deploy("serviceb", "azureuser", 13, &[]);
    let caller = cluster.pod("caller", "azureuser");
    let call = |path: &str| ask(&caller, vip(12), path, &["Host: serviceb"]);

    // RBAC is missing for one resource: nothing is captured, the calls pass, and it says what to do.
    cluster.server.fail("list", "endpointslices", Fault::Status(403));
    cluster.start_unready();
    let failed = |status: &Value| watch(status, "endpointslices")["state"] == "failed";
    let status = cluster.wait_status("the refusal to show", failed);
    let error = watch(&status, "endpointslices")["error"].as_str().unwrap();
    assert!(error.contains("list endpointslices: the API server answered 403"), "{error}");
    assert!(error.contains("(API group \"discovery.k8s.io\") in all namespaces, as the ClusterRole"), "{error}");
    assert_eq!((&status["ready"], &status["snapshot_version"]), (&json!(false), &json!(0)));
    assert!(status["not_ready_because"][0].as_str().unwrap().contains("403"), "{status}");
    assert_eq!(call("/before")["name"], "serviceb.dev", "nobody routes yet");
    assert!(cluster.agent().log_tail(200).contains("endpointslices"), "it is in the log");
    let metrics = ask_metrics(&cluster);
    assert!(metrics.contains("interceptor_watch{resource=\"endpointslices\",state=\"failed\"} 1"), "{metrics}");
    assert!(metrics.contains("interceptor_watch_failures_total{resource=\"endpointslices\",reason=\"forbidden\"}"));
    assert!(metrics.contains("interceptor_watch{resource=\"pods\",state=\"watching\"} 1"), "{metrics}");

    cluster.server.heal();
    cluster.wait_captured(3);
    let answer = call("/known");
    assert_eq!((&answer["name"], routes(&answer).len()), (&json!("serviceb.azureuser"), 1));

    // Gone: what is known stays in force.
    let address = cluster.server.address();
    cluster.server.stop();
    let all_failed =
        |status: &Value| status["source"]["watches"].as_array().unwrap().iter().all(|watch| watch["state"] == "failed");
    let status = cluster.wait_status("the outage to show", all_failed);
    assert_eq!((&status["ready"], &status["workloads"]["captured"]), (&json!(true), &json!(3)), "{status}");
    assert!(watch(&status, "pods")["error"].as_str().unwrap().contains("check that the API server runs"), "{status}");
    assert_eq!(call("/outage")["name"], "serviceb.azureuser");
    // What happens in the meantime is known afterwards, without a new list.
    cluster.server.delete(super::resource("", "services"), "azureuser", "serviceb").unwrap();
    assert_eq!(call("/outage/2")["name"], "serviceb.azureuser");
    let lists = cluster.server.calls().iter().filter(|call| call.verb == "list").count();
    let listener = cluster.scene.lab.on_node().listen(address).unwrap();
    cluster.server.go_on(listener).unwrap();
    let all_well = |status: &Value| {
        status["source"]["watches"].as_array().unwrap().iter().all(|watch| watch["state"] == "watching")
    };
    cluster.wait_status("the watches to be up again", all_well);
    cluster.wait_status("the deletion to be known", |status| status["services"] == 1);
    assert_eq!(call("/back")["name"], "serviceb.dev");
    assert_eq!(cluster.server.calls().iter().filter(|call| call.verb == "list").count(), lists, "no new list");
    cluster.agent_mut().process().expect_running().unwrap();
}
