//! Address families and unusual sockets: what can be captured is, what cannot passes directly and is counted.

use std::net::{Ipv6Addr, SocketAddr};

use interceptor_tests::{Pod, bins};
use serde_json::Value;

use crate::stage::{Scene, Stage, address, cluster_ip, vip, vip_v6};

/// A node on which serviceB of default and of azureuser run, and a caller in azureuser.
fn stage(name: &str) -> (Stage, Pod) {
    let mut scene = Scene::worked_example(name);
    let caller = scene.caller("caller", Some("azureuser"));
    scene.deploy("serviceB", "default", 12);
    scene.deploy("serviceB", "azureuser", 13);
    (scene.start(), caller)
}

/// What `pod connect` saw, and the application's answer.
fn connect(from: &Pod, to: SocketAddr, options: &[&str]) -> (Value, Value) {
    let to = to.to_string();
    let send = "GET /x HTTP/1.1\r\nHost: serviceB\r\nConnection: close\r\n\r\n";
    let args = [&["connect", "--to", &to, "--send", send], options].concat();
    let output = from.output(bins::pod().unwrap(), args).unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{to} {options:?}: {error}");
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    let received = seen["received"].as_str().unwrap();
    let (head, body) = received.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{received:?}"));
    assert!(head.starts_with("HTTP/1.1 200"), "{received}");
    let answer = serde_json::from_str(body).unwrap();
    (seen, answer)
}

/// `[::ffff:a.b.c.d]:80` of a ClusterIP.
fn mapped(number: u8) -> SocketAddr {
    let std::net::IpAddr::V4(v4) = cluster_ip(number) else { panic!("an IPv4 ClusterIP") };
    (v4.to_ipv6_mapped(), 80).into()
}

#[test]
fn ipv4_ipv6_and_v4_mapped_destinations_are_captured() {
    let (stage, caller) = stage("families");
    let own_mapped = caller.v4.to_ipv6_mapped().to_string();
    let cases: [(SocketAddr, &[&str], String); 5] = [
        (vip(12), &[], caller.v4.to_string()),
        (vip_v6(12), &[], caller.v6.to_string()),
        (mapped(12), &[], own_mapped),
        // A source of the destination's own family is no obstacle where loopback can be reached from it.
        (vip(12), &["--source", "0.0.0.0"], caller.v4.to_string()),
        (vip_v6(12), &["--source", "::"], caller.v6.to_string()),
    ];
    for (redirected, (to, options, own)) in (1..).zip(cases) {
        let (seen, answer) = connect(&caller, to, options);
        assert_eq!(answer["name"], "serviceB.azureuser", "{to}: routed, so captured");
        assert_eq!(address(&seen["peer"]), to, "getpeername gives what connect() was given");
        assert_eq!(address(&seen["local"]).ip().to_string(), own, "getsockname of {to}");
        assert_eq!(stage.kernel("outbound", "redirected"), redirected);
    }
    let records = stage.wait_flows(5, |record| record["kind"] == "request");
    let of = |to: SocketAddr| records.iter().filter(|r| r["original_destination"] == to.to_string()).count();
    assert_eq!((of(vip(12)), of(vip_v6(12))), (3, 2), "v4-mapped is IPv4: {records:?}");
}

#[test]
fn a_socket_bound_to_its_pods_ipv4_address_is_captured() {
    let (stage, caller) = stage("bound4");
    let source = caller.v4.to_string();
    for to in [vip(12), mapped(12)] {
        let source = if to.is_ipv4() { source.clone() } else { format!("::ffff:{source}") };
        let (seen, answer) = connect(&caller, to, &["--source", &source]);
        assert_eq!(answer["name"], "serviceB.azureuser", "{to}");
        assert_eq!(address(&seen["local"]).ip().to_canonical(), caller.addresses()[0]);
        assert_eq!(address(&answer["peer"]).ip(), caller.addresses()[0]);
    }
    assert_eq!(stage.kernel("outbound", "redirected"), 2);
}

#[test]
fn sockets_that_cannot_reach_the_agent_pass_directly_and_are_counted() {
    let (stage, caller) = stage("unusual");
    let own: Ipv6Addr = caller.v6;
    let own = own.to_string();
    let cases: [(SocketAddr, &[&str], &str); 4] = [
        (vip_v6(12), &["--v6-only"], "v6_only"),
        (vip_v6(12), &["--source", &own], "bound_source"),
        (vip(12), &["--device", "eth0"], "bound_device"),
        (vip_v6(12), &["--device", "eth0"], "bound_device"),
    ];
    for (to, options, reason) in cases {
        let before = stage.kernel("outbound", reason);
        let (seen, answer) = connect(&caller, to, options);
        assert_eq!(answer["name"], "serviceB.default", "{options:?}: where the caller sent it");
        assert_eq!(address(&answer["peer"]), address(&seen["local"]), "the caller's own socket");
        assert_eq!(address(&seen["peer"]), to);
        assert_eq!(stage.kernel("outbound", reason), before + 1, "{options:?}");
    }
    assert_eq!(stage.kernel("outbound", "redirected"), 0);
    assert_eq!(stage.flows(&[]).len(), 0);
}
