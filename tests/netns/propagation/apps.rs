//! The applications in the way: what is instrumented, and one whose code forwards what it is told to.

use std::path::PathBuf;

use interceptor_tests::{Pod, Process, bins};

use super::Start;
use crate::real::tools::{packages, python};
use crate::stage::Scene;

/// Flask with requests, a new connection for each call.
pub(super) fn flask(scene: &Scene, pod: &Pod, calls: &str) -> Process {
    instrumented_python(scene, pod, "flask_app.py", calls)
}

/// aiohttp on both sides: one thread, connections that are kept.
pub(super) fn aiohttp(scene: &Scene, pod: &Pod, calls: &str) -> Process {
    instrumented_python(scene, pod, "aiohttp_app.py", calls)
}

/// Node's own HTTP server and client, connections that are kept.
pub(super) fn node(_: &Scene, pod: &Pod, calls: &str) -> Process {
    let modules = packages("node").join("node_modules");
    let mut command = vec!["env".to_owned(), format!("NODE_PATH={}", modules.display())];
    command.extend(variables(pod, calls));
    // Detectors ask the clouds where they are.
    command.push("OTEL_NODE_RESOURCE_DETECTORS=none".to_owned());
    command.extend(["node", "--require", "@opentelemetry/auto-instrumentations-node/register"].map(str::to_owned));
    command.push(program("app.js"));
    pod.spawn(&command[0], &command[1..]).unwrap()
}

/// Without any instrumentation: it forwards nothing.
pub(super) fn plain(_: &Scene, pod: &Pod, calls: &str) -> Process {
    ours(pod, calls, "")
}

/// Without any instrumentation: its code forwards W3C's header and nothing else.
pub(super) fn traceparent_only(_: &Scene, pod: &Pod, calls: &str) -> Process {
    ours(pod, calls, "traceparent")
}

/// Every application that is instrumented.
pub(super) const INSTRUMENTED: [(&str, Start); 3] = [("flask", flask), ("aiohttp", aiohttp), ("node", node)];

fn ours(pod: &Pod, calls: &str, forward: &str) -> Process {
    let args = ["http", "--name", pod.name(), "--listen", "[::]:8080", "--call", calls, "--forward", forward];
    pod.spawn(bins::pod().unwrap(), args).unwrap()
}

fn instrumented_python(_: &Scene, pod: &Pod, name: &str, calls: &str) -> Process {
    let interpreter = python(&variables(pod, calls));
    let instrument = packages("python").join("bin/opentelemetry-instrument").display().to_string();
    let python = interpreter.last().unwrap().clone();
    let command = [interpreter, vec![instrument, python, program(name)]].concat();
    pod.spawn(&command[0], &command[1..]).unwrap()
}

fn variables(pod: &Pod, calls: &str) -> Vec<String> {
    let fixed = ["OTEL_TRACES_EXPORTER=none", "OTEL_METRICS_EXPORTER=none", "OTEL_LOGS_EXPORTER=none", "NO_PROXY=*"];
    let own = [format!("NAME={}", pod.name()), format!("UPSTREAM={calls}")];
    fixed.map(str::to_owned).into_iter().chain(own).collect()
}

fn program(name: &str) -> String {
    let dir: PathBuf = concat!(env!("CARGO_MANIFEST_DIR"), "/netns/propagation/programs").into();
    dir.join(name).display().to_string()
}
