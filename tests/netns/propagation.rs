//! Propagation: requests that find their space again though their application did not pass it on, with the real agent and
//! real instrumented applications (OpenTelemetry for Python and Node) whose own code forwards nothing.
//!
//! `front.default` is called from outside and calls `back`, of which `default` and `azureuser` have a copy.

mod apps;
mod edge;
mod flight;
mod instrumented;

use interceptor_tests::place::Place;
use interceptor_tests::{Pod, Process};
use serde_json::Value;

use crate::stage::{Client, SUFFIX, Scene, Stage, http_service, json, vip};

/// The number of `back` in `default`.
const BACK: u8 = 30;
/// The number of the first service in the way.
const FRONT: u8 = 10;

/// Starts an application in a pod that calls this URL and tells what both saw.
type Start = fn(&Scene, &Pod, &str) -> Process;

/// `back` in both spaces.
fn scene(name: &str) -> Scene {
    let mut scene = Scene::worked_example(name);
    scene.deploy("back", "default", BACK);
    scene.deploy("back", "azureuser", BACK + 1);
    scene
}

/// Deploys `service.default`, which calls that number's service.
fn deploy(scene: &mut Scene, service: &str, number: u8, start: Start, calls: u8) -> Pod {
    let pod = scene.lab.pod(&format!("{service}.default")).unwrap();
    let process = start(scene, &pod, &format!("http://{}", vip(calls)));
    scene.keep(&pod, 8080, process);
    scene.config.workload(&pod, Some("default"));
    scene.publish(&http_service(service, "default", number).endpoint(&pod));
    pod
}

/// The Host that names a space to the ingress.
fn host(space: &str, service: &str) -> String {
    match space {
        "default" => format!("Host: default.{service}.{SUFFIX}"),
        space => format!("Host: {space}.s.default.{service}.{SUFFIX}"),
    }
}

/// A trace id of its own for each number.
fn trace(number: usize) -> String {
    format!("traceparent: 00-4bf92f3577b34da6{number:016x}-00f067aa0ba902b7-01")
}

/// What answered last in a chain of calls.
fn last(answer: &Value) -> &str {
    match answer.get("upstream") {
        Some(upstream) => last(upstream),
        None => answer["name"].as_str().unwrap_or("nobody"),
    }
}

/// A request from outside to a pod, as an ingress controller without an agent sends it.
fn visit(stage: &Stage, pod: &Pod, path: &str, headers: &[&str]) -> Value {
    Client::new(stage.scene.lab.outside(), pod.at(8080)).get(path, headers)
}

/// The record of the request for a path that a workload sent.
fn sent(stage: &Stage, workload: &str, path: &str) -> Value {
    let of =
        |record: &Value| record["workload"] == workload && record["direction"] == "outbound" && record["path"] == path;
    stage.wait_flows(1, of).remove(0)
}

/// Many requests at once from outside, each with a space and a trace id of its own: how many answers came from the wrong
/// copy, and one of those.
fn mixed(from: &Place, pod: &Pod, service: &str, clients: usize, each: usize) -> (usize, Option<Value>) {
    let wrong = std::thread::scope(|scope| {
        let client = |number: usize| {
            move || {
                let (mut wrong, mut kept) = (Vec::new(), None);
                for round in 0..each {
                    let (space, answers) = match (number + round) % 2 {
                        0 => ("azureuser", "back.azureuser"),
                        _ => ("default", "back.default"),
                    };
                    let path = format!("/mixed-{number}-{round}");
                    let headers = [host(space, service), trace(number * each + round + 1)];
                    let client = kept.get_or_insert_with(|| Client::new(from, pod.at(8080)));
                    let response = client.raw(&path, &[&headers[0], &headers[1]]);
                    if response.closes() {
                        kept = None;
                    }
                    let answer = json(&response);
                    if last(&answer) != answers {
                        wrong.push(answer);
                    }
                }
                wrong
            }
        };
        let running: Vec<_> = (0..clients).map(client).map(|run| scope.spawn(run)).collect();
        running.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    (wrong.len(), wrong.into_iter().next())
}
