//! HTTP/2 with prior knowledge as curl, nghttp and h2load speak it, with nginx and Envoy as servers.

use std::fs;

use interceptor_tests::Pod;
use interceptor_tests::place::Place;
use serde_json::{Value, json};

use super::servers::{envoy_http2, nginx, nginx_http2};
use super::site::{Site, pattern};
use super::tools::{curl, run};
use crate::stage::{SUFFIX, Stage, vip};

/// The numbers of the services `nginx` and `envoy`; the copy of each has the next one.
const NGINX: u8 = 50;
const ENVOY: u8 = 52;

const ROUTE: &str = "azds-route-as: azureuser";

/// Both servers in both spaces, and who calls them.
fn site(name: &str) -> (Site, Pod) {
    let mut site = Site::new(name);
    let caller = site.scene.caller("caller", Some("default"));
    for (number, space) in [(0, "default"), (1, "azureuser")] {
        site.deploy("nginx", space, NGINX + number, nginx_http2);
        site.deploy("envoy", space, ENVOY + number, envoy_http2);
    }
    (site, caller)
}

fn curl2(from: &Place, args: &[&str]) -> String {
    curl(from, &[&["--http2-prior-knowledge"], args].concat())
}

/// The caller's requests, once there are so many.
fn requests(stage: &Stage, count: usize) -> Vec<Value> {
    stage.wait_flows(count, |record| record["kind"] == "request" && record["workload"] == "caller")
}

#[test]
fn curls_http2_requests_go_to_their_spaces() {
    let (site, caller) = site("h2curl");
    let content = pattern(1_000_000);
    let file = site.write("page.bin", &content);
    let uploads = site.uploads();
    let stage = site.scene.start();
    let out = stage.scene.lab.temp().join("out").display().to_string();
    for (number, server) in [(NGINX, "nginx"), (ENVOY, "envoy")] {
        let url = format!("http://{}/page.bin", vip(number));
        let format = "%{http_version} %{http_code} %header{x-space} %header{x-route}";
        // A connection each: curl 7.88 cannot use one of prior knowledge twice, not even without us.
        for (header, expected) in [("x-none: 1", "2 200 default default"), (ROUTE, "2 200 azureuser azureuser")] {
            assert_eq!(curl2(&caller, &["-H", header, "-o", &out, "-w", format, &url]), expected, "{server}");
        }
        if server == "nginx" {
            assert!(fs::read(&out).unwrap() == content);
        }
    }
    let put = format!("http://{}/upload/x", vip(NGINX));
    let code = curl2(&caller, &["-H", ROUTE, "-T", &file, "-o", &out, "-w", "%{http_code}", &put]);
    assert_eq!(code, "201");
    assert!(fs::read(uploads.join("x")).unwrap() == content);
    let head = curl2(&caller, &["--head", &format!("http://{}/page.bin", vip(NGINX))]);
    assert!(head.starts_with("HTTP/2 200") && head.contains("content-length: 1000000"), "{head}");
    for record in requests(&stage, 6) {
        assert_eq!((&record["protocol"], &record["error"]), (&json!("http2"), &Value::Null), "{record}");
        let redirected = record["space"] == "azureuser";
        assert_eq!(record["verdict"], if redirected { "redirected" } else { "forwarded" }, "{record}");
        assert_eq!(record["injected"], !redirected, "{record}");
    }
}

#[test]
fn an_http2_request_from_outside_gets_the_space_of_its_host_and_its_application_sees_the_client() {
    let mut site = Site::new("h2inbound");
    let pod = site.deploy("nginx", "azureuser", NGINX, nginx_http2);
    site.write("page.txt", b"page");
    let stage = site.scene.start();
    let url = format!("http://{}/page.txt", pod.at(8080));
    let host = format!("Host: azureuser.s.default.nginx.{SUFFIX}");
    let told = curl2(stage.scene.lab.outside(), &["-H", &host, "-w", " %header{x-space} %header{x-route}", &url]);
    assert_eq!(told, "page azureuser azureuser");
    let record = stage.request("/page.txt");
    assert_eq!(
        (&record["direction"], &record["target"]["kind"]),
        (&json!("inbound"), &json!("application")),
        "{record}"
    );
    assert_eq!((&record["injected"], &record["space_from"]), (&json!(true), &json!("host")), "{record}");
}

#[test]
fn nghttp_and_h2load_get_every_answer_from_the_right_copy() {
    let (site, caller) = site("h2load");
    site.write("page.bin", &pattern(20_000));
    let stage = site.scene.start();
    let url = |number| format!("http://{}/page.bin", vip(number));
    // Three requests at once, with priorities and a dependency tree, then their headers.
    let told = run(&caller, &["nghttp", "-v", "-n", "-m", "3", "-H", ROUTE, &url(NGINX)]);
    assert_eq!(told.matches("x-space: azureuser").count(), 3, "{told}");
    assert_eq!(told.matches(":status: 200").count(), 3, "{told}");
    for (number, header, space) in [(NGINX, ROUTE, "azureuser"), (ENVOY, "x-none: 1", "default")] {
        let told = run(&caller, &["h2load", "-n2000", "-c4", "-m50", "-H", header, &url(number)]);
        assert!(told.contains("2000 succeeded, 0 failed, 0 errored, 0 timeout"), "{told}");
        assert!(told.contains("status codes: 2000 2xx"), "{told}");
        let service = if number == NGINX { "nginx.default" } else { "envoy.default" };
        let mine = |record: &Value| record["service"] == service && record["kind"] == "request";
        let count = if number == NGINX { 2003 } else { 2000 };
        let records = stage.wait_flows(count, mine);
        assert!(records.iter().all(|record| record["space"] == space && record["target"]["space"] == space));
    }
}

#[test]
fn a_server_without_http2_is_said_so() {
    let mut site = Site::new("h2none");
    let caller = site.scene.caller("caller", Some("default"));
    site.deploy("old", "default", NGINX, nginx);
    let stage = site.scene.start();
    let told = curl2(&caller, &["-w", "\n%{http_version} %{http_code}", &format!("http://{}/", vip(NGINX))]);
    assert!(told.starts_with("interceptor: ") && told.contains("does not speak HTTP/2"), "{told}");
    assert!(told.ends_with("\n2 502"), "{told}");
    let record = requests(&stage, 1).remove(0);
    assert_eq!((&record["reason"], &record["side"]), (&json!("upstream_not_http2"), &json!("upstream")), "{record}");
}

#[test]
fn an_agent_that_ends_lets_streams_finish_and_tells_clients_to_open_no_more() {
    let (site, caller) = site("h2drain");
    site.write("page.bin", &pattern(3_000_000));
    let mut stage = site.scene.start();
    let out = stage.scene.lab.temp().join("slow").display().to_string();
    let url = format!("http://{}/page.bin", vip(NGINX));
    // About two seconds; the agent is told to end in the middle.
    let args = ["--silent", "--noproxy", "*", "--http2-prior-knowledge", "--limit-rate", "1500k", "-o", &out, &url];
    let mut slow = caller.spawn("curl", args).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(slow.try_wait().unwrap().is_none());
    let status = stage.agent.stop().unwrap();
    assert!(status.success(), "{status}");
    assert!(slow.wait(crate::stage::LIMIT).unwrap().success(), "{}", slow.stderr());
    assert!(fs::read(&out).unwrap() == pattern(3_000_000));
}
