//! The agent opens no way into a pod that was not there before.

use std::io::{Read as _, Write as _};

use crate::stage::{Client, Scene, ask, bare_service, dial, vip};

#[test]
fn an_application_on_loopback_stays_out_of_reach_from_outside() {
    let mut scene = Scene::worked_example("loopback");
    let args = ["http", "--name", "private", "--listen", "127.0.0.1:8080"];
    let private = scene.program("private", 8080, &args);
    let args = ["greet", "--listen", "127.0.0.1:7000"];
    scene.run(&private, 7000, &args);
    scene.config.workload(&private, Some("default"));
    let service = bare_service("private", "default", 12).port("http", 80, 8080, None).port("raw", 70, 7000, None);
    scene.publish(&service.endpoint(&private));
    let stage = scene.start();
    for to in [private.at(8080), private.at_v6(8080), private.at(7000), private.at_v6(7000)] {
        let error = format!("{:#}", stage.scene.lab.outside().connect(to).unwrap_err());
        assert!(error.contains("refused"), "{to}: {error}");
    }
    assert_eq!(stage.kernel("inbound", "not_listening"), 4);
    // The pod itself has its application.
    assert_eq!(ask(&private, "127.0.0.1:8080".parse().unwrap(), "/", &["Host: x"])["name"], "private");
}

#[test]
fn the_agents_own_ports_are_closed_to_the_outside() {
    let mut scene = Scene::worked_example("closed");
    let caller = scene.caller("caller", Some("azureuser"));
    let pod = scene.deploy("serviceB", "default", 12);
    let stage = scene.start();
    for from in [stage.scene.lab.outside(), stage.scene.lab.on_node(), &caller] {
        for to in [pod.at(15001), pod.at_v6(15001)] {
            let error = format!("{:#}", from.connect(to).unwrap_err());
            assert!(error.contains("refused"), "{to} from {}: {error}", from.name());
        }
    }
    // From inside it leads nowhere, and is counted. No hook has given an index for 127.0.0.1 or the pod's address.
    let metric = "interceptor_unexpected_connections_total";
    for (n, to) in (1..).zip(["127.0.0.1:15001", "[::1]:15001", "127.1.2.3:15001"]) {
        let mut client = dial(&pod, to.parse().unwrap());
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").ok();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).ok();
        assert!(answer.is_empty(), "{to}: {}", String::from_utf8_lossy(&answer));
        let text = Client::new(stage.scene.lab.on_node(), "127.0.0.1:15020".parse().unwrap());
        let body = { text }.raw("/metrics", &["Host: x"]).body;
        let line = format!("{metric} {n}");
        assert!(String::from_utf8_lossy(&body).contains(&line), "{line}");
    }
    assert_eq!(stage.flows(&[]).len(), 0);
    assert_eq!(ask(&caller, vip(12), "/", &["Host: x"])["name"], "serviceB.default");
}
