//! A pod that claims to be another: by the source address of its connections, and by an address that it gives itself.

use std::net::SocketAddr;

use interceptor_tests::Pod;
use interceptor_tests::place::Place;

use crate::stage::{Scene, ask, vip};

/// Connects from an address that need not be the caller's (`IP_FREEBIND`, `IP_TRANSPARENT`), sends a request and gives what
/// comes back within a second.
const SPOOF: &str = "
import socket, sys
source, host, port, option = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
s = socket.socket()
s.settimeout(1)
s.setsockopt(socket.SOL_IP, option, 1)
s.bind((source, 0))
s.connect((host, port))
s.sendall(b'GET /spoofed HTTP/1.1\\r\\nHost: serviceB\\r\\nConnection: close\\r\\n\\r\\n')
print(s.recv(4096))
";

/// `IP_FREEBIND` and `IP_TRANSPARENT` (include/uapi/linux/in.h).
const OPTIONS: [&str; 2] = ["15", "19"];

fn spoof(from: &Place, source: &Pod, to: SocketAddr, option: &str) -> (bool, String) {
    let (source, host, port) = (source.v4.to_string(), to.ip().to_string(), to.port().to_string());
    let output = from.output("python3", ["-c", SPOOF, &source, &host, &port, option]).unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!error.contains("setsockopt") && !error.contains("s.bind"), "the attack itself failed: {error}");
    (output.status.success(), error)
}

fn failures(error: &str) -> bool {
    ["timed out", "refused", "reset", "unreachable"].iter().any(|failure| error.contains(failure))
}

#[test]
fn a_connection_from_another_pods_address_is_never_that_pods() {
    let mut scene = Scene::worked_example("spoofed");
    let attacker = scene.caller("attacker", Some("shop"));
    let victim = scene.caller("victim", Some("azureuser"));
    let server = scene.deploy("serviceB", "default", 12);
    scene.deploy("serviceB", "azureuser", 13);
    // A port that is no service's: the attacker's own hooks leave it alone.
    scene.run(&server, 9090, &["http", "--name", "aside", "--listen", "[::]:9090"]);
    let mut stage = scene.start();
    for option in OPTIONS {
        // Past the hooks, to the agent of the server's pod: what the server answers goes to the victim.
        let (answered, error) = spoof(&attacker, &victim, server.at(9090), option);
        assert!(!answered && failures(&error), "{error}");
        // Through the hooks both ends are in the attacker's namespace, so that IP_TRANSPARENT gets an answer, as itself.
        let (answered, error) = spoof(&attacker, &victim, vip(12), option);
        assert!(answered || failures(&error), "{error}");
    }
    for record in stage.flows(&[]) {
        let client: SocketAddr = record["client"].as_str().unwrap().parse().unwrap();
        assert_eq!((&record["workload"], client.ip()), (&"attacker".into(), attacker.v4.into()), "{record}");
    }
    // The opposite: its own address is its own, with the same options.
    assert!(spoof(&attacker, &attacker, vip(12), OPTIONS[0]).0);
    stage.expect_running();
}

#[test]
fn an_address_that_a_pod_gives_itself_makes_it_nobody_else() {
    let mut scene = Scene::worked_example("selfnamed");
    let attacker = scene.caller("attacker", Some("shop"));
    let victim = scene.caller("victim", Some("azureuser"));
    scene.deploy("serviceB", "default", 12);
    scene.deploy("serviceB", "azureuser", 13);
    let mut stage = scene.start();
    let alias = format!("{}/32", victim.v4);
    attacker.run("ip", ["addr", "add", &alias, "dev", "lo"]).unwrap();
    // The connection to the agent is whole now: both ends of it are in the attacker's namespace.
    let (answered, error) = spoof(&attacker, &victim, vip(12), OPTIONS[0]);
    assert!(answered, "{error}");
    let record = stage.request("/spoofed");
    assert_eq!((&record["workload"], &record["reason"]), (&"attacker".into(), &"no_space_named".into()), "{record}");
    let client: SocketAddr = record["client"].as_str().unwrap().parse().unwrap();
    assert_eq!(client.ip(), std::net::IpAddr::from(attacker.v4));
    // Its space is not the victim's: it got the original destination, from its own address.
    assert_eq!(record["target"]["kind"], "original", "{record}");
    // The victim is as before.
    let answer = ask(&victim, vip(12), "/victim", &["Host: serviceB"]);
    assert_eq!(answer["name"], "serviceB.azureuser");
    let record = stage.wait_flows(1, |record| record["path"] == "/victim").remove(0);
    assert_eq!(record["workload"], "victim");
    stage.expect_running();
}
