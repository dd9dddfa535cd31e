//! R7: what an uncaptured caller sends to a pod is intercepted there; what a captured one sends was routed already and
//! goes to the application directly.

use crate::stage::{SUFFIX, Scene, address, ask, routes};

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
