//! The worked example of the mission with nothing but labels on namespaces.

use std::net::SocketAddr;
use std::time::Instant;

use interceptor_tests::wait;
use serde_json::{Value, json};

use super::{Cluster, resource};
use crate::stage::{LIMIT, SUFFIX, ask, chain, routes, vip};

fn visit(cluster: &Cluster, to: SocketAddr, host: &str, path: &str) -> Value {
    ask(cluster.scene.lab.outside(), to, path, &[&format!("Host: {host}.servicea.{SUFFIX}")])
}

#[test]
fn labels_alone_make_the_worked_example() {
    let mut cluster = Cluster::new("labels");
    for (name, parent) in [("dev", None), ("azureuser", Some("dev"))] {
        cluster.space(name, parent);
    }
    let resolve = vip(12).to_string();
    let calls = ["--call", "http://serviceb/b", "--resolve", &resolve, "--keep-alive"];
    cluster.deploy("serviceb", "dev", 12, &[]);
    let in_azureuser = cluster.deploy("servicea", "azureuser", 10, &calls).at(8080);
    let in_dev = cluster.deploy("servicea", "dev", 11, &calls).at(8080);
    cluster.start();
    let status = cluster.wait_captured(3);
    assert_eq!((&status["spaces"], &status["services"]), (&json!(2), &json!(3)), "{status}");
    assert_eq!(status["source"]["kind"], "kubernetes");
    let watches: Vec<_> = status["source"]["watches"].as_array().unwrap().iter().collect();
    let states: Vec<_> = watches.iter().map(|watch| watch["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["watching"; 4], "{status}");

    // Steps 1 to 5.
    let answer = visit(&cluster, in_azureuser, "azureuser.s.dev", "/call");
    assert_eq!(answer["name"], "servicea.azureuser");
    assert_eq!(routes(&answer), ["azds-route-as: azureuser"]);
    assert_eq!(answer["upstream"]["name"], "serviceb.dev");
    let outbound = wait::until(LIMIT, "the record", || {
        let all = cluster.agent().flows(&["--last", "100"])?;
        all.into_iter().find(|record| record["path"] == "/b").ok_or_else(|| anyhow::anyhow!("not yet"))
    })
    .unwrap();
    assert_eq!(outbound["workload"], "azureuser/servicea-0");
    assert_eq!(chain(&outbound), ["azureuser=no_service", "dev=taken"]);
    let answer = visit(&cluster, in_dev, "dev", "/call/dev");
    assert_eq!((&answer["name"], &answer["upstream"]["name"]), (&json!("servicea.dev"), &json!("serviceb.dev")));

    // azureuser deploys a serviceb; then removes it. Each time the next request that is sent once the agent knows follows.
    let upstream = |cluster: &Cluster, expected: &str| {
        let begin = Instant::now();
        let reached = wait::until(LIMIT, "the next requests to follow", || {
            let answer = visit(cluster, in_azureuser, "azureuser.s.dev", "/call/again");
            anyhow::ensure!(answer["upstream"]["name"] == expected, "{}", answer["upstream"]["name"]);
            Ok(())
        });
        reached.unwrap_or_else(|error| panic!("{error:#}"));
        begin.elapsed()
    };
    cluster.deploy("serviceb", "azureuser", 13, &[]);
    println!("a new copy is used after {:?}", upstream(&cluster, "serviceb.azureuser"));
    cluster.server.delete(resource("", "services"), "azureuser", "serviceb").unwrap();
    println!("a removed copy is left after {:?}", upstream(&cluster, "serviceb.dev"));

    // A pod that is deleted is released, and a namespace that is no space any more takes its pods with it.
    cluster.server.delete(resource("", "pods"), "azureuser", "serviceb-0").unwrap();
    cluster.wait_captured(3);
    cluster.namespace("azureuser", &json!({}));
    cluster.wait_captured(2);
    cluster.agent_mut().process().expect_running().unwrap();
}
