//! `propagate: thread` with real servers whose code passes nothing on: Python's gunicorn with processes and with threads,
//! Java's own server; aiohttp as an event loop, and Go, of which nothing may be believed.
//!
//! Requests of three spaces, and some of none, come at once; the service calls its backend for each. Whose backend answers
//! says what the call was taken for. A longer run: `INTERCEPTOR_REQUESTS=100000 cargo xtask test --netns threads`.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::process::Command;

use interceptor_tests::{Pod, Process, bins};
use serde_json::Value;

use crate::metrics::{ENDPOINT, samples};
use crate::real::tools::{program, python};
use crate::stage::{Scene, Stage, cluster_ip, http_service};

const SPACES: [&str; 3] = ["red", "green", "blue"];
const BACKEND: u8 = 20;
/// Requests of one run of `pod mixed` in the ordinary tier.
const REQUESTS: u32 = 2000;

/// Starts a server on port 8080 that calls the backend.
type Start = fn(&Scene, &Pod) -> Process;

/// A backend in every space and one front, in `default`, that calls it; the front has the mode.
fn scene(name: &str, mode: &str, start: Start) -> (Scene, Pod) {
    let trees: Vec<_> = SPACES.iter().map(|space| (*space, Some("default"))).collect();
    let mut scene = Scene::new(name, &[&[("default", None)], &trees[..]].concat());
    scene.config.set("metrics", "address", ENDPOINT);
    for (number, space) in (BACKEND..).zip(["default"].iter().chain(&SPACES)) {
        scene.deploy("backend", space, number);
    }
    let front = add_front(&mut scene, "front", 40, mode, start);
    (scene, front)
}

/// A server of that mode that calls the backend.
fn add_front(scene: &mut Scene, name: &str, number: u8, mode: &str, start: Start) -> Pod {
    let front = scene.caller(name, Some("default"));
    scene.config.amend("workloads", name, "propagate", mode);
    let process = start(scene, &front);
    scene.keep(&front, 8080, process);
    scene.publish(&http_service(name, "default", number).endpoint(&front));
    front
}

fn gunicorn(pod: &Pod, class: &str, more: &[&str]) -> Process {
    let variables = [format!("BACKEND={}", cluster_ip(BACKEND))];
    let gunicorn = ["-m", "gunicorn", "--bind", "[::]:8080", "--no-control-socket", "--worker-class", class];
    let rest = ["--chdir", &program(""), "calls:app"].map(str::to_owned);
    let more: Vec<String> = gunicorn.iter().chain(more).map(|word| (*word).to_owned()).collect();
    let command = [python(&variables), more, rest.to_vec()].concat();
    pod.spawn(&command[0], &command[1..]).unwrap()
}

fn sync(_: &Scene, pod: &Pod) -> Process {
    gunicorn(pod, "sync", &["--workers", "4"])
}

fn gthread(_: &Scene, pod: &Pod) -> Process {
    gunicorn(pod, "gthread", &["--workers", "2", "--threads", "8", "--keep-alive", "60"])
}

fn java(_: &Scene, pod: &Pod) -> Process {
    let (program, backend) = (program("Calls.java"), cluster_ip(BACKEND).to_string());
    pod.spawn("java", ["-Xmx128m", "-XX:+UseSerialGC", &program, &backend, "16"]).unwrap()
}

fn aiohttp(_: &Scene, pod: &Pod) -> Process {
    let variables = [format!("BACKEND={}", cluster_ip(BACKEND))];
    let command = [python(&variables), vec![program("loop.py")]].concat();
    pod.spawn(&command[0], &command[1..]).unwrap()
}

fn go(scene: &Scene, pod: &Pod) -> Process {
    let (made, cache) = (scene.lab.temp().join("calls-go"), scene.lab.temp().join("go"));
    let mut go = Command::new("go");
    // All that it writes goes with the test.
    go.env("CGO_ENABLED", "0").env("GOCACHE", cache).env("GO111MODULE", "off");
    let output = go.args(["build", "-o"]).arg(&made).arg(program("calls.go")).output();
    let output = output.unwrap_or_else(|error| panic!("go: {error}; run `cargo xtask setup`"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    pod.spawn(made, [cluster_ip(BACKEND).to_string()]).unwrap()
}

/// How many requests a run has.
fn requests() -> u32 {
    env::var("INTERCEPTOR_REQUESTS").map_or(REQUESTS, |count| count.parse().unwrap())
}

/// Requests of all spaces to the front, from outside; what came of them.
fn mixed(stage: &Stage, front: &Pod, way: &str, threads: usize, keep: usize) -> Value {
    let (to, threads, keep) = (front.at(8080).to_string(), threads.to_string(), keep.to_string());
    let (spaces, count) = (format!("--spaces={},-", SPACES.join(",")), requests().to_string());
    let args =
        ["mixed", "--to", &to, "--way", way, &spaces, "--requests", &count, "--threads", &threads, "--keep", &keep];
    let said = stage.scene.lab.outside().run(bins::pod().unwrap(), args).unwrap();
    let outcome: Value = serde_json::from_str(&said).unwrap();
    let origins = origins(stage, front.name());
    println!("{}: {way}, {threads} at a time, {keep} a connection: {outcome}; calls so far: {origins:?}", front.name());
    outcome
}

/// How many calls of a workload had which origin.
fn origins(stage: &Stage, workload: &str) -> BTreeMap<String, f64> {
    let workload = format!("workload=\"{workload}\"");
    let of_workload = |sample: &str| {
        let labels = sample.strip_prefix("interceptor_thread_calls_total{")?.strip_suffix('}')?;
        let origin = labels.split("origin=\"").nth(1)?.split('"').next()?;
        labels.contains(&workload).then(|| origin.to_owned())
    };
    let counted = samples(stage).into_iter().filter_map(|(sample, count)| Some((of_workload(&sample)?, count)));
    counted.filter(|(_, count)| *count > 0.0).collect()
}

/// Every call went where its request belongs.
fn expect_all_right(stage: &Stage, front: &Pod, way: &str, threads: usize, keep: usize) {
    let outcome = mixed(stage, front, way, threads, keep);
    let count = |what: &str| outcome[what].as_u64().unwrap();
    assert_eq!((count("wrong"), count("failed")), (0, 0), "{way}: {outcome}");
    // An answer that takes longer than a call waits for it leaves the call where it was going: a busy machine may be slow.
    let most = u64::from(requests()) / 10;
    assert!(count("unattributed") <= most, "{way}: {outcome}");
}

/// The tracepoints that the agent holds a program at, as the kernel lists them.
fn tracepoints(stage: &mut Stage) -> Vec<String> {
    let pid = stage.agent.process().pid();
    let files = fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap();
    let texts = files.filter_map(|file| fs::read_to_string(file.ok()?.path()).ok());
    let names =
        texts.filter_map(|text| Some(text.lines().find_map(|line| line.strip_prefix("tp_name:"))?.trim().to_owned()));
    names.collect()
}

#[test]
fn processes_of_gunicorn_call_for_the_request_that_they_have() {
    let (scene, front) = scene("thrsync", "thread", sync);
    let mut stage = scene.start();
    assert_eq!(tracepoints(&mut stage), ["tcp_rcv_space_adjust"]);
    for way in ["new", "kept", "session"] {
        expect_all_right(&stage, &front, way, 8, 1);
    }
    let called = stage.flows(&["--workload", "front"]);
    let called: Vec<_> = called.iter().filter(|record| record["space_from"] == "thread").collect();
    assert!(called.iter().all(|record| record["injected"] == true), "{called:?}");
}

#[test]
fn threads_of_gunicorn_call_for_the_request_that_they_have() {
    let (scene, front) = scene("thrgthread", "thread", gthread);
    let stage = scene.start();
    for way in ["new", "kept", "session"] {
        expect_all_right(&stage, &front, way, 12, 50);
    }
}

#[test]
fn threads_of_javas_server_call_for_the_request_that_they_have() {
    let (scene, front) = scene("thrjava", "thread", java);
    let stage = scene.start();
    for way in ["new", "kept"] {
        expect_all_right(&stage, &front, way, 12, 50);
    }
}

#[test]
fn an_event_loops_calls_are_never_taken_for_anothers() {
    let (scene, front) = scene("thrloop", "thread", aiohttp);
    let stage = scene.start();
    for way in ["new", "kept"] {
        let outcome = mixed(&stage, &front, way, 12, 50);
        assert_eq!((&outcome["wrong"], &outcome["failed"]), (&0.into(), &0.into()), "{outcome}");
        assert!(outcome["unattributed"].as_u64() > Some(0), "{outcome}");
    }
}

/// Before the first sign a call can be wrong: not promised is that none is.
#[test]
fn a_process_whose_work_changes_threads_is_found_out() {
    let (scene, front) = scene("thrgo", "thread", go);
    let stage = scene.start();
    let outcome = mixed(&stage, &front, "new", 8, 50);
    let count = u64::from(requests());
    assert!(outcome["failed"] == 0 && outcome["wrong"].as_u64() < Some(count / 20), "{outcome}");
    let origins = origins(&stage, "front");
    assert!(origins["process"] > f64::from(requests() / 2), "{origins:?}");
}

#[test]
fn pods_that_do_not_ask_for_it_are_left_alone() {
    let (mut scene, front) = scene("throther", "thread", gthread);
    let other = add_front(&mut scene, "other", 41, "trace", gthread);
    let stage = scene.start();
    expect_nothing_traced(&stage, &other);
    assert_eq!(origins(&stage, "other"), BTreeMap::new());
    expect_all_right(&stage, &front, "new", 8, 1);
    let called = origins(&stage, "front");
    assert_eq!(called.values().sum::<f64>(), f64::from(requests()), "{called:?}");
}

/// Calls go where they would go if the mode did not exist.
fn expect_nothing_traced(stage: &Stage, front: &Pod) {
    let outcome = mixed(stage, front, "new", 8, 1);
    assert_eq!((&outcome["wrong"], &outcome["failed"]), (&0.into(), &0.into()), "{outcome}");
    // Those without a space are right wherever nothing is known.
    assert_eq!(outcome["right"].as_u64().map(|right| right * 4), Some(u64::from(requests())), "{outcome}");
}

#[test]
fn without_the_mode_nothing_is_attached_and_nothing_is_traced_back() {
    let (scene, front) = scene("throff", "trace", gthread);
    let mut stage = scene.start();
    assert_eq!(tracepoints(&mut stage), [""; 0]);
    expect_nothing_traced(&stage, &front);
    // The mode comes and goes with the configuration.
    stage.scene.config.amend("workloads", "front", "propagate", "thread");
    stage.reload();
    assert_eq!(tracepoints(&mut stage), ["tcp_rcv_space_adjust"]);
    expect_all_right(&stage, &front, "new", 8, 1);
    stage.scene.config.amend("workloads", "front", "propagate", "off");
    stage.reload();
    assert_eq!(tracepoints(&mut stage), [""; 0]);
}
