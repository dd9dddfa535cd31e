//! A port is open to a probe exactly while the application listens on it, whoever intercepts it.

use std::net::SocketAddr;
use std::time::Duration;

use interceptor_tests::http::Connection;
use interceptor_tests::sockets::Kind;
use interceptor_tests::{Pod, Service, bins, wait};

use super::dial;
use crate::stage::{LIMIT, Scene, Stage, get, http_service};

/// How often the agent looks after what it was refused, and then some.
const SOON: Duration = Duration::from_secs(5);

/// A captured pod with nothing in it, behind a service.
fn empty(name: &str) -> (Scene, Pod) {
    let mut scene = Scene::worked_example(name);
    let pod = scene.lab.pod("empty").unwrap();
    scene.config.workload(&pod, Some("default"));
    scene.publish(&http_service("empty", "default", 11).endpoint(&pod));
    (scene, pod)
}

/// Nobody listens: the kernel says so.
#[track_caller]
fn is_refused(stage: &Stage, to: SocketAddr) {
    let error = dial(stage, to).map(drop).expect_err("somebody took the connection");
    assert!(format!("{error:#}").contains("Connection refused"), "{to}: {error:#}");
}

/// The agent takes connections to these of the pod's addresses, and the kernel refuses those to the others: at once, as
/// a packet that had to be sent again would have been counted again.
#[track_caller]
fn is_open(stage: &Stage, pod: &Pod, port: u16, takes: [bool; 2]) {
    for (to, takes) in [pod.at(port), pod.at_v6(port)].into_iter().zip(takes) {
        let before = ["redirected", "not_listening"].map(|reason| stage.kernel("inbound", reason));
        if takes {
            drop(dial(stage, to).unwrap_or_else(|error| panic!("{to}: {error:#}")));
        } else {
            is_refused(stage, to);
        }
        let after = ["redirected", "not_listening"].map(|reason| stage.kernel("inbound", reason));
        let expected = [before[0] + u64::from(takes), before[1] + u64::from(!takes)];
        assert_eq!(after, expected, "{to}, redirected and refused");
    }
}

#[test]
fn a_port_is_open_exactly_while_the_application_listens_on_it() {
    let (scene, pod) = empty("listening");
    let stage = scene.start();
    is_open(&stage, &pod, 8080, [false; 2]);
    let (v4, v6) = (pod.at(8080), pod.at_v6(8080));
    for (kind, at, takes) in [
        (Kind::Plain, "0.0.0.0:8080".parse().unwrap(), [true, false]),
        (Kind::Plain, "[::]:8080".parse().unwrap(), [true, true]),
        (Kind::V6Only, "[::]:8080".parse().unwrap(), [false, true]),
        (Kind::Plain, v4, [true, false]),
        (Kind::Plain, format!("[::ffff:{}]:8080", pod.v4).parse().unwrap(), [true, false]),
        (Kind::Plain, v6, [false, true]),
        // What only the pod itself reaches stays out of reach.
        (Kind::Plain, "127.0.0.1:8080".parse().unwrap(), [false, false]),
        (Kind::Plain, "[::1]:8080".parse().unwrap(), [false, false]),
        (Kind::Plain, "[::]:8081".parse().unwrap(), [false, false]),
    ] {
        let listener = pod.listen_as(kind, at).unwrap();
        is_open(&stage, &pod, 8080, takes);
        drop(listener);
        is_open(&stage, &pod, 8080, [false; 2]);
    }
}

#[test]
fn the_last_of_several_sockets_closes_a_port() {
    let (scene, pod) = empty("sharing");
    let stage = scene.start();
    let any: SocketAddr = "[::]:8080".parse().unwrap();
    let mut listeners: Vec<_> = (0..4).map(|_| pod.listen_as(Kind::Shared, any).unwrap()).collect();
    while !listeners.is_empty() {
        is_open(&stage, &pod, 8080, [true; 2]);
        listeners.pop();
    }
    is_open(&stage, &pod, 8080, [false; 2]);
    // Each family by itself.
    let v4 = pod.listen("0.0.0.0:8080".parse().unwrap()).unwrap();
    let v6 = pod.listen_as(Kind::V6Only, any).unwrap();
    is_open(&stage, &pod, 8080, [true; 2]);
    drop(v4);
    is_open(&stage, &pod, 8080, [false, true]);
    drop(v6);
    is_open(&stage, &pod, 8080, [false; 2]);
    match pod.listen_as(Kind::Mptcp, any) {
        Ok(listener) => {
            is_open(&stage, &pod, 8080, [true; 2]);
            drop(listener);
            wait::until(LIMIT, "MPTCP's socket to go", || {
                anyhow::ensure!(dial(&stage, pod.at(8080)).is_err(), "it is still there");
                Ok(())
            })
            .unwrap();
            is_open(&stage, &pod, 8080, [false; 2]);
        }
        Err(error) => println!("this kernel has no MPTCP: {error:#}"),
    }
}

#[test]
fn an_application_that_is_killed_and_restarted_closes_and_opens_its_port() {
    let (scene, pod) = empty("restarting");
    let mut stage = scene.start();
    let app = ["http", "--name", "empty", "--listen", "[::]:8080"];
    for _ in 0..3 {
        let mut process = pod.spawn(bins::pod().unwrap(), app).unwrap();
        pod.wait_listening(8080, LIMIT).unwrap();
        super::healthy(&stage, &pod, "/healthz");
        process.kill().unwrap();
        is_open(&stage, &pod, 8080, [false; 2]);
    }
    stage.agent.kill9().unwrap();
    is_refused(&stage, pod.at(8080));
    is_refused(&stage, pod.at_v6(8080));
}

#[test]
fn an_application_that_listened_before_the_agent_came_is_captured_and_its_end_noticed() {
    let (scene, pod) = empty("before");
    // On 8081 it listens before the port is one of a service.
    let any = |port: u16| SocketAddr::new("::".parse().unwrap(), port);
    let old = pod.listen(any(8080)).unwrap();
    let mut stage = scene.start();
    is_open(&stage, &pod, 8080, [true; 2]);
    let other = pod.listen(any(8081)).unwrap();
    let more =
        Service::new("more", "default").address(crate::stage::cluster_ip(14)).port("http", 80, 8081, Some("http"));
    stage.scene.publish(&more.endpoint(&pod));
    stage.reload();
    is_open(&stage, &pod, 8081, [true; 2]);
    is_open(&stage, &pod, 8080, [true; 2]);

    // Nobody counted it: the agent finds out when it is refused, and says so to that client.
    for (listener, to) in [(old, pod.at(8080)), (other, pod.at(8081))] {
        drop(listener);
        let mut connection = Connection::new(dial(&stage, to).unwrap());
        connection.send(get("/healthz", &["Host: probe"]).as_bytes()).unwrap();
        assert_eq!(connection.response("GET").unwrap().status().unwrap(), 502);
        wait::until(SOON, "the kernel to refuse", || {
            anyhow::ensure!(dial(&stage, to).is_err(), "the agent still takes it");
            Ok(())
        })
        .unwrap();
    }
    is_open(&stage, &pod, 8080, [false; 2]);
    let new = pod.listen(any(8080)).unwrap();
    is_open(&stage, &pod, 8080, [true; 2]);
    drop(new);
    is_open(&stage, &pod, 8080, [false; 2]);

    // It ends while the pod is not captured: what was counted is forgotten.
    let last = pod.listen(any(8080)).unwrap();
    is_open(&stage, &pod, 8080, [true; 2]);
    stage.scene.config.remove_workload("empty");
    stage.reload();
    drop(last);
    stage.scene.config.workload(&pod, Some("default"));
    stage.reload();
    is_open(&stage, &pod, 8080, [false; 2]);
}
