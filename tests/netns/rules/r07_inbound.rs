//! R7: what an uncaptured caller sends to a pod is intercepted there; what a captured one sends was routed already and
//! goes to the application directly.

use serde_json::json;

use crate::stage::{SUFFIX, Scene, Stage, address, ask, routes, vip};

#[test]
fn r07_an_uncaptured_caller_is_intercepted_at_the_pod_that_it_calls() {
    let mut scene = Scene::worked_example("r07in");
    let pod = scene.deploy("serviceA", "azureuser", 10);
    // A pod like any other, but no workload of the agent's (the ingress controller, say).
    let ingress = scene.lab.pod("ingress").unwrap();
    let stage = scene.start();
    let host = format!("Host: azureuser.s.default.serviceA.{SUFFIX}");
    let mut paths = 0;
    for from in [stage.scene.lab.outside(), &ingress] {
        for to in [pod.at(8080), pod.at_v6(8080)] {
            let path = format!("/{paths}");
            paths += 1;
            let answer = ask(from, to, &path, &[&host]);
            assert_eq!(answer["name"], "serviceA.azureuser");
            assert_eq!(routes(&answer), ["azds-route-as: azureuser"]);
            let record = stage.request(&path);
            assert_eq!(record["direction"], "inbound");
            assert_eq!(record["workload"], "serviceA.azureuser");
            assert_eq!(record["original_destination"], to.to_string());
            assert_eq!(record["client"], answer["peer"]);
            assert_eq!(record["target"]["kind"], "application");
        }
    }
    assert_eq!(stage.kernel("inbound", "redirected"), 4);
    assert_eq!(stage.kernel("inbound", "peer"), 0);
    assert_eq!(stage.kernel("outbound", "redirected"), 0, "the agent's own connections");
}

#[test]
fn r07_an_inbound_request_for_another_space_is_forwarded_to_its_copy() {
    let mut scene = Scene::worked_example("r07fwd");
    let shared = scene.deploy("serviceA", "default", 10);
    let copy = scene.deploy("serviceA", "azureuser", 11);
    let stage = scene.start();
    let outside = stage.scene.lab.outside();
    let host = format!("Host: azureuser.s.default.serviceA.{SUFFIX}");
    for (path, to, lines) in [
        ("/host", shared.at(8080), vec![host.as_str()]),
        ("/header", shared.at_v6(8080), vec!["Host: x", "azds-route-as: azureuser"]),
    ] {
        let answer = ask(outside, to, path, &lines);
        assert_eq!(answer["name"], "serviceA.azureuser");
        assert_eq!(routes(&answer), ["azds-route-as: azureuser"]);
        // One record: the copy's own agent takes it for what it is, a request that was routed.
        let record = stage.request(path);
        assert_eq!(record["workload"], "serviceA.default");
        assert_eq!(record["target"]["kind"], "endpoint");
        assert_eq!(record["target"]["space"], "azureuser");
        assert_eq!(address(&record["target"]["address"]).port(), 8080);
        assert!(copy.addresses().contains(&address(&record["target"]["address"]).ip()));
        assert_eq!(record["verdict"], "redirected");
    }
    assert_eq!(stage.kernel("inbound", "peer"), 2);
    // The opposite: no other space is named, or it has no copy.
    for lines in [vec!["Host: x"], vec!["Host: x", "azds-route-as: default"]] {
        assert_eq!(ask(outside, shared.at(8080), "/own", &lines)["name"], "serviceA.default");
    }
    assert_eq!(stage.kernel("inbound", "peer"), 2);
}

#[test]
fn r07_a_captured_callers_request_goes_to_the_application_directly() {
    let mut scene = Scene::worked_example("r07peer");
    let caller = scene.caller("caller", Some("azureuser"));
    let shared = scene.deploy("serviceB", "default", 12);
    scene.deploy("serviceB", "azureuser", 13);
    let stage = scene.start();
    // By the pod's own address, and through the copy of another space: routed once, by the caller's agent.
    for (n, to) in (1..).zip([shared.at(8080), shared.at_v6(8080)]) {
        let own = ask(&caller, to, &format!("/own{n}"), &["Host: x", "azds-route-as: default"]);
        assert_eq!(own["name"], "serviceB.default");
        let copy = ask(&caller, to, &format!("/copy{n}"), &["Host: x", "azds-route-as: azureuser"]);
        assert_eq!(copy["name"], "serviceB.azureuser");
        assert_eq!(address(&own["peer"]).ip(), address(&copy["peer"]).ip());
        assert!(caller.addresses().contains(&address(&own["peer"]).ip()), "{own}");
        for path in [format!("/own{n}"), format!("/copy{n}")] {
            let record = stage.request(&path);
            assert_eq!(record["direction"], "outbound");
            assert_eq!(record["workload"], "caller");
        }
    }
    let connections = stage.wait_flows(4, |record| record["kind"] == "connection");
    assert!(connections.iter().all(|record| record["direction"] == "outbound"), "{connections:?}");
    assert_eq!(stage.kernel("inbound", "redirected"), 0);
    // The connection that is made before anything is sent, and the one to the copy.
    assert!(stage.kernel("inbound", "peer") >= 4);
}

/// The directions of the connections that a call was intercepted in, as their records say.
fn seen(stage: &Stage, path: &str) -> Vec<String> {
    let requests = stage.flows(&["--kind", "request"]);
    let of_path = requests.iter().filter(|record| record["path"] == path);
    of_path.map(|record| record["direction"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn r07_a_call_is_intercepted_once_also_right_after_an_end_of_it_came_or_went() {
    let mut scene = Scene::worked_example("r07once");
    let caller = scene.lab.pod("caller").unwrap();
    let shared = scene.deploy("serviceB", "default", 12);
    scene.deploy("serviceB", "azureuser", 13);
    let mut stage = scene.start();
    let mut number = 0;
    let mut call = |stage: &Stage, to, expected: &[&str]| {
        number += 1;
        let path = format!("/{number}");
        ask(&caller, to, &path, &["Host: serviceB", "azds-route-as: azureuser"]);
        if !expected.is_empty() {
            stage.request(&path);
        }
        assert_eq!(seen(stage, &path), expected, "{path}");
    };
    for _ in 0..3 {
        for to in [shared.at(8080), shared.at_v6(8080), vip(12)] {
            call(&stage, to, &["inbound"]);
        }
        stage.scene.config.workload(&caller, Some("azureuser"));
        stage.reload();
        for to in [shared.at(8080), shared.at_v6(8080), vip(12)] {
            call(&stage, to, &["outbound"]);
        }
        // The other end goes: nothing changes for who calls. Without either, nobody looks.
        stage.scene.config.remove_workload("serviceB.default");
        stage.reload();
        call(&stage, vip(12), &["outbound"]);
        stage.scene.config.remove_workload("caller");
        stage.reload();
        call(&stage, vip(12), &[]);
        stage.scene.config.workload(&shared, Some("default"));
        stage.reload();
    }
    stage.expect_running();
}

/// A captured ingress controller's call is routed where it calls, whatever `capture.services` is: a Host names a space
/// that nothing else tells.
#[test]
fn r07_a_captured_ingress_controller_is_intercepted_once_and_tells_the_hosts_space() {
    for mode in ["space-services", "overridden"] {
        let mut scene = Scene::worked_example("r07ingress");
        scene.config.set("capture", "services", mode);
        let ingress = scene.caller("ingress", None);
        let frontend = scene.deploy("frontend", "default", 10);
        scene.deploy("serviceB", "default", 12);
        scene.deploy("serviceB", "azureuser", 13);
        let stage = scene.start();
        let host = format!("Host: azureuser.s.default.frontend.{SUFFIX}");
        for (n, to) in [vip(10), frontend.at(8080), frontend.at_v6(8080)].into_iter().enumerate() {
            let path = format!("/{n}");
            let answer = ask(&ingress, to, &path, &[&host]);
            assert_eq!(answer["name"], "frontend.default");
            assert_eq!(routes(&answer), ["azds-route-as: azureuser"], "{mode} {to}");
            assert_eq!(stage.request(&path)["direction"], "outbound");
        }
        assert_eq!(stage.kernel("inbound", "redirected"), 0);
        assert_eq!(stage.kernel("inbound", "peer"), 3);
    }
}

/// What a pod of the root space sends to a single copy was not routed, and needs not be: it is no call from outside.
#[test]
fn r07_with_overridden_a_call_that_was_not_captured_is_not_intercepted_at_its_other_end_either() {
    let mut scene = Scene::worked_example("r07passed");
    scene.config.set("capture", "services", "overridden");
    let caller = scene.caller("caller", Some("default"));
    let pod = scene.deploy("serviceA", "default", 10);
    scene.deploy("serviceB", "default", 12);
    scene.deploy("serviceB", "azureuser", 13);
    let stage = scene.start();
    for (n, to) in [pod.at(8080), pod.at_v6(8080), vip(10)].into_iter().enumerate() {
        let answer = ask(&caller, to, &format!("/{n}"), &["Host: serviceA", "azds-route-as: azureuser"]);
        assert_eq!(answer["name"], "serviceA.default");
        assert_eq!(routes(&answer), ["azds-route-as: azureuser"]);
    }
    assert_eq!((stage.kernel("outbound", "only_copy"), stage.kernel("inbound", "peer")), (3, 3));
    assert_eq!(stage.kernel("inbound", "redirected"), 0);
    // The opposite: from outside, whose Host may name a space, and from a pod whose calls are not captured at all.
    let host = format!("Host: azureuser.s.default.serviceA.{SUFFIX}");
    let answer = ask(stage.scene.lab.outside(), pod.at(8080), "/outside", &[&host]);
    assert_eq!(routes(&answer), ["azds-route-as: azureuser"]);
    assert_eq!(stage.kernel("inbound", "redirected"), 1);
}

#[test]
fn r07_a_workload_whose_calls_no_hook_sees_counts_as_uncaptured_where_it_calls() {
    let mut scene = Scene::worked_example("r07unseen");
    let caller = scene.lab.pod("caller").unwrap();
    let pod = scene.deploy("serviceB", "default", 12);
    scene.deploy("serviceB", "azureuser", 13);
    // Its cgroup is not there, so that nothing can be attached to it; the other one's is.
    let missing = scene.lab.cgroup().join("missing");
    let (netns, addresses) = (caller.netns().path().to_owned(), caller.addresses());
    let workload = |cgroup: &std::path::Path| json!({ "name": "caller", "space": "azureuser", "netns": netns, "addresses": addresses, "cgroup": cgroup });
    scene.config.set("capture", "cgroup", json!(pod.cgroup())).item("workloads", workload(&missing));
    let mut stage = scene.start();
    let headers = ["Host: serviceB", "azds-route-as: azureuser"];
    assert_eq!(ask(&caller, pod.at(8080), "/unseen", &headers)["name"], "serviceB.azureuser");
    stage.request("/unseen");
    assert_eq!(seen(&stage, "/unseen"), ["inbound"]);
    // The opposite: with its own cgroup it is routed where it calls.
    stage.scene.config.remove_workload("caller").item("workloads", workload(caller.cgroup()));
    stage.reload();
    assert_eq!(ask(&caller, pod.at(8080), "/seen", &headers)["name"], "serviceB.azureuser");
    stage.request("/seen");
    assert_eq!(seen(&stage, "/seen"), ["outbound"]);
    // And back: before its hooks go it is no peer any more.
    stage.scene.config.remove_workload("caller").item("workloads", workload(&missing));
    stage.reload();
    assert_eq!(ask(&caller, pod.at(8080), "/again", &headers)["name"], "serviceB.azureuser");
    stage.request("/again");
    assert_eq!(seen(&stage, "/again"), ["inbound"]);
}
