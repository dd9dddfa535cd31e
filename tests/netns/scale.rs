//! Pods come and go by the hundred: each is captured soon, and nothing of it is left in the agent or the kernel.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use interceptor_tests::{Agent, Config, Lab, Pod, Service, bpftool, wait};

use crate::wire::VIP;

const PODS: usize = 200;

/// For a reload with hundreds of pods on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the agent holds in the kernel.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) descriptors: usize,
    pub(crate) links: usize,
    /// Entries by map, without those that may outlive what they stand for.
    entries: BTreeMap<String, usize>,
}

impl Held {
    pub(crate) fn by(agent: &mut Agent) -> Held {
        let pid = agent.process().pid();
        let (mut links, mut maps) = (0, Vec::new());
        for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap() {
            // A descriptor may be closed while we look.
            let info = fs::read_to_string(entry.unwrap().path()).unwrap_or_default();
            links += usize::from(info.contains("link_type:"));
            maps.extend(info.lines().find_map(|line| line.strip_prefix("map_id:\t")).map(str::to_owned));
        }
        maps.sort();
        maps.dedup();
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        Held { descriptors, links, entries: maps.iter().filter_map(|id| entries(id)).collect() }
    }
}

/// Waits until the agent holds no more than it did then.
#[track_caller]
pub(crate) fn wait_released(agent: &mut Agent, before: &Held) {
    let released = wait::until(PATIENCE, "everything to be released", || {
        let now = Held::by(agent);
        // Fewer descriptors: there may have been a request at the admin socket then.
        let same = now.descriptors <= before.descriptors && now.links == before.links && now.entries == before.entries;
        anyhow::ensure!(same, "{now:?} instead of {before:?}");
        Ok(())
    });
    released.unwrap();
}

/// The name of a map and how many entries it has.
fn entries(id: &str) -> Option<(String, usize)> {
    let show = bpftool::json(&["map", "show", "id", id]).ok()?;
    let name = show["name"].as_str()?.to_owned();
    // Arrays have all their entries always. An original stays for connections that were redirected before, up to the
    // map's bound; facts make room for each other.
    let counted = !matches!(show["type"].as_str()?, "array" | "percpu_array" | "ringbuf")
        && !["ORIGINALS", "FACTS"].contains(&name.as_str());
    let all = counted.then(|| bpftool::json(&["map", "dump", "id", id]).ok()).flatten()?;
    Some((name, all.as_array()?.len()))
}

fn captured(agent: &Agent) -> u64 {
    agent.status().unwrap()["workloads"]["captured"].as_u64().unwrap()
}

pub(crate) fn wait_captured(agent: &Agent, count: usize) -> Duration {
    let begin = Instant::now();
    let reached = wait::until(PATIENCE, "workloads to be captured", || {
        let now = captured(agent);
        anyhow::ensure!(Ok(now) == u64::try_from(count), "{now} instead of {count}");
        Ok(())
    });
    reached.unwrap();
    begin.elapsed()
}

fn service(pods: &[Pod]) -> Service {
    let service = Service::new("many", "default").address(VIP).port("any", 80, 8080, None);
    pods.iter().fold(service, Service::endpoint)
}

#[test]
fn two_hundred_pods_come_and_go_without_a_trace() {
    let lab = Lab::new("scale").unwrap_or_else(|error| panic!("{error:#}"));
    let begin = Instant::now();
    let pods: Vec<Pod> = (0..=PODS).map(|n| lab.pod(&format!("pod-{n}")).unwrap()).collect();
    let made = begin.elapsed();
    let with = |count: usize| {
        let mut config = Config::new(&lab);
        config.space("default", None).service(&service(&pods[..count]));
        for pod in &pods[..count] {
            config.workload(pod, Some("default"));
        }
        config
    };
    let mut agent = Agent::start(&lab, &with(1)).unwrap_or_else(|error| panic!("{error:#}"));
    wait_captured(&agent, 1);
    let before = Held::by(&mut agent);
    assert!(before.links >= 6, "{before:?}");
    assert!(before.entries.values().filter(|count| **count > 0).count() >= 4, "{before:?}");

    // Twice: what leaks once a pod is told from what is kept for good.
    for _ in 0..2 {
        agent.write_config(&with(PODS).to_text()).unwrap();
        let all = wait_captured(&agent, PODS);
        let full = Held::by(&mut agent);
        assert!(full.links >= before.links + PODS - 1, "{full:?}");
        agent.write_config(&with(PODS + 1).to_text()).unwrap();
        let one_more = wait_captured(&agent, PODS + 1);
        assert!(one_more < Duration::from_secs(2), "one new pod took {one_more:?}");
        agent.write_config(&with(1).to_text()).unwrap();
        let gone = wait_captured(&agent, 1);
        println!("{PODS} pods made in {made:?}, captured in {all:?}, one more in {one_more:?}, released in {gone:?}");
        wait_released(&mut agent, &before);
    }
}

#[test]
fn pods_that_vanish_without_a_word_leave_nothing() {
    let lab = Lab::new("vanish").unwrap_or_else(|error| panic!("{error:#}"));
    let keep = lab.pod("keep").unwrap();
    let mut config = Config::new(&lab);
    config.space("default", None).service(&service(std::slice::from_ref(&keep))).workload(&keep, Some("default"));
    let mut agent = Agent::start(&lab, &config).unwrap_or_else(|error| panic!("{error:#}"));
    let before = Held::by(&mut agent);
    let pods: Vec<Pod> = (0..20).map(|n| lab.pod(&format!("pod-{n}")).unwrap()).collect();
    for pod in &pods {
        config.workload(pod, Some("default"));
    }
    agent.reload(&config).unwrap();
    wait_captured(&agent, 21);
    // Killed, as by the kubelet; the configuration still names them.
    for pod in &pods {
        pod.remove().unwrap();
    }
    wait_captured(&agent, 1);
    wait_released(&mut agent, &before);
}

#[test]
fn a_restarted_agent_captures_a_hundred_workloads_again_within_half_a_second() {
    let lab = Lab::new("again").unwrap_or_else(|error| panic!("{error:#}"));
    let pods: Vec<Pod> = (0..100).map(|n| lab.pod(&format!("pod-{n}")).unwrap()).collect();
    let mut config = Config::new(&lab);
    config.space("default", None).service(&service(&pods));
    for pod in &pods {
        config.workload(pod, Some("default"));
    }
    let mut agent = Agent::start(&lab, &config).unwrap_or_else(|error| panic!("{error:#}"));
    wait_captured(&agent, 100);
    // The best of some: others may use the machine as well.
    let took = (0..5).map(|_| {
        agent.kill9().unwrap();
        let begin = Instant::now();
        agent = Agent::start(&lab, &config).unwrap_or_else(|error| panic!("{error:#}"));
        wait_captured(&agent, 100);
        begin.elapsed()
    });
    let took: Vec<Duration> = took.collect();
    println!("100 workloads are captured again after {took:?}");
    assert!(took.iter().min().is_some_and(|best| *best < Duration::from_millis(500)), "{took:?}");
}
