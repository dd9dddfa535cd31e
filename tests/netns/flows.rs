//! Flow records: exactly one per connection and one per request, with what happened in them, within a bound.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use interceptor_tests::{Process, wait};
use nix::sys::signal::Signal;
use nix::sys::socket::{setsockopt, sockopt};
use serde_json::{Value, json};

use crate::stage::{Client, LIMIT, Scene, Stage, ask, bare_service, chain, cluster_ip, dial, get, vip};

/// Ends a connection as a crash does.
fn reset(stream: TcpStream) {
    setsockopt(&stream, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 }).unwrap();
    drop(stream);
}

/// Accepts and reads a request's head, which is answered by nobody.
fn swallow(listener: &TcpListener) -> TcpStream {
    let mut stream = listener.accept().unwrap().0;
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    stream
}

#[test]
fn there_is_exactly_one_record_per_connection_and_per_request() {
    let mut scene = Scene::worked_example("flows");
    let caller = scene.caller("caller", Some("azureuser"));
    let pod = scene.deploy("serviceB", "default", 12);
    let echo = scene.program("echo", 7000, &["echo", "--listen", "[::]:7000"]);
    let silent = scene.lab.pod("silent").unwrap();
    scene.publish(&bare_service("echo", "default", 30).port("a", 80, 7000, None).endpoint(&echo));
    scene.publish(&bare_service("silent", "default", 31).port("http", 80, 8080, None).endpoint(&silent));
    scene.publish(&bare_service("nobody", "default", 32).port("a", 80, 9, None).endpoint(&silent));
    let listener = silent.listen("[::]:8080".parse().unwrap()).unwrap();
    let stage = scene.start();
    let http = |to: SocketAddr, requests: usize| {
        let mut client = Client::new(&caller, to);
        (0..requests).for_each(|_| drop(client.get("/", &["Host: x"])));
        requests
    };
    let mut requests = 0;
    for n in 0..200 {
        requests += match n % 10 {
            0 => http(vip(12), 1),
            1 => http(vip(12), 3),
            2 => {
                let mut client = Client::new(stage.scene.lab.outside(), pod.at(8080));
                (0..2).for_each(|_| drop(client.get("/", &["Host: x"])));
                2
            }
            3 | 4 => {
                let mut client = dial(&caller, vip(30));
                client.write_all(b"ping\n").unwrap();
                client.read_exact(&mut [0; 5]).unwrap();
                // Ended in order, or not.
                if n % 10 == 3 {
                    client.shutdown(Shutdown::Both).unwrap()
                } else {
                    reset(client)
                }
                0
            }
            5 => {
                drop(dial(&caller, vip(12)));
                0
            }
            6 => {
                let mut client = dial(&caller, vip(12));
                client.write_all(b"GET / HTTP/1.1\r\nHo").unwrap();
                reset(client);
                0
            }
            7 => {
                let mut client = dial(&caller, vip(31));
                client.write_all(get("/", &["Host: x"]).as_bytes()).unwrap();
                let server = swallow(&listener);
                if n % 20 == 7 {
                    reset(client)
                } else {
                    reset(server)
                }
                1
            }
            8 => {
                let answer = Client::new(&caller, vip(32)).raw("/", &["Host: x"]);
                assert_eq!(answer.status().unwrap(), 502);
                1
            }
            _ => {
                let answer = Client::new(&caller, vip(12)).raw("/", &["Host: x", "Content-Length: x"]);
                assert_eq!(answer.status().unwrap(), 400);
                1
            }
        };
    }
    let connections = stage.wait_flows(200, |record| record["kind"] == "connection");
    let of_requests = stage.flows(&["--kind", "request"]);
    assert_eq!(of_requests.len(), requests);
    assert_eq!(stage.agent.status().unwrap()["flows"]["published"], 200 + requests);
    let ids = |records: &[Value]| records.iter().map(|r| r["id"].as_u64().unwrap()).collect::<BTreeSet<_>>();
    assert_eq!((ids(&connections).len(), ids(&of_requests).len()), (200, requests));
    // Every request belongs to a connection, which counts it.
    let mut counted: BTreeMap<u64, u64> = BTreeMap::new();
    for request in &of_requests {
        *counted.entry(request["connection"].as_u64().unwrap()).or_default() += 1;
    }
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for connection in &connections {
        let id = connection["id"].as_u64().unwrap();
        // What was refused before it was read is a record, but no request that the connection carried.
        let carried = connection["requests"].as_u64().unwrap();
        let told = counted.get(&id).copied().unwrap_or(0);
        assert!(carried == told || connection["verdict"] != "forwarded" && carried <= told, "{connection}");
        *reasons.entry(connection["reason"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(reasons.get("upstream_refused"), Some(&20), "{reasons:?}");
    assert_eq!(reasons.get("bad_request"), Some(&20), "{reasons:?}");
    assert!(!reasons.contains_key("agent_abandoned"), "{reasons:?}");
}

#[test]
fn records_say_what_was_sent_and_received_and_how_long_it_took() {
    let mut scene = Scene::worked_example("record");
    let caller = scene.caller("serviceA-azureuser", Some("azureuser"));
    scene.deploy("serviceB", "default", 12);
    let stage = scene.start();
    let sent = get("/path?secret=1", &["Host: serviceB", "azds-route-as: azureuser", "Connection: close"]);
    let mut client = dial(&caller, vip(12));
    let client_address = client.local_addr().unwrap();
    client.write_all(sent.as_bytes()).unwrap();
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    drop(client);
    let connection = stage.wait_flows(1, |record| record["kind"] == "connection").remove(0);
    let request = stage.request("/path");
    for record in [&request, &connection] {
        assert_eq!(record["workload"], "serviceA-azureuser");
        assert_eq!(record["direction"], "outbound");
        assert_eq!(record["client"], client_address.to_string());
        assert_eq!(record["original_destination"], "10.96.0.12:80");
        assert_eq!(record["service"], "serviceB.default");
        assert_eq!(record["protocol"], "http1");
        assert_eq!(record["protocol_from"], "client_bytes");
        assert_eq!(record["bytes_in"], sent.len());
        assert_eq!(record["bytes_out"], received.len());
        assert_eq!(record["verdict"], "forwarded");
        assert_eq!(record["error"], Value::Null);
        assert!(record["time"].as_str().unwrap().ends_with('Z'), "{record}");
    }
    assert_eq!(request["connection"], connection["id"]);
    assert_eq!(request["method"], "GET");
    assert_eq!(request["host"], "serviceB");
    assert_eq!(request["status"], 200);
    assert_eq!(request["route_header"], json!({ "name": "azds-route-as", "value": "azureuser" }));
    assert_eq!(request["injected"], false);
    assert_eq!((&request["space"], &request["space_from"]), (&json!("azureuser"), &json!("header")));
    assert_eq!(chain(&request), ["azureuser=no_service", "default=taken"]);
    assert_eq!((&request["reason"], &request["route_reason"]), (&json!("same_space"), &json!("same_space")));
    let target = json!({ "kind": "original", "address": "10.96.0.12:80", "service": "serviceB", "space": "default" });
    assert_eq!(request["target"], target);
    let micros = |record: &Value, name: &str| record[name].as_u64().unwrap_or_else(|| panic!("{name} in {record}"));
    let (first, whole) = (micros(&request, "first_byte_us"), micros(&request, "duration_us"));
    assert!(0 < first && first <= whole && whole <= micros(&connection, "duration_us"), "{request} {connection}");
    assert_eq!(connection["requests"], 1);
    let kernel = &connection["kernel"];
    // The kernel counts the acknowledged SYN and FIN as a byte each.
    let near = |count: u64, bytes: usize| (bytes as u64..=bytes as u64 + 2).contains(&count);
    assert!(near(micros(kernel, "bytes_sent"), sent.len()), "{kernel}");
    assert!(near(micros(kernel, "bytes_received"), received.len()), "{kernel}");
    assert!(micros(kernel, "srtt_us") > 0);
    assert_eq!(kernel["retransmits"], 0);
}

#[test]
fn the_records_are_bounded_and_a_slow_follower_is_told_what_it_lost() {
    let mut scene = Scene::worked_example("bound");
    scene.config.set("flows", "capacity", 16);
    let caller = scene.caller("caller", Some("azureuser"));
    scene.deploy("serviceB", "default", 12);
    let stage = scene.start();
    let mut client = Client::new(&caller, vip(12));
    let mut send = |count: usize| (0..count).for_each(|n| drop(client.get(&format!("/{n}"), &["Host: x"])));
    send(30);
    let status = &stage.agent.status().unwrap()["flows"];
    assert_eq!(*status, json!({ "kept": 16, "capacity": 16, "published": 30, "lost": 0 }));
    let paths: Vec<String> = stage.flows(&[]).iter().map(|r| r["path"].to_string()).collect();
    let latest: Vec<String> = (14..30).map(|n| format!("\"/{n}\"")).collect();
    assert_eq!(paths, latest, "the latest, oldest first");
    // A follower that does not read, until the sockets between are full.
    let mut follower = follow(&stage, &[]);
    wait::until(LIMIT, "the follower's first record", || {
        send(1);
        anyhow::ensure!(!follower.stdout().is_empty(), "nothing");
        Ok(())
    })
    .unwrap();
    follower.signal(Signal::SIGSTOP).unwrap();
    wait::until(LIMIT, "records to get lost", || {
        send(100);
        let lost = stage.agent.status()?["flows"]["lost"].as_u64();
        anyhow::ensure!(lost > Some(0), "{lost:?}");
        Ok(())
    })
    .ok();
    follower.signal(Signal::SIGCONT).unwrap();
    let line = wait::until(LIMIT, "the line that tells of it", || {
        let text = follower.stdout();
        let line = text.lines().find(|line| line.contains("\"lost\""));
        line.map(str::to_owned).ok_or_else(|| anyhow::anyhow!("{} bytes", text.len()))
    });
    let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
    assert_eq!(line["kind"], "lost");
    assert!(line["count"].as_u64() > Some(0), "{line}");
    assert!(stage.agent.status().unwrap()["flows"]["lost"].as_u64() > Some(0));
}

#[test]
fn filters_leave_out_what_does_not_match() {
    let mut scene = Scene::worked_example("filter");
    let (a, b) = (scene.caller("a", Some("azureuser")), scene.caller("b", Some("default")));
    scene.deploy("serviceB", "default", 12);
    scene.deploy("serviceB", "azureuser", 13);
    let echo = scene.program("echo", 7000, &["echo", "--listen", "[::]:7000"]);
    scene.publish(&bare_service("echo", "default", 30).port("a", 80, 7000, None).endpoint(&echo));
    scene.publish(&bare_service("nobody", "default", 32).port("a", 80, 9, None).endpoint(&echo));
    let stage = scene.start();
    ask(&a, vip(12), "/a", &["Host: x"]);
    ask(&b, vip(12), "/b", &["Host: x"]);
    Client::new(&b, vip(32)).raw("/refused", &["Host: x"]);
    let mut client = dial(&b, (cluster_ip(30), 80).into());
    client.write_all(b"\0").unwrap();
    drop(client);
    stage.wait_flows(7, |_| true);
    let count = |filters: &[&str]| stage.flows(filters).len();
    for (filters, expected) in [
        (&["--kind", "request"][..], 3),
        (&["--kind", "connection"], 4),
        (&["--workload", "a"], 2),
        (&["--workload", "nobody"], 0),
        (&["--space", "azureuser", "--kind", "request"], 1),
        (&["--service", "serviceB", "--kind", "request"], 2),
        (&["--service", "serviceB.azureuser", "--kind", "request"], 1),
        (&["--verdict", "redirected", "--kind", "request"], 1),
        (&["--verdict", "error", "--kind", "request"], 1),
        (&["--status", "200"], 2),
        (&["--status", "5xx"], 1),
        (&["--protocol", "opaque"], 1),
        (&["--protocol", "http1", "--kind", "connection"], 3),
    ] {
        assert_eq!(count(filters), expected, "{filters:?}");
    }
    let last = stage.agent.flows(&["--last", "2"]).unwrap();
    assert_eq!(last, stage.flows(&[])[5..]);
    for wrong in [&["--verdict", "maybe"], &["--status", "9"], &["--kind", "flow"]] {
        let output = stage.agent.cli(&[&["flows"], &wrong[..]].concat()).unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(wrong[1]));
    }
}

/// `interceptor flows -f -o json` with these filters.
fn follow(stage: &Stage, filters: &[&str]) -> Process {
    let socket = stage.agent.socket().display().to_string();
    let args = [&["--admin-socket", &socket, "flows", "-f", "-o", "json"], filters].concat();
    stage.scene.lab.on_node().spawn(stage.agent.binary(), args).unwrap()
}

#[test]
fn following_shows_new_records_in_order_until_the_agent_ends() {
    let mut scene = Scene::worked_example("follow");
    let caller = scene.caller("caller", Some("azureuser"));
    scene.deploy("serviceB", "default", 12);
    let mut stage = scene.start();
    let mut client = Client::new(&caller, vip(12));
    client.get("/old", &["Host: x"]);
    stage.request("/old");
    let mut follower = follow(&stage, &["--kind", "request"]);
    wait::until(LIMIT, "the follower's first record", || {
        client.get("/first", &["Host: x"]);
        anyhow::ensure!(follower.stdout().contains("/first"), "nothing");
        Ok(())
    })
    .unwrap();
    let expected: Vec<String> = (0..20).map(|n| format!("/new{n}")).collect();
    expected.iter().for_each(|path| drop(client.get(path, &["Host: x"])));
    let path = |line: &str| serde_json::from_str::<Value>(line).unwrap()["path"].as_str().unwrap().to_owned();
    let lines = wait::until(LIMIT, "the new records", || {
        let text = follower.stdout();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        anyhow::ensure!(text.contains("/new19") && text.ends_with('\n'), "{} lines", lines.len());
        Ok(lines)
    });
    let paths: Vec<String> = lines.unwrap().iter().map(|line| path(line)).collect();
    let new: Vec<String> = paths.iter().filter(|path| *path != "/first").cloned().collect();
    assert_eq!(new, expected, "in order, without what was there before");
    stage.agent.stop().unwrap();
    assert_eq!(follower.wait(LIMIT).unwrap().code(), Some(1));
    assert!(follower.stderr().contains("ended"), "{}", follower.stderr());
}
