//! The agent hangs, as a whole or in one of its threads, or loses what it stands on in one place: traffic goes on.

use std::fs;
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use interceptor_tests::frozen::Frozen;
use interceptor_tests::wait;

use crate::crash::{GET, OK, word, works_directly};
use crate::wire::{LIMIT, Server, UNDECLARED, Way, Wire, exchange, expect_reset, send};

/// The shortest that the configuration allows.
const HEARTBEAT: Duration = Duration::from_millis(500);

fn wire(name: &str) -> Wire {
    Wire::with(name, |config| {
        config.set("capture", "heartbeat_timeout", "500ms");
        // Which worker a connection comes to is the kernel's choice.
        config.set("proxy", "workers", 1);
    })
}

/// One exchange that must succeed, whoever is in between.
fn exchange_once(wire: &Wire, server: &Server, way: Way) {
    let (client, peer) = wire.pair(server, way, UNDECLARED);
    exchange(&client, &peer, GET, OK);
}

fn wait_intercepted(wire: &Wire, way: Way) {
    let server = wire.listen(UNDECLARED);
    wait::until(LIMIT, "a connection to be intercepted", || {
        let before = wire.counted(word(way), "redirected");
        exchange_once(wire, &server, way);
        anyhow::ensure!(wire.counted(word(way), "redirected") > before, "it went directly");
        Ok(())
    })
    .unwrap();
}

fn lapses(wire: &Wire) -> u64 {
    wire.agent.status().unwrap()["heartbeat_lapses"]["count"].as_u64().unwrap()
}

#[test]
fn one_thread_that_hangs_costs_new_connections_no_more_than_the_heartbeats_patience() {
    let mut wire = wire("stuck");
    for thread in ["worker-0", "heartbeat"] {
        for way in Way::BOTH {
            wait_intercepted(&wire, way);
        }
        let before = Way::BOTH.map(|way| wire.counted(word(way), "agent_stale"));
        let lapsed = lapses(&wire);
        let frozen = Frozen::thread(wire.pid(), thread).unwrap();
        std::thread::sleep(HEARTBEAT + Duration::from_millis(100));
        for way in Way::BOTH {
            works_directly(&wire, way);
        }
        drop(frozen);
        for way in Way::BOTH {
            wait_intercepted(&wire, way);
        }
        // Told afterwards: how often, and what passed meanwhile.
        let counted = Way::BOTH.map(|way| wire.counted(word(way), "agent_stale"));
        assert!(counted[0] > before[0] && counted[1] > before[1], "{before:?} {counted:?}");
        assert!(lapses(&wire) > lapsed, "{lapsed}");
        let last = wire.agent.status().unwrap()["heartbeat_lapses"]["last_ms"].as_u64().unwrap();
        assert!((500..20_000).contains(&last), "{last}");
    }
    wire.agent.process().expect_running().unwrap();
}

#[test]
fn a_control_thread_that_is_blocked_stops_nothing() {
    let mut wire = wire("blocked");
    let server = wire.listen(UNDECLARED);
    let before = Way::BOTH.map(|way| wire.counted(word(way), "redirected"));
    let frozen = Frozen::thread(wire.pid(), "interceptor").unwrap();
    let (begin, mut turns) = (Instant::now(), 0);
    while begin.elapsed() < HEARTBEAT * 3 {
        Way::BOTH.iter().for_each(|way| exchange_once(&wire, &server, *way));
        turns += 1;
    }
    drop(frozen);
    let stale = Way::BOTH.map(|way| wire.counted(word(way), "agent_stale"));
    assert_eq!((stale, lapses(&wire)), ([0, 0], 0));
    assert_eq!(Way::BOTH.map(|way| wire.counted(word(way), "redirected")), before.map(|count| count + turns));
}

#[test]
fn what_waits_in_a_hung_agents_queue_is_served_when_it_goes_on() {
    let mut wire = Wire::with("queue", |config| {
        config.set("capture", "heartbeat_timeout", "20s").set("proxy", "workers", 1);
    });
    let server = wire.listen(UNDECLARED);
    let frozen = Frozen::thread(wire.pid(), "worker-0").unwrap();
    // The hooks still trust it: this connection is established by the kernel and waits to be accepted.
    let waiting = wire.dial(Way::Outbound, UNDECLARED);
    send(&waiting, GET);
    std::thread::sleep(Duration::from_secs(1));
    assert!(server.waiting().is_none());
    drop(frozen);
    let peer = server.accept();
    crate::wire::expect(&peer, GET);
    send(&peer, OK);
    crate::wire::expect(&waiting, OK);
    assert_eq!(wire.counted("outbound", "redirected"), 1);
}

#[test]
fn a_worker_that_never_answers_again_ends_the_agent_and_what_waits_for_it_is_reset() {
    let mut wire = wire("never");
    let frozen = Frozen::thread(wire.pid(), "worker-0").unwrap();
    let waiting: Vec<TcpStream> = (0..3).map(|_| wire.dial(Way::Outbound, UNDECLARED)).collect();
    let begin = Instant::now();
    frozen.wait_killed(Duration::from_secs(30)).unwrap();
    let status = wire.agent.process().wait(LIMIT).unwrap();
    assert_eq!(status.signal(), Some(6), "{status:?}");
    assert!(begin.elapsed() > Duration::from_secs(9), "{:?}", begin.elapsed());
    waiting.iter().for_each(expect_reset);
    for way in Way::BOTH {
        works_directly(&wire, way);
    }
    drop(frozen);
}

/// A limit of memory for one process, below whatever hierarchy has the controller.
pub(crate) struct Memory(PathBuf);

impl Memory {
    pub(crate) fn limit(pid: u32, bytes: u64) -> Memory {
        let name = format!("interceptor-test-{pid}");
        let (v1, v2) = (PathBuf::from("/sys/fs/cgroup/memory"), PathBuf::from("/sys/fs/cgroup"));
        let (directory, limit) = match v1.join("cgroup.procs").exists() {
            true => (v1.join(name), "memory.limit_in_bytes"),
            false => {
                fs::write(v2.join("cgroup.subtree_control"), "+memory").unwrap();
                (v2.join(name), "memory.max")
            }
        };
        fs::create_dir(&directory).unwrap();
        let memory = Memory(directory);
        fs::write(memory.0.join("cgroup.procs"), pid.to_string()).unwrap();
        fs::write(memory.0.join(limit), bytes.to_string()).unwrap();
        memory
    }

    /// The most that was charged so far, the kernel's for the process included, bytes.
    pub(crate) fn peak(&self) -> u64 {
        let files = ["memory.max_usage_in_bytes", "memory.peak", "memory.current"];
        let peak = files.iter().find_map(|file| fs::read_to_string(self.0.join(file)).ok());
        peak.unwrap().trim().parse().unwrap()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let path = self.0.clone();
        wait::until(LIMIT, "the memory cgroup to be empty", || Ok(fs::remove_dir(&path)?)).ok();
    }
}

#[test]
fn an_agent_that_the_kernel_kills_for_its_memory_is_out_of_the_way_at_once() {
    let mut wire = wire("oom");
    let server = wire.listen(UNDECLARED);
    let memory = Memory::limit(wire.pid(), 256 * 1024);
    // Every connection takes some memory; what it had before is not counted.
    let mut open = Vec::new();
    let killed = wait::until(Duration::from_secs(60), "the agent to be killed", || {
        open.push(wire.dial(Way::Outbound, UNDECLARED));
        let status = wire.agent.process().try_wait()?;
        status.ok_or_else(|| anyhow::anyhow!("it has {} connections and lives", open.len()))
    });
    assert_eq!(killed.unwrap().signal(), Some(9));
    let begin = Instant::now();
    drop((server, open));
    for way in Way::BOTH {
        works_directly(&wire, way);
    }
    println!("direct in both directions {:?} after the OOM kill", begin.elapsed());
    drop(memory);
}

#[test]
fn a_listener_that_is_gone_in_one_pod_lets_that_pods_connections_pass_and_is_opened_again() {
    let mut wire = wire("listener");
    for way in Way::BOTH {
        wait_intercepted(&wire, way);
    }
    // Only the connect hook stands between: nobody is there to mend it.
    let frozen = Frozen::thread(wire.pid(), "interceptor").unwrap();
    let killed = wire.client.output("ss", ["-K", "-tln", "sport = :15001"]).unwrap();
    assert!(killed.status.success(), "{}", String::from_utf8_lossy(&killed.stderr));
    works_directly(&wire, Way::Outbound);
    drop(frozen);
    // Another pod has its listeners.
    wait_intercepted(&wire, Way::Inbound);
    wait_intercepted(&wire, Way::Outbound);
    assert!(wire.counted("outbound", "no_listener") >= 1);
    assert_eq!(wire.counted("outbound", "agent_stale"), 0);
}
