//! Clients that keep connections: many requests over few of them, to two spaces in turn, one after the other and at
//! once; and bodies that are made and read piece by piece.

use interceptor_tests::{Pod, wait};

use super::servers::{gunicorn, node};
use super::site::{BACKEND, Site, Start};
use super::tools::{node_client, python_client};
use crate::stage::{LIMIT, Stage, vip};

/// A server's copies in both spaces, the agent, and a client that is run in a pod of `default` with the service's URL.
fn called(name: &str, server: Start, client: impl FnOnce(&Pod, &str)) -> Stage {
    let mut site = Site::new(name);
    let caller = site.scene.caller("caller", Some("default"));
    site.deploy("sums", "default", BACKEND, server);
    site.deploy("sums", "azureuser", BACKEND + 1, server);
    let stage = site.scene.start();
    client(&caller, &format!("http://{}", vip(BACKEND)));
    stage
}

/// Every request has its record, half of them for either space, on at most so many connections.
fn expect_records(stage: &Stage, requests: usize, most_connections: usize) {
    let records = stage.wait_flows(requests, |record| record["kind"] == "request");
    let count = |name: &str, value: &str| records.iter().filter(|record| record[name] == value).count();
    assert!(records.iter().all(|record| record["status"] == 200 && record["error"].is_null()));
    assert_eq!((count("space", "azureuser"), count("verdict", "redirected")), (requests / 2, requests / 2));
    assert_eq!((count("space", "default"), count("verdict", "forwarded")), (requests / 2, requests / 2));
    // Theirs come when the agent has seen the client's end.
    let connections = wait::until(LIMIT, "the connections' records", || {
        let connections = stage.agent.flows(&["--last", "100000", "--kind", "connection"])?;
        let counted: u64 = connections.iter().filter_map(|record| record["requests"].as_u64()).sum();
        anyhow::ensure!(counted == requests as u64, "{counted} requests in {connections:?}");
        Ok(connections)
    });
    let count = connections.unwrap().len();
    assert!((1..=most_connections).contains(&count), "{count} connections");
}

#[test]
fn nodes_agent_sends_many_requests_over_four_connections() {
    let stage = called("realnode", node, |caller, url| {
        node_client(caller, &["many", url, "200", "200"]);
    });
    expect_records(&stage, 400, 4);
}

#[test]
fn aiohttp_uploads_in_parallel_over_eight_connections() {
    let stage = called("realaio", gunicorn, |caller, url| {
        python_client(caller, "aiohttp_client.py", &["many", url, "120"]);
    });
    expect_records(&stage, 120, 8);
}

#[test]
fn requests_streams_both_ways_on_one_session() {
    const BLOCKS: u64 = 1024;
    const BLOCK: u64 = 65536;
    let stage = called("realstream", gunicorn, |caller, url| {
        python_client(caller, "requests_client.py", &["stream", url, &BLOCKS.to_string()]);
    });
    let upload = stage.request("/sum");
    let download = stage.request(&format!("/stream/{BLOCKS}"));
    assert_eq!((&upload["status"], &download["status"]), (&200.into(), &200.into()));
    assert!(upload["bytes_in"].as_u64() > Some(BLOCKS * BLOCK), "{upload}");
    assert!(download["bytes_out"].as_u64() > Some(BLOCKS * BLOCK), "{download}");
    assert_eq!(upload["connection"], download["connection"]);
}
