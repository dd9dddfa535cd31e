//! `capture.services`: what is captured in each mode, that requests go the same way in both, and that the mode follows the
//! copies that come and go. docs/decisions/0006-what-is-captured.md has the rule.

use std::net::SocketAddr;

use interceptor_tests::place::Place;
use serde_json::Value;

use crate::stage::{Client, SUFFIX, Scene, Stage, address, ask, http_service, routes, vip, vip_v6};

const MODES: [&str; 2] = ["space-services", "overridden"];

fn scene(name: &str, mode: &str) -> Scene {
    let mut scene = Scene::worked_example(name);
    scene.config.set("capture", "services", mode);
    scene
}

/// Whether the application saw the caller's own socket: nothing stood between them.
fn is_direct(from: &Place, to: SocketAddr, headers: &[&str]) -> (bool, Value) {
    let mut client = Client::new(from, to);
    let answer = client.get("/direct", headers);
    (address(&answer["peer"]) == client.0.stream().local_addr().unwrap(), answer)
}

#[test]
fn a_service_with_one_copy_is_reached_directly_from_pods_of_its_root_space_only() {
    for mode in MODES {
        let mut scene = scene("copies", mode);
        let root = scene.caller("root", Some("default"));
        let derived = scene.caller("derived", Some("azureuser"));
        scene.deploy("serviceA", "default", 10);
        scene.deploy("serviceA", "azureuser", 11);
        let b = scene.deploy("serviceB", "default", 12);
        let stage = scene.start();
        let destinations = [vip(12), vip_v6(12), b.at(8080), b.at_v6(8080)];
        for to in destinations {
            let (direct, answer) = is_direct(&root, to, &["Host: serviceB"]);
            assert_eq!(direct, mode == "overridden", "{to} with {mode}");
            // The header of a root space tells the next pod nothing that it does not assume.
            let told = if mode == "overridden" { vec![] } else { vec!["azds-route-as: default"] };
            assert_eq!(routes(&answer), told, "{to} with {mode}");
        }
        let (passed, redirected) = if mode == "overridden" { (4, 0) } else { (0, 4) };
        assert_eq!(stage.kernel("outbound", "only_copy"), passed);
        assert_eq!(stage.kernel("outbound", "redirected"), redirected);
        // The opposite: from a derived space, whose name would be lost otherwise (rule R4), and where there is a copy.
        for to in destinations {
            let (direct, answer) = is_direct(&derived, to, &["Host: serviceB"]);
            assert!(!direct, "{to} with {mode}");
            assert_eq!(routes(&answer), ["azds-route-as: azureuser"]);
        }
        for to in [vip(10), vip_v6(10)] {
            let answer = ask(&root, to, "/", &["Host: serviceA", "azds-route-as: azureuser"]);
            assert_eq!(answer["name"], "serviceA.azureuser");
        }
        assert_eq!(stage.kernel("outbound", "only_copy"), passed);
        assert_eq!(stage.kernel("outbound", "redirected"), redirected + 6);
        assert_eq!(stage.kernel("inbound", "redirected"), 0);
    }
}

#[test]
fn a_tree_without_a_second_copy_is_left_to_the_kernel() {
    for mode in MODES {
        let mut scene = scene("tree", mode);
        let caller = scene.caller("caller", Some("shop"));
        scene.deploy("serviceA", "default", 10);
        scene.deploy("serviceA", "azureuser", 11);
        let till = scene.deploy("till", "shop", 20);
        let stage = scene.start();
        let host = format!("Host: shop.till.{SUFFIX}");
        let captured = mode == "space-services";
        assert_eq!(is_direct(&caller, vip(20), &["Host: till"]).0, !captured, "{mode}");
        let (direct, answer) = is_direct(stage.scene.lab.outside(), till.at(8080), &[&host]);
        assert_eq!(routes(&answer).is_empty(), !captured, "{mode}");
        // The client's address is shown either way.
        assert!(direct || captured, "{answer}");
        assert_eq!(stage.kernel("inbound", "redirected"), u64::from(captured));
        assert_eq!(stage.kernel("outbound", "not_captured"), u64::from(!captured));
        let status = stage.agent.status().unwrap();
        assert_eq!(status["captured"]["services"], mode);
        // Two addresses and two pod addresses.
        assert_eq!(status["captured"]["only_copies"], if captured { 0 } else { 4 });
    }
}

/// The frontend has one copy, the backend that it calls two: what the ingress hop adds decides about the second hop.
#[test]
fn r01_a_space_that_a_host_names_at_a_single_copy_leads_to_a_later_services_copy() {
    for mode in MODES {
        let mut scene = scene("chain", mode);
        let backend = vip(12).to_string();
        let app = ["http", "--name", "frontend.default", "--listen", "[::]:8080", "--keep-alive"];
        let calls = ["--call", "http://backend/b", "--resolve", &backend];
        let frontend = scene.program("frontend", 8080, &[&app[..], &calls].concat());
        scene.config.workload(&frontend, Some("default"));
        scene.publish(&http_service("frontend", "default", 10).endpoint(&frontend));
        scene.deploy("backend", "default", 12);
        scene.deploy("backend", "azureuser", 13);
        let stage = scene.start();
        let host = format!("Host: azureuser.s.default.frontend.{SUFFIX}");
        for (n, to) in [frontend.at(8080), frontend.at_v6(8080)].into_iter().enumerate() {
            let answer = ask(stage.scene.lab.outside(), to, &format!("/call/{n}"), &[&host]);
            assert_eq!(answer["name"], "frontend.default", "{mode}");
            assert_eq!(routes(&answer), ["azds-route-as: azureuser"], "{mode}");
            assert_eq!(answer["upstream"]["name"], "backend.azureuser", "{mode}");
        }
        // The opposite: a request that names no space.
        let answer = ask(stage.scene.lab.outside(), frontend.at(8080), "/call/none", &["Host: frontend"]);
        assert_eq!(answer["upstream"]["name"], "backend.default", "{mode}");
    }
}

#[test]
fn r09_a_copy_that_comes_or_goes_changes_what_the_next_connection_meets() {
    let mut stage = {
        let mut scene = scene("r09mode", "overridden");
        scene.caller("caller", Some("default"));
        scene.deploy("serviceA", "default", 10);
        scene.deploy("serviceB", "default", 12);
        scene.start()
    };
    let caller = stage.scene.lab.pod("late").unwrap();
    stage.scene.config.workload(&caller, Some("default"));
    stage.reload();
    let headers = ["Host: serviceB", "azds-route-as: azureuser"];
    let call = |to| is_direct(&caller, to, &headers);
    for to in [vip(12), vip_v6(12)] {
        assert!(call(to).0);
    }
    let mut early = Client::new(&caller, vip(12));
    early.get("/early", &headers);

    stage.scene.deploy("serviceB", "azureuser", 13);
    stage.reload();
    for to in [vip(12), vip_v6(12), vip(13)] {
        let (direct, answer) = call(to);
        assert_eq!((direct, &answer["name"]), (false, &"serviceB.azureuser".into()), "{to}");
    }
    // Not serviceB's copy, but in its tree now.
    assert!(call(vip(10)).0);
    let only_copy = stage.kernel("outbound", "only_copy");
    assert_eq!(only_copy, 1);
    // What was connected before stays where it is, unless `close_established` says otherwise.
    assert_eq!(early.get("/early", &headers)["name"], "serviceB.default");

    stage.scene.config.remove_service("azureuser", "serviceB");
    stage.reload();
    for to in [vip(12), vip(10)] {
        assert!(call(to).0, "{to}");
    }
    assert_eq!(stage.kernel("outbound", "only_copy"), only_copy, "nothing of the tree is captured any more");
    stage.expect_running();
}

/// A workload follows its space: a root that becomes derived has something to tell on from then on.
#[test]
fn a_space_that_gets_a_parent_makes_its_pods_calls_matter() {
    let mut scene = Scene::new("reparent", &[("default", None), ("team", None), ("azureuser", Some("default"))]);
    scene.config.set("capture", "services", "overridden");
    let caller = scene.caller("caller", Some("team"));
    scene.deploy("serviceA", "default", 10);
    scene.deploy("serviceA", "azureuser", 11);
    scene.deploy("serviceB", "default", 12);
    let mut stage = scene.start();
    assert!(is_direct(&caller, vip(12), &["Host: serviceB"]).0);
    stage.scene.config.remove_space("team").space("team", Some("default"));
    stage.reload();
    let (direct, answer) = is_direct(&caller, vip(12), &["Host: serviceB"]);
    assert!(!direct);
    assert_eq!(routes(&answer), ["azds-route-as: team"]);
    stage.scene.config.remove_space("team").space("team", None);
    stage.reload();
    assert!(is_direct(&caller, vip(12), &["Host: serviceB"]).0);
}

fn shown(stage: &Stage, args: &[&str]) -> String {
    stage.agent.text(args).unwrap_or_else(|error| panic!("{error:#}"))
}

#[test]
fn what_is_not_captured_is_said_wherever_one_looks() {
    let mut scene = scene("shown", "overridden");
    scene.caller("caller", Some("default"));
    scene.caller("dev", Some("azureuser"));
    scene.deploy("serviceA", "default", 10);
    scene.deploy("serviceA", "azureuser", 11);
    scene.deploy("serviceB", "default", 12);
    scene.deploy("till", "shop", 20);
    let stage = scene.start();
    let explain = |workload: &str, url: &str| {
        stage.agent.json(&["explain", "--workload", workload, "--url", url, "-o", "json"]).unwrap()
    };
    for (workload, url, reason) in [
        ("caller", "http://serviceB/", "only_copy"),
        ("caller", "http://till.shop/", "only_copy"),
        ("caller", "http://serviceA/", "same_space"),
        ("dev", "http://serviceB/", "same_space"),
        ("dev", "http://till.shop/", "only_copy"),
    ] {
        let answer = explain(workload, url);
        assert_eq!(answer["reason"], reason, "{answer}");
        assert_eq!(answer["intercepted"], reason != "only_copy", "{answer}");
        assert_eq!(answer["target"]["kind"], "original", "{answer}");
    }
    let services = shown(&stage, &["services"]);
    for (name, says) in
        [("serviceA", "yes"), ("serviceB", "not from root spaces (only copy)"), ("till", "no (only copy)")]
    {
        let row = services.lines().find(|line| line.contains(name)).unwrap();
        assert!(row.trim_end().ends_with(says), "{row}");
    }
    let routes = shown(&stage, &["routes", "--workload", "caller"]);
    assert_eq!(routes.lines().filter(|line| line.trim_end().ends_with("only_copy")).count(), 5, "{routes}");
    let status = shown(&stage, &["status"]);
    let line = status.lines().find(|line| line.contains("captures")).unwrap();
    // serviceA: two of two addresses and two of two pods. serviceB: two addresses, two of one pod; so has till.
    assert!(
        line.ends_with(
            "overridden: 12 destinations, 4 not from root spaces (only copy), 4 more not at all (only copy); \
             6 inbound ports"
        ),
        "{line}"
    );
    assert!(status.contains("established connections are kept\n"), "{status}");
}
