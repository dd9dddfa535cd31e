//! Programs that nobody here wrote, as clients and as servers, with the interceptor between them: curl, Python's
//! requests, aiohttp, websockets and gRPC, Node and Java; nginx, Apache, HAProxy, gunicorn, gRPC and Node.
//!
//! Every server answers with `X-Space` (the space that it was deployed to) and `X-Route` (the route header that it
//! saw), so that each test sees both the routing and the injected header from the far end.

mod bulk;
mod curl;
mod events;
mod grpc;
mod health;
mod http2;
mod pools;
mod proxies;
pub(crate) mod servers;
pub(crate) mod site;
pub(crate) mod tools;
mod websocket;

use std::fs;

use interceptor_tests::place::Place;
use serde_json::{Value, json};

use self::servers::{apache, gunicorn, haproxy, nginx, node};
use self::site::{Site, Start, pattern};
use self::tools::{curl_command, node_client, program, python_client, run};
use crate::stage::{Stage, vip};

/// Sends a GET for each space ("-": without the header) on one connection, stores the bodies in `OUT.0` and so on, and
/// gives what came as `status X-Space X-Route`.
type Get = fn(from: &Place, out: &str, url: &str, spaces: &[&str]) -> Vec<String>;

const CLIENTS: [(&str, Get); 4] = [("curl", curl), ("requests", requests), ("aiohttp", aiohttp), ("node", node_http)];
/// HAProxy stands before the first of them.
const SERVERS: [(&str, Start); 5] =
    [("nginx", nginx), ("haproxy", haproxy), ("apache", apache), ("gunicorn", gunicorn), ("node", node)];
/// Whose header a request has, and what is expected of it.
const SPACES: [&str; 3] = ["-", "azureuser", "-"];
const ANSWERS: [&str; 3] = ["200 default default", "200 azureuser azureuser", "200 default default"];
const LENGTH: usize = 300_000;

fn curl(from: &Place, out: &str, url: &str, spaces: &[&str]) -> Vec<String> {
    let mut command: Vec<String> = vec!["curl".to_owned()];
    for (n, space) in spaces.iter().enumerate() {
        let out = format!("{out}.{n}");
        let mut one = curl_command(&["-o", &out, "-w", "%{http_code} %header{x-space} %header{x-route}\n", url]);
        if *space != "-" {
            one.extend(["-H".to_owned(), format!("azds-route-as: {space}")]);
        }
        // Options before `--next` are not those after it.
        command.extend(one.into_iter().skip(1).chain(["--next".to_owned()]));
    }
    command.pop();
    lines(&run(from, &command))
}

fn requests(from: &Place, out: &str, url: &str, spaces: &[&str]) -> Vec<String> {
    lines(&python_client(from, "requests_client.py", &[&["get", out, url], spaces].concat()))
}

fn aiohttp(from: &Place, out: &str, url: &str, spaces: &[&str]) -> Vec<String> {
    lines(&python_client(from, "aiohttp_client.py", &[&["get", out, url], spaces].concat()))
}

fn node_http(from: &Place, out: &str, url: &str, spaces: &[&str]) -> Vec<String> {
    lines(&node_client(from, &[&["get", out, url], spaces].concat()))
}

/// The default client of Java tries to upgrade every first request to HTTP/2 (h2c), which no server here wants.
fn java(from: &Place, out: &str, url: &str, spaces: &[&str]) -> Vec<String> {
    let program = program("Client.java");
    // Small and quick to start: it runs beside others.
    let java = ["java", "-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", &program, out, url];
    lines(&run(from, &[&java, spaces].concat()))
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// Each client calls each server, which has a copy in both spaces.
fn all_call_all(name: &str, clients: &[(&str, Get)], servers: &[(&str, Start)]) {
    let mut site = Site::new(name);
    let caller = site.scene.caller("caller", Some("default"));
    for (client, _) in clients {
        site.write(&format!("{client}.bin"), &pattern(LENGTH));
    }
    let numbered: Vec<_> = (site::BACKEND..).step_by(2).zip(servers).collect();
    for (number, (server, start)) in &numbered {
        site.deploy(server, "default", *number, *start);
        site.deploy(server, "azureuser", number + 1, *start);
    }
    let stage = site.scene.start();
    for (number, (server, _)) in &numbered {
        for (client, get) in clients {
            let url = format!("http://{}/{client}.bin", vip(*number));
            let out = stage.scene.lab.temp().join(format!("{client}-{server}")).display().to_string();
            assert_eq!(get(&caller, &out, &url, &SPACES), ANSWERS, "{client} and {server}");
            for n in 0..SPACES.len() {
                assert!(fs::read(format!("{out}.{n}")).unwrap() == pattern(LENGTH), "{n} of {client} and {server}");
            }
            expect_records(&stage, server, client);
        }
    }
}

/// Exactly the three requests and the one connection of `all_call_all` were recorded.
fn expect_records(stage: &Stage, server: &str, client: &str) {
    let (service, path) = (format!("{server}.default"), format!("/{client}.bin"));
    let of_pair = |record: &Value| record["workload"] == "caller" && record["service"] == *service;
    let records = stage.wait_flows(SPACES.len(), |record| of_pair(record) && record["path"] == *path);
    for (record, (space, verdict)) in
        records.iter().zip([("default", "forwarded"), ("azureuser", "redirected"), ("default", "forwarded")])
    {
        assert_eq!(record["status"], 200, "{record}");
        assert_eq!(record["method"], "GET", "{record}");
        assert_eq!(record["protocol"], "http1", "{record}");
        assert_eq!((&record["space"], &record["verdict"]), (&json!(space), &json!(verdict)), "{record}");
        assert_eq!(record["injected"], space == "default", "{record}");
        assert!(record["bytes_out"].as_u64() >= Some(LENGTH as u64), "{record}");
        assert_eq!(record["connection"], records[0]["connection"], "{record}");
    }
    let id = &records[0]["connection"];
    let connection = stage.wait_flows(1, |record| record["kind"] == "connection" && record["id"] == *id).remove(0);
    assert_eq!(connection["requests"], SPACES.len(), "{connection}");
    assert_eq!(connection["error"], Value::Null, "{connection}");
}

#[test]
fn every_client_gets_what_it_asks_every_server_for_in_the_space_that_it_names() {
    all_call_all("real", &CLIENTS, &SERVERS);
}

#[test]
fn javas_client_gets_what_it_asks_every_server_for_in_the_space_that_it_names() {
    all_call_all("realjava", &[("java", java)], &SERVERS);
}
