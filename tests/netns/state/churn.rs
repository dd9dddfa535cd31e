//! A thousand workloads come and go: soon, without a trace, and without a steady one noticing.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::process::Command;
use std::time::{Duration, Instant};

use interceptor_tests::Config;
use interceptor_tests::http::Connection;
use nix::sched::{CloneFlags, unshare};
use serde_json::json;

use super::Over;
use crate::crash::GET;
use crate::scale::{Held, wait_captured, wait_released};
use crate::wire::{UNDECLARED, Way, Wire};

const COUNT: usize = 1000;

/// For all of them to come, or to go, in an unoptimised agent on a busy machine.
const BOUND: Duration = Duration::from_secs(15);
/// For 99 of 100 requests of the steady workload meanwhile; they take less than a millisecond otherwise.
const P99: Duration = Duration::from_millis(250);
/// How much more memory it may hold after the last time than after the first, KiB.
const GROWTH: u64 = 8 * 1024;

/// Network namespaces that nothing runs in; they end with this.
fn namespaces() -> Vec<File> {
    // More descriptors than a process has by default.
    let own = std::process::id().to_string();
    assert!(Command::new("prlimit").args(["--pid", &own, "--nofile=4096:"]).status().unwrap().success());
    let make = || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        // Listeners are bound to loopback addresses.
        assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
        File::open("/proc/thread-self/ns/net").unwrap()
    };
    let thread = || (0..COUNT / 4).map(|_| make()).collect::<Vec<_>>();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(thread)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn with_many(config: &Config, namespaces: &[File]) -> Config {
    let (mut config, own) = (config.clone(), std::process::id());
    for (number, namespace) in namespaces.iter().enumerate() {
        let path = format!("/proc/{own}/fd/{}", namespace.as_raw_fd());
        let address = format!("10.200.{}.{}", number / 250, number % 250 + 1);
        let workload =
            json!({ "name": format!("many-{number}"), "space": "default", "netns": path, "addresses": [address] });
        config.item("workloads", workload);
    }
    config
}

#[test]
fn a_thousand_workloads_come_and_go_and_a_steady_one_does_not_notice() {
    let mut wire = Wire::new("thousand");
    wire.serve(UNDECLARED.1, &["http", "--name", "peer"]);
    let begin = Instant::now();
    let namespaces = namespaces();
    println!("{COUNT} namespaces made in {:?}", begin.elapsed());
    wait_captured(&wire.agent, 2);
    let before = Held::by(&mut wire.agent);
    let (none, all) = (wire.config.to_text(), with_many(&wire.config, &namespaces).to_text());
    let mut kept = Connection::new(wire.dial(Way::Outbound, UNDECLARED));
    let (over, client, to) = (Over::default(), wire.client.clone(), wire.address(Way::Outbound, UNDECLARED));
    let mut resident = Vec::new();
    std::thread::scope(|scope| {
        let steady = scope.spawn(|| {
            let mut times = Vec::new();
            while !over.is() {
                let begin = Instant::now();
                kept.send(GET.as_bytes()).unwrap();
                assert_eq!(kept.response("GET").unwrap().status().unwrap(), 200);
                times.push(begin.elapsed());
                std::thread::sleep(Duration::from_millis(1));
            }
            times
        });
        let fresh = scope.spawn(|| {
            let (pod, to, mut answers) = (interceptor_tests::bins::pod().unwrap(), to.to_string(), 0);
            while !over.is() {
                let load = ["load", "--to", &to, "--connections", "20", "--requests", "2", "--threads", "1"];
                let output = client.output(&pod, load).unwrap();
                let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
                assert_eq!(told["failed"], 0, "{told}");
                answers += told["answers"].as_u64().unwrap();
            }
            answers
        });
        let end = over.at_the_end();
        for turn in 0..3 {
            wire.agent.write_config(&all).unwrap();
            let came = wait_captured(&wire.agent, COUNT + 2);
            if turn == 0 {
                let full = Held::by(&mut wire.agent);
                assert!(full.links >= before.links + COUNT, "{} links", full.links);
            }
            wire.agent.write_config(&none).unwrap();
            let went = wait_captured(&wire.agent, 2);
            resident.push(wire.memory_kib("VmRSS"));
            println!("{COUNT} captured in {came:?}, released in {went:?}, {} KiB resident", resident[turn]);
            assert!(came < BOUND && went < BOUND, "{came:?} {went:?}");
        }
        drop(end);
        let (mut times, answers) = (steady.join().unwrap(), fresh.join().unwrap());
        times.sort_unstable();
        let p99 = times[times.len() * 99 / 100];
        let most = times[times.len() - 1];
        println!("{} requests on a kept connection, p99 {p99:?}, at most {most:?}; {answers} on new ones", times.len());
        assert!(p99 < P99 && answers > 0, "p99 {p99:?}");
    });
    drop(kept);
    wait_released(&mut wire.agent, &before);
    assert!(resident[2] <= resident[0] + GROWTH, "{resident:?}");
}
