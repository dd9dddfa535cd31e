//! Proxies behind the interceptor, which are callers in turn: nginx and HAProxy in `default` before a service with a
//! copy in `azureuser`. The header that was injected on the way in leads to the copy.

use interceptor_tests::place::Place;
use serde_json::{Value, json};

use super::servers::{gunicorn, haproxy, nginx_with, proxy_location};
use super::site::{BACKEND, Site, pattern};
use super::tools::{curl, shell};
use crate::stage::{SUFFIX, Stage, vip};

/// Uploads a file through a proxy; what came back is its checksum and (from `header`) whose copy answered.
fn upload(from: &Place, url: &str, header: &str, more: &[&str], file: &str) -> (String, String) {
    let (data, format) = (format!("@{file}"), format!("%header{{{header}}}"));
    let args = [&["--data-binary", &data, "-w", &format, url], more].concat();
    let answer = curl(from, &args);
    let (sum, space) = answer.split_once('\n').unwrap();
    (sum.to_owned(), space.to_owned())
}

/// The two records of a request through a proxy: the caller's and the proxy's.
fn hops(stage: &Stage, path: &str, front: &str) -> (Value, Value) {
    let both = stage.wait_flows(2, |record| record["path"].as_str().is_some_and(|found| found.ends_with(path)));
    let (own, first): (Vec<Value>, Vec<Value>) =
        both.into_iter().partition(|record| record["workload"] == front && record["direction"] == "outbound");
    (first.into_iter().next().unwrap(), own.into_iter().next().unwrap())
}

#[test]
fn a_space_named_on_the_way_in_leads_through_nginx_and_haproxy_to_its_copy() {
    let mut site = Site::new("realproxy");
    let caller = site.scene.caller("caller", Some("default"));
    let file = site.write("page.bin", &pattern(2_000_000));
    site.deploy("sums", "default", BACKEND, gunicorn);
    site.deploy("sums", "azureuser", BACKEND + 1, gunicorn);
    let location = proxy_location("/", "nginx");
    let fronts = [
        (
            "nginx",
            "x-space",
            site.deploy("nginx", "default", 30, |site, pod, space| nginx_with(site, pod, space, &location)),
        ),
        ("haproxy", "x-backend", site.deploy("haproxy", "default", 32, haproxy)),
    ];
    let stage = site.scene.start();
    let sum = shell(&caller, "sha256sum < \"$1\" | cut -d' ' -f1", &[&file]);
    let expected = format!("POST 2000000 {}", sum.trim());
    let route = "azds-route-as: azureuser";
    for (number, (front, header, pod)) in [30, 32].into_iter().zip(&fronts) {
        let workload = format!("{front}.default");
        let (inside, from_outside) = (format!("http://{}", vip(number)), format!("http://{}", pod.at(8080)));
        let host = |space: &str| format!("Host: {space}s.default.{front}.{SUFFIX}");
        let (shared, copy) = (host("").replace("s.default", "default"), host("azureuser."));
        // (who, where to, with which header line, whose copy of the backend answers)
        for (n, (from, base, line, space)) in [
            (&*caller, &inside, "X-None: 1", "default"),
            (&*caller, &inside, route, "azureuser"),
            (stage.scene.lab.outside(), &from_outside, &*copy, "azureuser"),
            (stage.scene.lab.outside(), &from_outside, &*shared, "default"),
        ]
        .into_iter()
        .enumerate()
        {
            // The path tells the requests from each other; the servers take it for a query.
            let path = format!("/sum/{front}/{n}");
            let answer = upload(from, &format!("{base}{path}"), header, &["-H", line], &file);
            assert_eq!(answer, (expected.clone(), space.to_owned()), "{line} to {base}");
            let (first, second) = hops(&stage, &path, &workload);
            for record in [&first, &second] {
                assert_eq!(record["status"], 200, "{record}");
                assert_eq!(record["error"], Value::Null, "{record}");
                assert!(record["bytes_in"].as_u64() > Some(2_000_000), "{record}");
            }
            // The first hop adds the header where there is none, the proxy's own request has it already.
            assert_eq!(first["injected"], line != route, "{first}");
            assert_eq!(first["direction"], if base == &inside { "outbound" } else { "inbound" }, "{first}");
            assert_eq!(second["route_header"], json!({ "name": "azds-route-as", "value": space }), "{second}");
            assert_eq!(second["injected"], false, "{second}");
            assert_eq!(second["verdict"], if space == "default" { "forwarded" } else { "redirected" }, "{second}");
        }
    }
    // HAProxy answers this by itself: no second request.
    assert_eq!(curl(&caller, &[&format!("http://{}/static", vip(32))]), "haproxy default");
    assert_eq!(stage.request("/static")["status"], 200);
}
