//! WebSocket with the package of that name: the upgrade is routed like any request, then frames pass as they are.

use serde_json::Value;

use super::servers::{nginx_with, proxy_location, websockets};
use super::site::{BACKEND, Site};
use super::tools::python_client;
use crate::stage::vip;

#[test]
fn websockets_are_routed_by_their_upgrade_straight_through_nginx_and_from_outside() {
    let mut site = Site::new("realws");
    let caller = site.scene.caller("caller", Some("default"));
    let shared = site.deploy("chat", "default", BACKEND, websockets);
    site.deploy("chat", "azureuser", BACKEND + 1, websockets);
    let via = proxy_location("/via/", "nginx");
    site.deploy("front", "default", 30, |site, pod, space| nginx_with(site, pod, space, &via));
    let stage = site.scene.start();
    let outside = stage.scene.lab.outside();
    let (straight, front) = (format!("ws://{}", vip(BACKEND)), format!("ws://{}/via", vip(30)));
    let from_outside = format!("ws://{}", shared.at(8080));
    // (who, where to, with which header, what the server says first, records)
    for (n, (from, url, space, first, records)) in [
        (&*caller, &straight, "-", "default default", 1),
        (&*caller, &straight, "azureuser", "azureuser azureuser", 1),
        (&*caller, &front, "-", "default default", 2),
        (&*caller, &front, "azureuser", "azureuser azureuser", 2),
        (outside, &from_outside, "azureuser", "azureuser azureuser", 1),
    ]
    .into_iter()
    .enumerate()
    {
        let said = python_client(from, "websocket.py", &["call", &format!("{url}/{n}"), space]);
        assert_eq!(said, format!("{first}\nclosed\n"), "{url} {space}");
        let path = format!("/{n}");
        let upgrades = stage.wait_flows(records, |r| r["path"].as_str().is_some_and(|found| found.ends_with(&path)));
        for record in &upgrades {
            assert_eq!(record["status"], 101, "{record}");
            assert_eq!(record["error"], Value::Null, "{record}");
            let id = &record["connection"];
            let connection = stage.wait_flows(1, |r| r["kind"] == "connection" && r["id"] == *id).remove(0);
            // 3 MiB that cannot be compressed, both ways.
            assert!(connection["bytes_in"].as_u64() > Some(3 << 20), "{connection}");
            assert!(connection["bytes_out"].as_u64() > Some(3 << 20), "{connection}");
            assert_eq!(connection["error"], Value::Null, "{connection}");
        }
    }
}
