//! The kubelet's probes, from the node's own address to a pod: they say how the application is, whatever the agent's state.

mod listening;

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use interceptor_tests::http::Connection;
use interceptor_tests::{Pod, wait};
use nix::sys::signal::Signal;

use crate::stage::{LIMIT, Scene, Stage, address, get, json};

/// What the kubelet waits for an answer, unless it is told otherwise (`timeoutSeconds`).
const TIMEOUT: Duration = Duration::from_secs(1);
/// The shortest that the configuration allows.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// A pod whose application listens on 8080, which is a captured port.
fn scene(name: &str) -> (Scene, Pod) {
    let mut scene = Scene::worked_example(name);
    scene.config.set("capture", "heartbeat_timeout", "500ms");
    let pod = scene.deploy("serviceA", "default", 10);
    (scene, pod)
}

/// An `httpGet` probe: a connection of its own from the node, the port asked for `path`; the client that the application saw.
fn http_probe(stage: &Stage, to: SocketAddr, path: &str) -> anyhow::Result<IpAddr> {
    let stream = dial(stage, to)?;
    let mut connection = Connection::new(stream);
    connection.send(get(path, &["Host: probe", "User-Agent: kube-probe/1.36", "Connection: close"]).as_bytes())?;
    let answer = json(&connection.response("GET")?);
    Ok(address(&answer["peer"]).ip())
}

/// A `tcpSocket` probe: the connection is all that is asked for.
fn dial(stage: &Stage, to: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = stage.scene.lab.on_node().connect(to)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// Both kinds of probe succeed, on both families.
#[track_caller]
fn healthy(stage: &Stage, pod: &Pod, path: &str) {
    for to in [pod.at(8080), pod.at_v6(8080)] {
        let client = http_probe(stage, to, path).unwrap_or_else(|error| panic!("{to}: {error:#}"));
        let node: [IpAddr; 2] = ["10.244.0.1".parse().unwrap(), "fd00:244::1".parse().unwrap()];
        assert!(node.contains(&client), "the application saw {client}");
        drop(dial(stage, to).unwrap());
    }
}

#[test]
fn probes_pass_an_agent_that_lives_is_told_to_end_or_is_killed() {
    let (scene, pod) = scene("probes");
    let mut stage = scene.start();
    healthy(&stage, &pod, "/healthz");
    // Through the agent, like all that comes from outside to this port.
    assert_eq!(stage.kernel("inbound", "redirected"), 4);
    let flows = stage.wait_flows(2, |record| record["path"] == "/healthz");
    assert!(flows.iter().all(|flow| flow["status"] == 200), "{flows:?}");
    // A probe that only connects is a flow like any other, and no error.
    let connects = stage.wait_flows(2, |record| record["kind"] == "connection" && record["bytes_in"] == 0);
    assert!(connects.iter().all(|flow| flow["error"].is_null()), "{connects:?}");

    stage.agent.process().signal(Signal::SIGTERM).unwrap();
    let until = Instant::now() + Duration::from_millis(300);
    while Instant::now() < until {
        healthy(&stage, &pod, "/ending");
    }
    stage.agent.process().wait(LIMIT).unwrap();
    healthy(&stage, &pod, "/ended");

    let (scene, pod) = self::scene("probekill");
    let mut stage = scene.start();
    healthy(&stage, &pod, "/healthz");
    stage.agent.kill9().unwrap();
    healthy(&stage, &pod, "/killed");
}

#[test]
fn a_hanging_agent_costs_no_probe_more_than_the_heartbeats_patience() {
    let (scene, pod) = scene("probehang");
    let mut stage = scene.start();
    healthy(&stage, &pod, "/healthz");
    stage.agent.process().signal(Signal::SIGSTOP).unwrap();
    let stopped = Instant::now();
    // What was taken meanwhile hangs; the next probe after the heartbeat's age is past does not.
    wait::until(LIMIT, "a probe to succeed", || http_probe(&stage, pod.at(8080), "/hanging")).unwrap();
    let took = stopped.elapsed();
    println!("the first probe succeeded {took:?} after the agent hung");
    // Two timeouts at most: the kubelet's default is to act on the third failure.
    assert!(took < HEARTBEAT + 2 * TIMEOUT, "{took:?}");
    healthy(&stage, &pod, "/direct");
    stage.agent.process().signal(Signal::SIGCONT).unwrap();
    wait::until(LIMIT, "probes to be intercepted again", || {
        http_probe(&stage, pod.at(8080), "/again")?;
        anyhow::ensure!(stage.flows(&[]).iter().any(|flow| flow["path"] == "/again"));
        Ok(())
    })
    .unwrap();
}
