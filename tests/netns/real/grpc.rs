//! gRPC as Python's and Node's libraries speak it: every kind of call, a thousand at once in two spaces over one
//! connection, deadlines, cancellations, and what a client is told where its upstream is not there.

use std::collections::BTreeMap;

use interceptor_tests::{Pod, Process};
use serde_json::{Value, json};

use super::site::Site;
use super::tools::{node_grpc, program, python, python_client};
use crate::stage::{Stage, http_service, vip};

/// The number of the service `echo`.
const ECHO: u8 = 40;

/// grpcio's server.
fn server(_: &Site, pod: &Pod, space: &str) -> Process {
    let command = [python(&[]), vec![program("grpc_server.py"), space.to_owned()]].concat();
    pod.spawn(&command[0], &command[1..]).unwrap()
}

/// `echo` in both spaces, and who calls it from `default`.
fn stage(name: &str) -> (Stage, Pod) {
    let mut site = Site::new(name);
    let caller = site.scene.caller("caller", Some("default"));
    site.deploy("echo", "default", ECHO, server);
    site.deploy("echo", "azureuser", ECHO + 1, server);
    (site.scene.start(), caller)
}

fn grpc(from: &Pod, args: &[&str]) -> String {
    let target = vip(ECHO).to_string();
    python_client(from, "grpc_client.py", &[&[&*target], args].concat())
}

/// What the records of the caller's requests say, and how many say so: verdict, space, gRPC status, reason.
fn outcomes(stage: &Stage, count: usize) -> BTreeMap<String, usize> {
    let records = stage.wait_flows(count, |record| record["kind"] == "request" && record["workload"] == "caller");
    let mut outcomes = BTreeMap::new();
    for record in records {
        assert_eq!(record["protocol"], "http2", "{record}");
        let words = ["verdict", "space", "grpc_status", "reason"].map(|name| record[name].to_string());
        *outcomes.entry(words.join(" ").replace('"', "")).or_default() += 1;
    }
    outcomes
}

/// The one connection of the caller.
fn connection(stage: &Stage) -> Value {
    stage.wait_flows(1, |record| record["kind"] == "connection" && record["workload"] == "caller").remove(0)
}

#[test]
fn every_kind_of_grpc_call_goes_to_its_space_and_comes_back_whole() {
    let (stage, caller) = stage("grpckinds");
    grpc(&caller, &["kinds"]);
    let expected = [
        ("forwarded default 0 same_space", 8),
        ("forwarded default 5 same_space", 2),
        ("redirected azureuser 0 routed", 4),
        ("redirected azureuser 5 routed", 1),
    ];
    assert_eq!(outcomes(&stage, 15), expected.map(|(words, count)| (words.to_owned(), count)).into());
    let connection = connection(&stage);
    assert_eq!((&connection["protocol"], &connection["requests"]), (&json!("http2"), &json!(15)), "{connection}");
    assert_eq!(connection["error"], Value::Null, "{connection}");
    let unary = stage.wait_flows(3, |r| r["path"] == "/test.Test/Unary" && r["workload"] == "caller");
    assert_eq!(unary.iter().filter(|record| record["injected"] == true).count(), 1, "{unary:?}");
    assert!(unary.iter().all(|record| record["method"] == "POST" && record["status"] == 200));
}

#[test]
fn a_thousand_calls_at_once_over_one_connection_each_get_the_answer_of_their_space() {
    let (stage, caller) = stage("grpcmany");
    grpc(&caller, &["many", "1000"]);
    let expected = [("forwarded default 0 same_space", 500), ("redirected azureuser 0 routed", 500)];
    assert_eq!(outcomes(&stage, 1000), expected.map(|(words, count)| (words.to_owned(), count)).into());
    assert_eq!(connection(&stage)["requests"], 1000);
}

#[test]
fn deadlines_and_cancellations_reach_the_server_that_the_call_went_to() {
    let (stage, caller) = stage("grpcends");
    let logs = grpc(&caller, &["ends"]);
    assert_eq!(logs.lines().collect::<Vec<_>>(), ["cancelled deadline", ""]);
    let slept = stage.wait_flows(2, |r| r["path"] == "/test.Test/Sleep" && r["workload"] == "caller");
    let (reset, answered): (Vec<_>, Vec<_>) = slept.into_iter().partition(|record| record["reason"] == "client_reset");
    for record in &reset {
        assert_eq!((&record["verdict"], &record["side"]), (&json!("error"), &json!("downstream")), "{record}");
    }
    // The server knows the deadline, too: it may answer DEADLINE_EXCEEDED before the client leaves the stream.
    assert!(answered.len() <= 1 && answered.iter().all(|record| record["grpc_status"] == 4), "{answered:?}");
}

#[test]
fn a_call_that_cannot_be_passed_on_is_unavailable_and_says_why() {
    let mut site = Site::new("grpcrefused");
    let caller = site.scene.caller("caller", Some("default"));
    site.deploy("echo", "default", ECHO, server);
    // A copy in which nothing listens.
    let dead = site.scene.caller("dead", Some("azureuser"));
    site.scene.publish(&http_service("echo", "azureuser", ECHO + 1).endpoint(&dead));
    let stage = site.scene.start();
    let told = grpc(&caller, &["refused"]);
    // Both its addresses are tried, and the last one is told.
    let last = [dead.at(8080), dead.at_v6(8080)]
        .map(|at| format!("UNAVAILABLE interceptor: connecting to {at}: connection refused"));
    let told: Vec<&str> = told.lines().collect();
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|line| last.iter().any(|last| last == line)), "{told:?}");
    let outcomes = outcomes(&stage, 3);
    assert_eq!(outcomes["error azureuser 14 upstream_refused"], 2, "{outcomes:?}");
}

#[test]
fn a_stream_of_a_gibibyte_takes_no_more_memory_than_its_windows() {
    let (mut stage, caller) = stage("grpclarge");
    grpc(&caller, &["large", "8"]);
    let before = resident(&mut stage);
    grpc(&caller, &["large", "1024"]);
    let grown = resident(&mut stage).saturating_sub(before);
    assert!(grown < 16 << 20, "{} KiB more than before", grown >> 10);
    let records = stage.wait_flows(4, |record| record["kind"] == "request" && record["workload"] == "caller");
    let moved: u64 = records.iter().map(|r| r["bytes_in"].as_u64().unwrap() + r["bytes_out"].as_u64().unwrap()).sum();
    assert!(moved > 2 << 30, "{moved} bytes were seen");
}

#[test]
fn an_idle_connection_and_an_open_stream_cost_what_the_documents_say() {
    let (mut stage, caller) = stage("grpcidle");
    let mut peak = |args: &[&str]| {
        // The most so far was when the hooks were loaded: proc(5), clear_refs.
        std::fs::write(format!("/proc/{}/clear_refs", stage.agent.process().pid()), "5").unwrap();
        grpc(&caller, args);
        resident(&mut stage)
    };
    let few = peak(&["many", "2"]);
    let stream = peak(&["many", "1000"]).saturating_sub(few) / 998;
    let some = peak(&["idle", "100"]);
    let connection = peak(&["idle", "500"]).saturating_sub(some) / 400;
    println!("{stream} bytes an open stream, {connection} bytes an idle connection with its upstream");
    // Twice what docs/performance.md says: the allocator keeps what it once had.
    assert!(stream < 8 << 10 && connection < 112 << 10, "{stream} {connection}");
}

/// The most memory that the agent has had, bytes.
fn resident(stage: &mut Stage) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", stage.agent.process().pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

#[test]
fn nodes_grpc_client_reaches_both_spaces_over_one_connection() {
    let (stage, caller) = stage("grpcnode");
    let target = vip(ECHO).to_string();
    let answers = node_grpc(&caller, &["grpc_client.js", &target]);
    assert_eq!(
        answers.lines().collect::<Vec<_>>(),
        ["default default one", "azureuser azureuser two", "default default 3", "azureuser azureuser 5", "NOT_FOUND"]
    );
    assert_eq!(connection(&stage)["requests"], 5);
}
