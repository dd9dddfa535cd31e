//! R10: the application sees the real client, the caller sees the destination that it asked for, and the answer comes back
//! as it was given.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use interceptor_tests::place::Place;

use crate::stage::{Client, LIMIT, SUFFIX, Scene, address, bare_service, cluster_ip, dial, vip, vip_v6};

#[test]
fn r10_the_application_sees_the_real_client_from_accept_on() {
    let mut scene = Scene::worked_example("r10in");
    let pod = scene.deploy("serviceA", "azureuser", 10);
    scene.publish(&bare_service("raw", "azureuser", 30).port("", 70, 7000, None).endpoint(&pod));
    let stage = scene.start();
    let outside = stage.scene.lab.outside();
    let host = format!("Host: azureuser.s.default.serviceA.{SUFFIX}");
    let listener = pod.listen("[::]:7000".parse().unwrap()).unwrap();
    for (http, raw) in [(pod.at(8080), pod.at(7000)), (pod.at_v6(8080), pod.at_v6(7000))] {
        let mut client = Client::new(outside, http);
        let own = client.0.stream().local_addr().unwrap();
        for path in ["/1", "/2"] {
            let answer = client.get(path, &[&host]);
            assert_eq!(address(&answer["peer"]), own, "accept()");
            assert_eq!(address(&answer["peer_name"]), own, "getpeername()");
            assert_eq!(address(&answer["local"]), http);
        }
        // Likewise where nothing is parsed.
        let mut client = dial(outside, raw);
        client.write_all(b"\0").unwrap();
        let (mut accepted, peer) = listener.accept().unwrap();
        accepted.set_read_timeout(Some(LIMIT)).unwrap();
        accepted.read_exact(&mut [0]).unwrap();
        let own = client.local_addr().unwrap();
        assert_eq!(canonical(peer), own);
        assert_eq!(canonical(accepted.peer_addr().unwrap()), own);
        assert_eq!(canonical(accepted.local_addr().unwrap()), raw);
    }
    assert_eq!(stage.kernel("inbound", "redirected"), 4, "the agent was in between");
}

#[test]
fn r10_the_caller_sees_its_destination_and_its_own_address() {
    let mut scene = Scene::worked_example("r10out");
    let caller = scene.caller("caller", Some("azureuser"));
    scene.deploy("serviceB", "default", 12);
    let pod = scene.deploy("serviceB", "azureuser", 13);
    let stage = scene.start();
    for (to, own) in [(vip(12), caller.addresses()[0]), (vip_v6(12), caller.addresses()[1])] {
        let mut client = Client::new(&caller, to);
        let answer = client.get("/", &["Host: serviceB"]);
        assert_eq!(answer["name"], "serviceB.azureuser");
        assert_eq!(client.0.stream().peer_addr().unwrap(), to);
        assert_eq!(client.0.stream().local_addr().unwrap().ip(), own);
        // The called one sees the pod, not the agent or the node.
        assert_eq!(address(&answer["peer"]).ip(), own);
        assert!(pod.addresses().contains(&address(&answer["local"]).ip()));
    }
    assert_eq!(stage.kernel("outbound", "redirected"), 2, "the agent was in between");
}

#[test]
fn r10_the_answer_comes_back_as_it_was_given() {
    let mut scene = Scene::worked_example("r10bytes");
    let caller = scene.caller("caller", Some("azureuser"));
    let server = scene.caller("server", Some("default"));
    scene.publish(&bare_service("odd", "default", 30).port("http", 80, 8080, None).endpoint(&server));
    let stage = scene.start();
    let listener = server.listen("[::]:8080".parse().unwrap()).unwrap();
    let answers: [&[u8]; 4] = [
        b"HTTP/1.1 203 Not quite \xc3\xa9\r\nx-B:1\r\nX-a:  2 \r\nSet-Cookie: b\r\nSet-Cookie: a\r\nserver:\r\n\
          Connection: close\r\nContent-Length: 4\r\n\r\n\0\xffok",
        b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
          2;ext=\"x\"\r\nab\r\n003\r\ncde\r\n0\r\nTrailer: t\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 404 No\r\nConnection: close\r\n\r\nnothing",
    ];
    let from: [(&Place, SocketAddr); 2] =
        [(&caller, (cluster_ip(30), 80).into()), (stage.scene.lab.outside(), server.at_v6(8080))];
    for (from, to) in from {
        for answer in answers {
            let mut client = dial(from, to);
            client.write_all(b"GET / HTTP/1.1\r\nHost: odd\r\n\r\n").unwrap();
            // Of a destination that is dialled before the protocol is known, this is the connection that is used.
            let mut accepted = listener.accept().unwrap().0;
            accepted.set_read_timeout(Some(LIMIT)).unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                accepted.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            accepted.write_all(answer).unwrap();
            drop(accepted);
            let mut received = Vec::new();
            client.read_to_end(&mut received).unwrap();
            assert_eq!(String::from_utf8_lossy(&received), String::from_utf8_lossy(answer));
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
