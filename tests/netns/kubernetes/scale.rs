//! A large cluster: 10 000 services, 100 000 endpoints, 500 spaces, of which this node has a few pods. Prints what it cost.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use interceptor_tests::wait;
use serde_json::{Value, json};

use super::{Cluster, resource};

const SPACES: usize = 500;
const SERVICES: usize = 10_000;
const ENDPOINTS: usize = 10;
/// For a debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// Resident memory of the agent, bytes.
fn resident(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<usize>().unwrap() * 1024
}

/// CPU time of the agent so far.
fn cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

fn mib(bytes: usize) -> usize {
    bytes >> 20
}

fn address(base: [u8; 2], number: usize) -> String {
    format!("{}.{}.{}.{}", base[0], usize::from(base[1]) + number / 62_500, number / 250 % 250, number % 250 + 1)
}

fn slice(service: usize, ready: bool) -> Value {
    let endpoints: Vec<Value> = (0..ENDPOINTS)
        .map(|one| {
            let ready = ready || one > 0;
            json!({"addresses": [address([10, 128], service * ENDPOINTS + one)], "nodeName": "node-7",
                   "targetRef": {"kind": "Pod", "name": format!("service{service}-{one}"), "namespace": space(service),
                                 "uid": "00000000-0000-4000-8000-000000000000"},
                   "conditions": {"ready": ready, "serving": ready, "terminating": false}})
        })
        .collect();
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": endpoints,
           "metadata": {"name": format!("service{service}-x7k2p"), "namespace": space(service),
                        "labels": {"kubernetes.io/service-name": format!("service{service}")}},
           "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]})
}

fn space(service: usize) -> String {
    format!("space{}", service % SPACES)
}

#[test]
fn a_large_cluster_costs_little() {
    let mut cluster = Cluster::new("kubescale");
    let begin = Instant::now();
    cluster.start();
    let pid = cluster.agent_mut().process().pid();
    let idle = resident(pid);
    cluster.agent_mut().stop().unwrap();
    for number in 0..SPACES {
        // Trees of ten: a root and nine that derive from it.
        let root = number / 10 * 10;
        let parent = (number != root).then(|| format!("space{root}"));
        cluster.space(&format!("space{number}"), parent.as_deref());
    }
    for number in 0..SERVICES {
        let name = format!("service{number}");
        cluster.apply(&json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": name, "namespace": space(number)},
            "spec": {"clusterIP": address([10, 96], number), "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}}));
        cluster.apply(&slice(number, true));
    }
    println!("objects made in {:?}", begin.elapsed());

    let asked = cluster.server.calls().len();
    let begin = Instant::now();
    cluster.start_unready();
    wait::until(PATIENCE, "the first sync", || {
        let status = cluster.agent().status()?;
        anyhow::ensure!(status["ready"] == true && status["services"] == SERVICES, "{}", status["not_ready_because"]);
        Ok(())
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", cluster.agent().log_tail(20)));
    let synced = begin.elapsed();
    let pid = cluster.agent_mut().process().pid();
    let sync_cpu = cpu(pid);
    let listed = cluster.server.calls()[asked..].iter().filter(|call| call.verb != "watch").count();
    let memory = resident(pid);

    // One endpoint at a time: how long until it is in force.
    let mut latencies = Vec::new();
    for number in 0..30 {
        let before = cluster.agent().snapshot_version().unwrap();
        let begin = Instant::now();
        cluster.apply(&slice(number, false));
        wait::until(PATIENCE, "the endpoint", || {
            anyhow::ensure!(cluster.agent().snapshot_version()? > before, "not yet");
            Ok(())
        })
        .unwrap();
        latencies.push(begin.elapsed());
    }
    latencies.sort();
    // A rollout: a thousand events as fast as the server can.
    let (before, begin, cpu_before) = (cluster.agent().snapshot_version().unwrap(), Instant::now(), cpu(pid));
    for number in 1000..2000 {
        cluster.apply(&slice(number, false));
    }
    let given = begin.elapsed();
    let last = cluster.server.get(resource("discovery.k8s.io", "endpointslices"), "space499", "service1999-x7k2p");
    assert_eq!(last.unwrap().unwrap()["endpoints"][0]["conditions"]["ready"], false);
    let mut version = before;
    wait::until(PATIENCE, "the rollout to settle", || {
        std::thread::sleep(Duration::from_millis(300));
        let now = cluster.agent().snapshot_version()?;
        let settled = std::mem::replace(&mut version, now) == now;
        anyhow::ensure!(settled, "still at it");
        Ok(())
    })
    .unwrap();
    let rollout_cpu = cpu(pid) - cpu_before;
    let calls = cluster.server.calls();
    let (watches, lists): (Vec<_>, Vec<_>) = calls[asked..].iter().partition(|call| call.verb == "watch");
    println!(
        "first sync {synced:?} ({sync_cpu:?} CPU, {listed} lists); memory {} MiB above {} MiB idle, {} MiB after events; \
         one endpoint in force after {:?} (median, with the CLI's start), at most {:?}; 1000 events given in {given:?}: \
         {} snapshots, {rollout_cpu:?} CPU; {} watches in all",
        mib(memory.saturating_sub(idle)),
        mib(idle),
        mib(resident(pid)),
        latencies[latencies.len() / 2],
        latencies[latencies.len() - 1],
        version - before,
        watches.len(),
    );
    assert!(version - before < 500, "{} snapshots for 1000 events", version - before);
    // Ready comes with the last list; the watch that follows it may come a moment later.
    assert_eq!(lists.len(), listed, "events cost no lists");
    let resources: BTreeSet<_> = watches.iter().map(|call| &call.resource).collect();
    assert_eq!(watches.len(), resources.len(), "events cost no watches: {watches:?}");
    cluster.agent_mut().process().expect_running().unwrap();
}
