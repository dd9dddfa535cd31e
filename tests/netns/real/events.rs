//! Server-sent events arrive one by one: the client asks for each only when it has the one before.

use serde_json::json;

use super::servers::{nginx_with, node, proxy_location};
use super::site::{BACKEND, Site};
use super::tools::python_client;
use crate::stage::vip;

const EVENTS: &str = "50";

#[test]
fn events_arrive_one_by_one_straight_through_nginx_and_from_outside() {
    let mut site = Site::new("realsse");
    let caller = site.scene.caller("caller", Some("default"));
    let copy = site.scene.caller("copy", Some("azureuser"));
    let shared = site.deploy("events", "default", BACKEND, node);
    site.deploy("events", "azureuser", BACKEND + 1, node);
    let via = proxy_location("/via/", "nginx");
    site.deploy("front", "default", 30, |site, pod, space| nginx_with(site, pod, space, &via));
    let stage = site.scene.start();
    let outside = stage.scene.lab.outside();
    let (straight, front) = (format!("http://{}", vip(BACKEND)), format!("http://{}/via", vip(30)));
    let from_outside = format!("http://{}", shared.at(8080));
    // (who, what the stream is called, where from, records of each request, their space)
    for (from, name, url, records, space) in [
        (&*caller, "straight", &straight, 1, json!("default")),
        (&*copy, "copy", &straight, 1, json!("azureuser")),
        // nginx is a caller in turn, and passes on what it was sent.
        (&*caller, "front", &front, 2, json!("default")),
        // Nobody has named a space.
        (outside, "outside", &from_outside, 1, json!(null)),
    ] {
        python_client(from, "aiohttp_client.py", &["events", url, name, EVENTS]);
        let path = format!("/events/{name}");
        let streams = stage.wait_flows(records, |r| r["path"].as_str().is_some_and(|found| found.ends_with(&path)));
        for record in &streams {
            assert_eq!(record["status"], 200, "{record}");
            assert!(record["error"].is_null(), "{record}");
            assert_eq!(record["space"], space, "{record}");
        }
        let path = format!("/next/{name}");
        let asked = EVENTS.parse::<usize>().unwrap() * records;
        let next = stage.wait_flows(asked, |r| r["path"].as_str().is_some_and(|found| found.ends_with(&path)));
        assert!(next.iter().all(|record| record["status"] == 204), "{next:?}");
    }
}
