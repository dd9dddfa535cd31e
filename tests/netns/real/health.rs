//! The kubelet's `grpc` probe of a captured pod: gRPC's own client from the node's address, gRPC's own server behind the agent.

use std::fs;

use interceptor_tests::Service;

use super::tools::{program, python, python_client};
use crate::stage::{Scene, Stage, cluster_ip, cluster_ip_v6};

const PORT: u16 = 50051;

/// What a probe of each address printed: the status, and the peer that the application saw.
fn probe(stage: &Stage, addresses: &[String]) -> Vec<String> {
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let text = python_client(stage.scene.lab.on_node(), "health.py", &[&["probe"], &addresses[..]].concat());
    // Without the peer's port.
    text.lines().map(|line| line.rsplit_once(':').map_or(line, |(front, _)| front).to_owned()).collect()
}

#[test]
fn a_grpc_probe_tells_how_the_application_is_whatever_the_agents_state() {
    let mut scene = Scene::worked_example("grpcprobe");
    let pod = scene.lab.pod("grpc").unwrap();
    scene.config.workload(&pod, Some("default"));
    let service = Service::new("grpc", "default").address(cluster_ip(15)).address(cluster_ip_v6(15));
    scene.publish(&service.port("grpc", PORT, PORT, None).endpoint(&pod));
    let word = scene.lab.temp().join("health");
    fs::write(&word, "SERVING").unwrap();
    let serve = || {
        let arguments = ["serve", &format!("[::]:{PORT}"), &word.display().to_string()].map(str::to_owned);
        let command = [python(&[]), vec![program("health.py")], arguments.to_vec()].concat();
        let process = pod.spawn(&command[0], &command[1..]).unwrap();
        pod.wait_listening(PORT, crate::stage::LIMIT * 3)
            .unwrap_or_else(|error| panic!("{error:#}: {}", process.stderr()));
        process
    };
    let mut server = serve();
    let mut stage = scene.start();
    let addresses = [pod.at(PORT).to_string(), pod.at_v6(PORT).to_string()];
    let of = |status: &str| [format!("{status} ipv4:10.244.0.1"), format!("{status} ipv6:%5Bfd00:244::1%5D")];

    assert_eq!(probe(&stage, &addresses), of("SERVING"));
    assert_eq!(stage.kernel("inbound", "redirected"), 2);
    fs::write(&word, "NOT_SERVING").unwrap();
    assert_eq!(probe(&stage, &addresses), of("NOT_SERVING"));
    assert_eq!(stage.kernel("inbound", "redirected"), 4);
    // It is gone: so says the kernel, and a new one is probed through the agent again.
    server.kill().unwrap();
    assert_eq!(probe(&stage, &addresses), ["UNAVAILABLE -"; 2]);
    fs::write(&word, "SERVING").unwrap();
    let _server = serve();
    let before = stage.kernel("inbound", "redirected");
    assert_eq!(probe(&stage, &addresses), of("SERVING"));
    assert!(stage.kernel("inbound", "redirected") > before);
    stage.agent.kill9().unwrap();
    assert_eq!(probe(&stage, &addresses), of("SERVING"));
}
