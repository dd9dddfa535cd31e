//! Pods, ClusterIPs and the outside client reach each other as they would on a Kubernetes node.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Instant;

use interceptor_tests::Service;

use crate::{LIMIT, curl, http, lab};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 12));

fn v6() -> IpAddr {
    "fd00:96::12".parse().unwrap()
}

#[test]
fn five_pods_are_up_within_a_second() {
    let start = Instant::now();
    let lab = lab("speed");
    for n in 0..5 {
        lab.pod(&format!("pod{n}")).unwrap();
    }
    let took = start.elapsed();
    assert!(took.as_millis() < 1000, "{took:?}");
    println!("5 pods in {took:?}");
}

#[test]
fn pods_and_outside_reach_a_pod_with_their_own_address() {
    let lab = lab("direct");
    let (a, b) = (lab.pod("a").unwrap(), lab.pod("b").unwrap());
    let _server = http(&b);
    let peer = |answer: serde_json::Value| answer["peer"].as_str().unwrap().parse::<SocketAddr>().unwrap().ip();
    assert_eq!(peer(curl(&a, b.at(8080), "/")), a.v4);
    assert_eq!(peer(curl(&a, b.at_v6(8080), "/")), a.v6);
    assert_eq!(peer(curl(lab.outside(), b.at(8080), "/")), interceptor_tests::lab::OUTSIDE_V4);
    assert_eq!(peer(curl(lab.outside(), b.at_v6(8080), "/")), interceptor_tests::lab::OUTSIDE_V6);
    assert_eq!(peer(curl(&b, b.at(8080), "/")), b.v4);
}

#[test]
fn a_cluster_ip_reaches_all_its_endpoints_and_keeps_the_client() {
    let lab = lab("clusterip");
    let (a, b, c) = (lab.pod("a").unwrap(), lab.pod("b").unwrap(), lab.pod("c").unwrap());
    let _servers = [http(&a), http(&b), http(&c)];
    let service = Service::new("s", "default").address(V4).address(v6()).port("http", 80, 8080, None);
    lab.expose(&service.clone().endpoint(&b).endpoint(&c)).unwrap();
    for (address, client) in [(V4, IpAddr::from(a.v4)), (v6(), a.v6.into())] {
        let mut names: Vec<String> = Vec::new();
        for _ in 0..40 {
            let answer = curl(&a, (address, 80).into(), "/");
            assert_eq!(answer["peer"].as_str().unwrap().parse::<SocketAddr>().unwrap().ip(), client);
            names.push(answer["name"].as_str().unwrap().to_owned());
        }
        names.sort();
        names.dedup();
        assert_eq!(names, ["b", "c"], "random choice takes both in 40 calls");
    }
    // A pod behind a service can call it and reach itself.
    lab.expose(&service.endpoint(&a)).unwrap();
    assert_eq!(curl(&a, (V4, 80).into(), "/")["name"], "a");
    assert_eq!(curl(&a, (v6(), 80).into(), "/")["name"], "a");
    // The node and the outside use it too.
    assert_eq!(curl(lab.on_node(), (V4, 80).into(), "/")["name"], "a");
    assert_eq!(curl(lab.on_node(), (v6(), 80).into(), "/")["name"], "a");
    assert_eq!(curl(lab.outside(), (V4, 80).into(), "/")["name"], "a");
}

#[test]
fn replacing_endpoints_keeps_established_connections_and_removing_refuses() {
    let lab = lab("replace");
    let (a, b, c) = (lab.pod("a").unwrap(), lab.pod("b").unwrap(), lab.pod("c").unwrap());
    let _servers = [http(&b), http(&c)];
    lab.cluster_ip(&[V4, v6()], 80, &[(b.v4.into(), 8080), (b.v6.into(), 8080)]).unwrap();
    let mut old = interceptor_tests::http::Connection::new(a.connect((V4, 80).into()).unwrap());
    lab.cluster_ip(&[V4, v6()], 80, &[(c.v4.into(), 8080), (c.v6.into(), 8080)]).unwrap();
    assert_eq!(curl(&a, (V4, 80).into(), "/")["name"], "c");
    assert_eq!(curl(&a, (v6(), 80).into(), "/")["name"], "c");
    old.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(String::from_utf8(old.response("GET").unwrap().body).unwrap().contains("\"b\""));
    lab.remove_cluster_ip(&[V4, v6()], 80).unwrap();
    for address in [V4, v6(), "10.96.0.99".parse().unwrap(), "fd00:96::99".parse().unwrap()] {
        let start = Instant::now();
        let error = format!("{:#}", a.connect((address, 80).into()).unwrap_err());
        assert!(error.contains("refused"), "{address}: {error}");
        assert!(start.elapsed().as_secs() < 1, "{address} refuses at once");
    }
}

#[test]
fn a_removed_pod_is_unreachable_at_once() {
    let lab = lab("remove");
    let (a, b) = (lab.pod("a").unwrap(), lab.pod("b").unwrap());
    let _server = http(&b);
    curl(&a, b.at(8080), "/");
    b.remove().unwrap();
    assert!(!b.cgroup().exists());
    let start = Instant::now();
    let refused = a.netns().run(|| Ok(TcpStream::connect_timeout(&b.at(8080), LIMIT))).unwrap().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::HostUnreachable);
    assert!(start.elapsed().as_secs() < 1);
}

#[test]
fn a_command_runs_in_its_pods_cgroup_and_namespace() {
    let lab = lab("place");
    let pod = lab.pod("a").unwrap();
    let output = pod.output("sh", ["-c", "grep ^0:: /proc/self/cgroup; ip -br -4 addr show eth0"]).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("/pods/a\n"), "{text}");
    assert!(text.contains(&pod.v4.to_string()), "{text}");
    let output = lab.on_node().output("grep", ["^0::", "/proc/self/cgroup"]).unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().ends_with("/agent\n"));
}
