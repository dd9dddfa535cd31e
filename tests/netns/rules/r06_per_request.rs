//! R6: each request is routed, not each connection.

use crate::stage::{Client, Scene, get, json, vip};

#[test]
fn r06_requests_of_one_connection_go_to_different_spaces() {
    let mut scene = Scene::worked_example("r06");
    let caller = scene.caller("caller", Some("default"));
    scene.deploy("serviceB", "default", 12);
    scene.deploy("serviceB", "azureuser", 13);
    let stage = scene.start();
    let mut client = Client::new(&caller, vip(12));
    for n in 0..20 {
        let space = if n % 3 == 0 { "azureuser" } else { "default" };
        let body = "x".repeat(n * 1000);
        let framing = if n % 2 == 0 {
            format!("Content-Length: {}\r\n\r\n{body}", body.len())
        } else {
            format!("Transfer-Encoding: chunked\r\n\r\n{:x};a=b\r\n{body}\r\n0\r\n\r\n", body.len())
        };
        let request = format!("POST /{n} HTTP/1.1\r\nHost: serviceB\r\nazds-route-as: {space}\r\n{framing}");
        client.0.send(request.as_bytes()).unwrap();
        let answer = json(&client.response("POST"));
        assert_eq!(answer["name"], format!("serviceB.{space}"), "request {n}");
        assert_eq!(answer["body_bytes"], n * 1000);
        assert_eq!(answer["path"], format!("/{n}"));
    }
    drop(client);
    let record = stage.wait_flows(1, |record| record["kind"] == "connection").remove(0);
    assert_eq!(record["requests"], 20);
    let requests = stage.wait_flows(20, |r| r["kind"] == "request" && r["connection"] == record["id"]);
    let redirected = requests.iter().filter(|r| r["verdict"] == "redirected").count();
    assert_eq!(redirected, 7);
}

#[test]
fn r06_pipelined_requests_to_different_spaces_are_answered_in_order() {
    let mut scene = Scene::worked_example("r06pipe");
    let caller = scene.caller("caller", Some("default"));
    scene.deploy("serviceB", "default", 12);
    scene.deploy("serviceB", "azureuser", 13);
    let stage = scene.start();
    let spaces = ["azureuser", "default", "default", "azureuser", "nobody", "azureuser", "default"];
    let mut client = Client::new(&caller, vip(12));
    let mut all = String::new();
    for (n, space) in spaces.iter().enumerate() {
        all += &get(&format!("/{n}"), &["Host: serviceB", &format!("azds-route-as: {space}")]);
    }
    let (first, rest) = all.as_bytes().split_at(all.len() - 30);
    // The last one comes in two pieces.
    client.0.send(first).unwrap();
    client.0.send(rest).unwrap();
    for (n, space) in spaces.iter().enumerate() {
        let answer = json(&client.response("GET"));
        assert_eq!(answer["path"], format!("/{n}"));
        let space = if *space == "azureuser" { "azureuser" } else { "default" };
        assert_eq!(answer["name"], format!("serviceB.{space}"));
    }
    drop(client);
    assert_eq!(stage.wait_flows(1, |r| r["kind"] == "connection")[0]["requests"], spaces.len());
}
