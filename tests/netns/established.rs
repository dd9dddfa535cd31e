//! `capture.close_established`: what was connected before its destination was captured ends when it is, and nothing else.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::Duration;

use interceptor_tests::http::Connection;
use interceptor_tests::{Pod, wait};

use crate::metrics::{samples, sum};
use crate::stage::{Client, LIMIT, Scene, Stage, ask, http_service, json, vip, vip_v6};

const HEADERS: [&str; 2] = ["Host: x", "azds-route-as: azureuser"];

/// Longer than the agent takes to close what it wants to.
const SETTLED: Duration = Duration::from_millis(700);

/// serviceB in default only, so that nothing of the tree is captured; till in another tree. `web` and `dev` call.
struct Node {
    stage: Stage,
    web: Pod,
    dev: Pod,
    b: Pod,
}

impl Node {
    fn new(name: &str, close: bool) -> Node {
        let mut scene = Scene::worked_example(name);
        scene.config.set("capture", "services", "overridden").set("capture", "close_established", close);
        let web = scene.caller("web", Some("default"));
        let dev = scene.caller("dev", Some("azureuser"));
        scene.deploy("serviceA", "default", 10);
        let b = scene.deploy("serviceB", "default", 12);
        scene.deploy("till", "shop", 20);
        // On another node, as it were: its pod is no workload, so that only who calls it counts.
        let far = scene.app("far");
        scene.publish(&http_service("far", "default", 14).endpoint(&far));
        Node { stage: scene.start(), web, dev, b }
    }

    /// The first copy of serviceB: its tree is captured from now on.
    fn deploy_copy(&mut self) {
        self.stage.scene.deploy("serviceB", "azureuser", 13);
        self.stage.reload();
    }

    fn closed(&self, direction: &str) -> f64 {
        sum(&samples(&self.stage), "interceptor_established_closed_total", &[("direction", direction)])
    }

    /// Waits until that many are closed, and for a moment in which no more may be.
    fn wait_closed(&self, outbound: f64, inbound: f64) {
        wait::until(LIMIT, "connections to be closed", || {
            let closed = (self.closed("outbound"), self.closed("inbound"));
            anyhow::ensure!(closed == (outbound, inbound), "closed so far: {closed:?}");
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", self.stage.agent.log_tail(30)));
        sleep(SETTLED);
        assert_eq!((self.closed("outbound"), self.closed("inbound")), (outbound, inbound));
    }

    /// The four ways to serviceB, among them an IPv6 socket that speaks IPv4.
    fn ways(&self) -> [SocketAddr; 4] {
        let SocketAddr::V4(v4) = vip(12) else { panic!() };
        [vip(12), vip_v6(12), (v4.ip().to_ipv6_mapped(), 80).into(), self.b.at(8080)]
    }
}

fn connected(from: &interceptor_tests::place::Place, to: SocketAddr) -> Client {
    let mut client = Client::new(from, to);
    client.get("/before", &HEADERS);
    client
}

/// How an idle connection ended; `None` if it did not.
fn end(client: &Client) -> Option<ErrorKind> {
    let mut stream: &TcpStream = client.0.stream();
    stream.set_nonblocking(true).unwrap();
    let read = stream.read(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    match read {
        Ok(0) => Some(ErrorKind::UnexpectedEof),
        Ok(_) => panic!("unasked bytes"),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => Some(error.kind()),
    }
}

#[test]
fn connections_to_a_service_end_when_it_becomes_captured_and_the_next_ones_are_routed() {
    let mut node = Node::new("close", true);
    let mut closing: Vec<Client> = node.ways().map(|to| connected(&node.web, to)).into();
    closing.push(connected(&node.web, vip(14)));
    // To other services: one with a single copy, one of another tree.
    let mut others: Vec<Client> = [vip(10), vip(20)].map(|to| connected(&node.web, to)).into();
    // Of a pod that is no workload, and of a tool that entered a workload's namespace.
    let stranger = node.stage.scene.lab.pod("stranger").unwrap();
    others.push(connected(&stranger, vip(14)));
    let tool = node.web.netns().run(|| Ok(TcpStream::connect(vip(14))?)).unwrap();
    let mut tool = Client(Connection::new(tool));
    tool.get("/before", &HEADERS);
    others.push(tool);
    assert_eq!(node.stage.kernel("outbound", "redirected"), 0);

    let copy = node.stage.scene.app("far.azureuser");
    node.stage.scene.publish(&http_service("far", "azureuser", 15).endpoint(&copy));
    node.deploy_copy();
    node.wait_closed(5.0, 0.0);
    for client in &closing {
        assert_eq!(end(client), Some(ErrorKind::ConnectionAborted));
    }
    for to in node.ways() {
        assert_eq!(ask(&node.web, to, "/after", &HEADERS)["name"], "serviceB.azureuser", "{to}");
    }
    for client in &mut others {
        client.get("/still", &HEADERS);
    }
    let log = node.stage.agent.log_tail(1000);
    assert!(log.contains("closed established connections") && log.contains("outbound=5 inbound=0"), "{log}");
    node.stage.expect_running();
}

#[test]
fn without_the_key_they_stay_and_go_where_they_went() {
    let mut node = Node::new("keep", false);
    let mut clients: Vec<Client> = node.ways().map(|to| connected(&node.web, to)).into();
    node.deploy_copy();
    sleep(SETTLED);
    for client in &mut clients {
        assert_eq!(client.get("/still", &HEADERS)["name"], "serviceB.default");
    }
    assert_eq!(ask(&node.web, vip(12), "/after", &HEADERS)["name"], "serviceB.azureuser");
    assert_eq!((node.closed("outbound"), node.closed("inbound")), (0.0, 0.0));
}

#[test]
fn the_agents_own_connections_in_a_workloads_namespace_stay() {
    let mut node = Node::new("own", true);
    // serviceA's copy wakes the tree: calls of `dev` to serviceB are captured from here on, and the agent dials it there.
    node.stage.scene.deploy("serviceA", "azureuser", 11);
    node.stage.reload();
    let mut routed = connected(&node.dev, vip(12));
    let direct = connected(&node.web, vip(12));
    assert_eq!(node.stage.kernel("outbound", "redirected"), 1);
    // A request is under way through it while serviceB's own copy comes.
    routed
        .0
        .send(b"POST /under-way HTTP/1.1\r\nHost: x\r\nazds-route-as: default\r\nContent-Length: 4\r\n\r\nab")
        .unwrap();
    node.deploy_copy();
    node.wait_closed(1.0, 0.0);
    assert_eq!(end(&direct), Some(ErrorKind::ConnectionAborted));
    routed.0.stream().write_all(b"cd").unwrap();
    let answer = json(&routed.response("/under-way"));
    assert_eq!(answer["name"], "serviceB.default");
    assert_eq!(routed.get("/next", &HEADERS)["name"], "serviceB.azureuser");
}

#[test]
fn connections_from_uncaptured_callers_end_when_a_pods_port_becomes_intercepted() {
    let mut node = Node::new("inbound", true);
    let outside = node.stage.scene.lab.outside().clone();
    let mut other = connected(&outside, vip(20));
    let closing: Vec<Client> = [node.b.at(8080), node.b.at_v6(8080)].map(|to| connected(&outside, to)).into();
    // From workloads: not to be intercepted there, but to be routed where they call.
    let peer = connected(&node.web, node.b.at(8080));
    let own = connected(&node.b, node.b.at(8080));
    node.deploy_copy();
    node.wait_closed(2.0, 2.0);
    for client in &closing {
        assert_eq!(end(client), Some(ErrorKind::ConnectionReset));
    }
    for client in [&peer, &own] {
        assert_eq!(end(client), Some(ErrorKind::ConnectionAborted));
    }
    // The opposite: a port of another tree.
    other.get("/still", &HEADERS);
    assert_eq!(ask(&outside, node.b.at(8080), "/after", &HEADERS)["name"], "serviceB.azureuser");
}

#[test]
fn a_service_that_joins_the_space_trees_is_a_switch_too() {
    let mut scene = Scene::worked_example("join");
    scene.config.set("capture", "close_established", true);
    let web = scene.caller("web", Some("default"));
    let pod = scene.app("late");
    let late = http_service("late", "default", 30).endpoint(&pod);
    scene.lab.expose(&late).unwrap();
    let mut stage = scene.start();
    let client = connected(&web, vip(30));
    stage.scene.publish(&late);
    stage.reload();
    wait::until(LIMIT, "the connection to be closed", || {
        anyhow::ensure!(end(&client) == Some(ErrorKind::ConnectionAborted), "it is open");
        Ok(())
    })
    .unwrap();
    assert_eq!(ask(&web, vip(30), "/after", &["Host: late"])["name"], "late");
    assert_eq!(stage.kernel("outbound", "redirected"), 1);
    let status = stage.agent.status().unwrap();
    assert_eq!(status["captured"]["established"], "closed");
}

/// Without loopback the agent cannot try it out, as on a kernel that lacks it.
#[test]
fn where_it_cannot_be_done_they_stay_and_the_agent_says_so_and_works() {
    let mut scene = Scene::worked_example("unable");
    scene.config.set("capture", "close_established", true);
    let web = scene.caller("web", Some("default"));
    let pod = scene.app("late");
    let late = http_service("late", "default", 30).endpoint(&pod);
    scene.lab.expose(&late).unwrap();
    let down = scene.lab.on_node().output("ip", ["link", "set", "lo", "down"]).unwrap();
    assert!(down.status.success(), "{down:?}");
    let mut stage = scene.start();
    let mut client = connected(&web, vip(30));
    stage.scene.publish(&late);
    stage.reload();
    assert_eq!(ask(&web, vip(30), "/after", &["Host: late"])["name"], "late");
    sleep(SETTLED);
    client.get("/still", &HEADERS);
    let status = stage.agent.text(&["status"]).unwrap();
    assert!(
        status.contains("established connections are kept, as they cannot be closed: making a connection"),
        "{status}"
    );
    assert_eq!(stage.agent.log_tail(1000).matches("established connections stay as they are").count(), 1);
    let file = stage.scene.lab.temp().join("interceptor.yaml");
    let file = file.to_str().unwrap();
    let check = String::from_utf8(stage.agent.cli(&["check", "--config", file]).unwrap().stdout).unwrap();
    let found = check.lines().find(|line| line.contains("close-established")).unwrap();
    assert!(found.starts_with("warn"), "{check}");
    stage.expect_running();
}
