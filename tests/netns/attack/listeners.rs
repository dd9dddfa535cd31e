//! The agent's listeners inside a pod, spoken to by the pod itself: raw bytes, forged indices, sockets in their place.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use interceptor_tests::Pod;
use interceptor_tests::place::Place;
use interceptor_tests::sockets::Kind;

use crate::stage::{Client, LIMIT, Scene, Stage, ask, dial, vip};

/// The first index that is ever given out, as a loopback address.
const FIRST_INDEX: &str = "127.0.1.0:15001";
/// What an attacker might try.
const GREETINGS: [&[u8]; 5] = [
    b"GET / HTTP/1.1\r\nHost: serviceB\r\nazds-route-as: azureuser\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    b"CONNECT 127.0.0.1:15020 HTTP/1.1\r\nHost: 127.0.0.1:15020\r\n\r\n",
    b"\x16\x03\x01\0\xff\xff\xff\xff",
    b"",
];

fn unexpected(stage: &Stage) -> u64 {
    let mut client = Client::new(stage.scene.lab.on_node(), "127.0.0.1:15020".parse().unwrap());
    let body = String::from_utf8(client.raw("/metrics", &["Host: x"]).body).unwrap();
    let line = body.lines().find_map(|line| line.strip_prefix("interceptor_unexpected_connections_total "));
    line.unwrap().parse().unwrap()
}

/// What listens in a pod, from its /proc/PID/net/tcp and tcp6 (proc_pid_net(5)).
fn listening(pod: &Pod) -> Vec<SocketAddr> {
    let mut all = Vec::new();
    for (file, loopback) in [("tcp", "127.0.0.1"), ("tcp6", "[::1]")] {
        let text = fs::read_to_string(format!("/proc/{}/net/{file}", pod.netns().pid())).unwrap();
        for fields in text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>()) {
            let (address, port) = fields[1].split_once(':').unwrap();
            let is_loopback = ["0100007F", "00000000000000000000000001000000"].contains(&address);
            if fields[3] == "0A" && is_loopback {
                let port = u16::from_str_radix(port, 16).unwrap();
                all.push(format!("{loopback}:{port}").parse().unwrap());
            }
        }
    }
    all.sort();
    // One a worker.
    all.dedup();
    all
}

/// What comes back until the far end ends.
fn answer(from: &Place, to: SocketAddr, sent: &[u8]) -> Vec<u8> {
    let mut stream = dial(from, to);
    stream.write_all(sent).ok();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    answer
}

#[test]
fn bytes_at_the_agents_listeners_that_no_hook_sent_there_lead_nowhere_and_are_counted() {
    let mut scene = Scene::worked_example("rawbytes");
    let pod = scene.deploy("serviceB", "default", 12);
    let mut stage = scene.start();
    // The inbound ones, whose ports the kernel has chosen, and the outbound one: without an index, with one that nobody has.
    let mut targets = listening(&pod);
    assert_eq!(targets.len(), 2, "one a family: {targets:?}");
    targets.extend(["127.0.0.1:15001", "[::1]:15001", "127.200.1.1:15001"].map(|to| to.parse::<SocketAddr>().unwrap()));
    let mut count = unexpected(&stage);
    for to in &targets {
        for sent in GREETINGS {
            let answer = answer(&pod, *to, sent);
            assert!(answer.is_empty(), "{to}: {}", String::from_utf8_lossy(&answer));
            count += 1;
        }
        assert_eq!(unexpected(&stage), count, "{to}");
    }
    // Likewise what the pod's own rules bring there.
    let redirect = "add table inet evil; add chain inet evil out { type nat hook output priority -100; }; \
                    add rule inet evil out tcp dport 4444 redirect to :15001";
    pod.run("nft", [redirect]).unwrap();
    assert!(answer(&pod, SocketAddr::new(vip(12).ip(), 4444), GREETINGS[0]).is_empty());
    assert_eq!(unexpected(&stage), count + 1);
    // None of it became a connection of the agent's, to itself or to anybody.
    assert_eq!(stage.flows(&[]).len(), 0);
    assert_eq!(stage.kernel("outbound", "self_capture"), 0);
    stage.expect_running();
}

#[test]
fn a_forged_index_reaches_nothing_that_its_pod_could_not_reach_without_it() {
    let mut scene = Scene::worked_example("forged");
    let allowed = scene.caller("allowed", Some("azureuser"));
    let denied = scene.caller("denied", Some("shop"));
    let bystander = scene.lab.pod("bystander").unwrap();
    let server = scene.deploy("serviceB", "default", 12);
    let mut stage = scene.start();
    // As a NetworkPolicy has it: on the node's side, out of the pod's reach.
    let policy = format!(
        "add table inet fence; add chain inet fence forward {{ type filter hook forward priority 10; }}; \
         add rule inet fence forward ip saddr {} ip daddr {} reject with icmpx admin-prohibited; \
         add rule inet fence forward ip6 saddr {} ip6 daddr {} reject with icmpx admin-prohibited",
        denied.v4, server.v4, denied.v6, server.v6
    );
    stage.scene.lab.on_node().run("nft", [policy]).unwrap();
    let index: SocketAddr = FIRST_INDEX.parse().unwrap();
    // The index is that of the service: whoever uses it is served as if he had called the service.
    let forged = ask(&allowed, index, "/forged", &["Host: serviceB"]);
    let honest = ask(&allowed, vip(12), "/honest", &["Host: serviceB"]);
    assert_eq!(
        (forged["name"].as_str(), honest["name"].as_str()),
        (Some("serviceB.default"), Some("serviceB.default"))
    );
    let peer: SocketAddr = forged["peer"].as_str().unwrap().parse().unwrap();
    let own = allowed.addresses().contains(&peer.ip().to_canonical());
    assert!(own, "it leaves from the pod's own address, not from {peer}");
    // Whom the policy keeps away stays away, and gets our own answer: the server has not heard of it.
    assert!(!String::from_utf8_lossy(&answer(&denied, server.at(8080), GREETINGS[0])).contains("serviceB.default"));
    let refused = Client::new(&denied, index).raw("/denied", &["Host: serviceB"]);
    assert_eq!((refused.status().unwrap(), refused.first("server")), (502, Some("interceptor")));
    assert_eq!(stage.request("/denied")["workload"], "denied");
    // A pod that is not captured has no listener of ours.
    assert!(format!("{:#}", bystander.connect(index).unwrap_err()).contains("refused"));
    stage.expect_running();
}

#[test]
fn a_pod_that_listens_in_the_agents_place_gets_nobodys_traffic_but_its_own() {
    let mut scene = Scene::worked_example("squatter");
    let squatter = scene.caller("squatter", Some("azureuser"));
    let victim = scene.caller("victim", Some("azureuser"));
    let server = scene.deploy("serviceB", "default", 12);
    let mut stage = scene.start();
    // Root in the pod may share the agent's port: both are user 0. Nobody else may.
    let wildcards = ["0.0.0.0:15001", "[::]:15001"].map(|at| at.parse::<SocketAddr>().unwrap());
    let indexes = (0..8).map(|n| SocketAddr::from(([127, 0, 1, n], 15001)));
    let squats: Vec<_> =
        wildcards.into_iter().chain(indexes).map(|at| (at, squatter.listen_as(Kind::Shared, at).unwrap())).collect();
    assert!(squatter.listen(SocketAddr::from(([0, 0, 0, 0], 15001))).is_err());
    for (_, listener) in &squats {
        listener.set_nonblocking(true).unwrap();
    }
    for n in 0..20 {
        let path = format!("/{n}");
        assert_eq!(ask(&victim, vip(12), &path, &["Host: serviceB"])["name"], "serviceB.default");
        assert_eq!(ask(stage.scene.lab.outside(), server.at(8080), &path, &["Host: x"])["name"], "serviceB.default");
        assert_eq!(ask(stage.scene.lab.outside(), server.at_v6(8080), &path, &["Host: x"])["name"], "serviceB.default");
    }
    for (at, listener) in &squats {
        assert!(listener.accept().is_err(), "{at} got somebody's connection");
    }
    // From outside the pod nobody reaches it there through the agent's port.
    assert_eq!(stage.wait_flows(60, |record| record["kind"] == "request").len(), 60);
    // Its own call it has taken from itself.
    let mut own = dial(&squatter, vip(12));
    own.write_all(GREETINGS[0]).unwrap();
    let taken = squats.iter().find_map(|(_, listener)| listener.accept().ok());
    let (stream, _) = taken.expect("the more specific address gets it");
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    // And is served again as soon as it lets go.
    drop((stream, squats, own));
    assert_eq!(ask(&squatter, vip(12), "/again", &["Host: serviceB"])["name"], "serviceB.default");
    stage.expect_running();
}
