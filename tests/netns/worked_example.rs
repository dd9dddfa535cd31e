//! The worked example of the mission, steps 1 to 5 and its two follow-ups, as one story.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::stage::{SUFFIX, Scene, Stage, ask, chain, http_service, routes, vip};

/// serviceA of both spaces (calling serviceB), serviceB of default; the ingress is the outside client.
fn stage() -> (Stage, [SocketAddr; 2]) {
    let mut scene = Scene::worked_example("worked");
    scene.deploy("serviceB", "default", 12);
    let mut addresses = Vec::new();
    for (space, number) in [("azureuser", 10), ("default", 11)] {
        let name = format!("serviceA.{space}");
        let resolve = vip(12).to_string();
        let app = ["http", "--name", &name, "--listen", "[::]:8080"];
        let calls = ["--call", "http://serviceB/b", "--resolve", &resolve, "--keep-alive"];
        let pod = scene.program(&name, 8080, &[&app[..], &calls].concat());
        scene.config.workload(&pod, Some(space));
        scene.publish(&http_service("serviceA", space, number).endpoint(&pod));
        addresses.push(pod.at(8080));
    }
    (scene.start(), [addresses[0], addresses[1]])
}

fn visit(stage: &Stage, to: SocketAddr, host: &str, path: &str) -> Value {
    ask(stage.scene.lab.outside(), to, path, &[&format!("Host: {host}.serviceA.{SUFFIX}")])
}

#[test]
fn the_worked_example_step_by_step() {
    let (mut stage, [a_azureuser, a_default]) = stage();
    // 1: the ingress picked serviceA.azureuser's pod. 2: it is told azureuser. 3: it calls serviceB with that header.
    let answer = visit(&stage, a_azureuser, "azureuser.s.default", "/call");
    assert_eq!(answer["name"], "serviceA.azureuser");
    assert_eq!(routes(&answer), ["azds-route-as: azureuser"]);
    // 4: azureuser has no serviceB, default has. 5: the answer comes back through serviceA to the caller.
    assert_eq!(answer["upstream"]["name"], "serviceB.default");
    assert_eq!(answer["upstream"]["headers"], json!([["Host", "serviceB"], ["azds-route-as", "azureuser"]]));
    let inbound = stage.request("/call");
    assert_eq!((&inbound["direction"], &inbound["injected"]), (&json!("inbound"), &json!(true)));
    let outbound = stage.request("/b");
    assert_eq!(outbound["direction"], "outbound");
    assert_eq!(outbound["workload"], "serviceA.azureuser");
    assert_eq!(outbound["service"], "serviceB.default");
    assert_eq!((&outbound["space"], &outbound["space_from"]), (&json!("azureuser"), &json!("header")));
    assert_eq!(chain(&outbound), ["azureuser=no_service", "default=taken"]);
    assert_eq!(outbound["target"]["space"], "default");
    assert_eq!(outbound["injected"], false);

    // A call to default touches only default's copies.
    let answer = visit(&stage, a_default, "default", "/call/default");
    assert_eq!(answer["name"], "serviceA.default");
    assert_eq!(answer["upstream"]["name"], "serviceB.default");
    assert_eq!(routes(&answer["upstream"]), ["azds-route-as: default"]);
    let requests = stage.wait_flows(4, |record| record["kind"] == "request");
    let of_azureuser = requests.iter().filter(|r| r["workload"] == "serviceA.azureuser").count();
    assert_eq!(of_azureuser, 2, "those of the first call: {requests:?}");

    // azureuser deploys a serviceB: the next request of step 4 goes there. default still sees its own.
    let b = stage.scene.deploy("serviceB", "azureuser", 13);
    stage.reload();
    let answer = visit(&stage, a_azureuser, "azureuser.s.default", "/call/deployed");
    assert_eq!(answer["upstream"]["name"], "serviceB.azureuser");
    assert_eq!(routes(&answer["upstream"]), ["azds-route-as: azureuser"]);
    let answer = visit(&stage, a_default, "default", "/call/default2");
    assert_eq!(answer["upstream"]["name"], "serviceB.default");

    // It is removed: to default's again.
    stage.scene.config.remove_service("azureuser", "serviceB").remove_workload("serviceB.azureuser");
    stage.reload();
    b.remove().unwrap();
    let answer = visit(&stage, a_azureuser, "azureuser.s.default", "/call/removed");
    assert_eq!(answer["upstream"]["name"], "serviceB.default");
    assert_eq!(stage.kernel("outbound", "self_capture"), 0);
    stage.expect_running();
}
