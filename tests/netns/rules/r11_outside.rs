//! R11: traffic to destinations in no space tree never leaves the kernel's own path.

use crate::stage::{Client, Scene, address, cluster_ip, http_service, vip, vip_v6};

#[test]
fn r11_a_destination_in_no_tree_is_reached_directly() {
    let mut scene = Scene::worked_example("r11");
    let caller = scene.caller("caller", Some("azureuser"));
    scene.deploy("serviceB", "default", 12);
    // On the node, but in no space.
    let other = scene.app("other");
    scene.lab.expose(&http_service("other", "none", 40).endpoint(&other)).unwrap();
    // A port of a service's address that the service does not have.
    let b = scene.app("b");
    scene.lab.cluster_ip(&[cluster_ip(12)], 81, &[(b.v4.into(), 8080)]).unwrap();
    let stage = scene.start();
    let destinations = [vip(40), vip_v6(40), other.at(8080), other.at_v6(8080), (cluster_ip(12), 81).into()];
    for (passed, to) in (1..).zip(destinations) {
        let mut client = Client::new(&caller, to);
        let answer = client.get("/direct", &["Host: x", "azds-route-as: azureuser"]);
        let own = client.0.stream().local_addr().unwrap();
        assert_eq!(address(&answer["peer"]), own, "{to}: the caller's own socket is the peer");
        assert_eq!(client.0.stream().peer_addr().unwrap(), to);
        assert_eq!(stage.kernel("outbound", "not_captured"), passed);
    }
    assert_eq!(stage.kernel("outbound", "redirected"), 0);
    assert_eq!(stage.kernel("inbound", "redirected"), 0);
    // The opposite: a destination in a tree is the agent's to reach.
    let mut client = Client::new(&caller, vip(12));
    let answer = client.get("/captured", &["Host: x"]);
    assert_ne!(address(&answer["peer"]), client.0.stream().local_addr().unwrap());
    stage.request("/captured");
    assert_eq!(stage.kernel("outbound", "redirected"), 1);
    // Whatever was direct has left no record.
    assert_eq!(stage.flows(&["--kind", "request"]).len(), 1);
}

#[test]
fn r11_a_pod_that_is_no_workload_is_not_touched() {
    let mut scene = Scene::worked_example("r11pod");
    let stranger = scene.lab.pod("stranger").unwrap();
    let pod = scene.app("serviceB.default");
    scene.publish(&http_service("serviceB", "default", 12).endpoint(&pod));
    scene.deploy("serviceB", "azureuser", 13);
    let stage = scene.start();
    for to in [vip(12), vip_v6(12), pod.at(8080)] {
        let mut client = Client::new(&stranger, to);
        let answer = client.get("/", &["Host: x", "azds-route-as: azureuser"]);
        assert_eq!(answer["name"], "serviceB.default");
        assert_eq!(address(&answer["peer"]), client.0.stream().local_addr().unwrap());
    }
    assert_eq!(stage.kernel("outbound", "not_workload"), 3);
    assert_eq!(stage.flows(&[]).len(), 0);
}
