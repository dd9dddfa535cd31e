//! R1: a Host `[<space>.s.]<root>.<service>.<suffix>` adds the route header to a request from outside.

use crate::stage::{Client, SUFFIX, Scene, address, ask, headers, routes};

#[test]
fn r01_a_host_of_a_space_adds_its_header_whatever_its_case_and_port() {
    let mut scene = Scene::worked_example("r01");
    let pod = scene.deploy("serviceA", "azureuser", 10);
    let stage = scene.start();
    let outside = stage.scene.lab.outside();
    for host in [
        format!("azureuser.s.default.serviceA.{SUFFIX}"),
        format!("AzureUser.S.Default.SERVICEa.{}", SUFFIX.to_uppercase()),
        format!("azureuser.s.default.serviceA.{SUFFIX}:8080"),
        format!("azureuser.s.default.serviceA.{SUFFIX}."),
    ] {
        for to in [pod.at(8080), pod.at_v6(8080)] {
            let sent = [format!("hOsT: {host}"), "Accept: a".to_owned(), "accept: b".to_owned()];
            let lines: Vec<&str> = sent.iter().map(String::as_str).collect();
            let answer = ask(outside, to, "/", &lines);
            assert_eq!(answer["name"], "serviceA.azureuser");
            assert_eq!(routes(&answer), ["azds-route-as: azureuser"], "{host} to {to}");
            let mut others = headers(&answer);
            others.retain(|line| !line.starts_with("azds-route-as"));
            assert_eq!(others, sent, "names, case, order and number of the others are the client's");
        }
    }
}

#[test]
fn r01_a_host_of_a_root_adds_the_roots_name() {
    let mut scene = Scene::worked_example("r01root");
    let pod = scene.deploy("serviceA", "default", 10);
    let stage = scene.start();
    let host = format!("Host: default.serviceA.{SUFFIX}");
    let answer = ask(stage.scene.lab.outside(), pod.at(8080), "/root", &[&host]);
    assert_eq!(routes(&answer), ["azds-route-as: default"]);
    let record = stage.request("/root");
    assert_eq!(record["space"], "default");
    assert_eq!(record["space_from"], "host");
    assert_eq!(record["injected"], true);
}

#[test]
fn r01_any_other_host_adds_nothing() {
    let mut scene = Scene::worked_example("r01not");
    let pod = scene.deploy("serviceA", "default", 10);
    let mut stage = scene.start();
    let outside = stage.scene.lab.outside();
    let mut client = Client::new(outside, pod.at(8080));
    for host in [
        "serviceA".to_owned(),
        "serviceA.default.svc.cluster.local".to_owned(),
        "azureuser.s.default.serviceA.example.com".to_owned(),
        SUFFIX.to_owned(),
        format!("default.{SUFFIX}"),
        format!("azureuser.x.default.serviceA.{SUFFIX}"),
        format!("x.azureuser.s.default.serviceA.{SUFFIX}"),
        format!("azureuser.s.default.serviceA.{SUFFIX}.example.com"),
        format!("default.serviceAx{SUFFIX}"),
        // Spaces that are not there, or that are outside the root's tree.
        format!("nobody.s.default.serviceA.{SUFFIX}"),
        format!("nobody.serviceA.{SUFFIX}"),
        format!("azureuser.s.shop.serviceA.{SUFFIX}"),
        format!("shop.serviceA.{SUFFIX}"),
    ] {
        let answer = client.get("/", &[&format!("Host: {host}")]);
        assert_eq!(answer["name"], "serviceA.default", "{host}");
        assert_eq!(routes(&answer), Vec::<String>::new(), "{host}");
        assert_eq!(address(&answer["peer"]).ip(), interceptor_tests::lab::OUTSIDE_V4);
    }
    // The suffix is the configuration's: without it, a host of a space is like any other.
    let host = format!("Host: azureuser.s.default.serviceA.{SUFFIX}");
    assert_eq!(routes(&client.get("/", &[&host])), ["azds-route-as: azureuser"]);
    stage.scene.config.set("routing", "ingress_suffixes", vec!["other.example"]);
    stage.reload();
    assert_eq!(routes(&client.get("/", &[&host])), Vec::<String>::new());
}
