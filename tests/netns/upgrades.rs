//! Upgrades, kills and hangs under load: what each costs, counted by clients that never stop calling.
//!
//! `tests/upgrades.sh` runs this with more of each (`INTERCEPTOR_UPGRADES`, `_KILLS`, `_HANGS`) and prints the report.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use interceptor_tests::{Agent, Process, bins, wait};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::wire::{LIMIT, TCP, UNDECLARED, VIP, Wire};

/// How long traffic runs between two events.
const BETWEEN: Duration = Duration::from_millis(500);
/// How long a hang takes: longer than the heartbeat's patience.
const HANG: Duration = Duration::from_millis(1500);
/// Everything that failed while or shortly after something happened is put down to it.
const AFTER_MS: u64 = 400;

/// Clients in a pod (outbound) and outside the node (inbound), and their server.
struct Traffic {
    _server: Process,
    clients: [Process; 2],
}

/// What happened, and when.
struct Event {
    what: &'static str,
    began: u64,
    ended: u64,
}

/// What clients told.
#[derive(Default)]
struct Told {
    /// Requests that succeeded, by kind of client.
    done: BTreeMap<String, u64>,
    /// Requests that failed: when, of which kind of client, why.
    failed: Vec<(u64, u64, String)>,
    /// The longest request that succeeded, milliseconds, by when it ended.
    longest: Vec<(u64, u64)>,
}

impl Traffic {
    fn start(wire: &Wire) -> Traffic {
        let (http, echo) = (format!("[::]:{}", UNDECLARED.1), format!("[::]:{}", TCP.1));
        let server = wire.server.spawn(bins::pod().unwrap(), ["traffic-server", "--http", &http, "--echo", &echo]);
        let server = server.unwrap();
        for port in [UNDECLARED.1, TCP.1] {
            wire.server.wait_listening(port, LIMIT).unwrap();
        }
        let outbound = [UNDECLARED.0, TCP.0].map(|port| std::net::SocketAddr::from((VIP, port)).to_string());
        let inbound = [UNDECLARED.1, TCP.1].map(|port| wire.server.at(port).to_string());
        let call = |place: &interceptor_tests::place::Place, to: [String; 2]| {
            place.spawn(bins::pod().unwrap(), ["traffic", "--http", &to[0], "--echo", &to[1]]).unwrap()
        };
        let traffic =
            Traffic { _server: server, clients: [call(&wire.client, outbound), call(wire.lab.outside(), inbound)] };
        wait::until(LIMIT, "every kind of client to succeed", || {
            for client in &traffic.clients {
                let told = Told::of(&client.stdout());
                anyhow::ensure!(told.done.len() == 6, "only {:?}", told.done.keys());
            }
            Ok(())
        })
        .unwrap();
        traffic
    }

    fn stop(mut self) -> [Told; 2] {
        sleep(Duration::from_millis(1500));
        self.clients.iter_mut().for_each(|client| _ = client.kill().unwrap());
        self.clients.each_ref().map(|client| Told::of(&client.stdout()))
    }
}

impl Told {
    fn of(text: &str) -> Told {
        let mut told = Told::default();
        // The last line may be half one.
        for line in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            if let Some(cause) = line["cause"].as_str() {
                let kind = line["failed"].as_str().unwrap();
                let (began, ended) = (line["began"].as_u64().unwrap(), line["ended"].as_u64().unwrap());
                told.failed.push((began, ended, format!("{kind}: {cause}")));
            } else {
                told.done = serde_json::from_value(line["done"].clone()).unwrap();
                told.longest.push((line["at"].as_u64().unwrap(), line["longest_ms"].as_u64().unwrap()));
            }
        }
        told
    }
}

fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn count(name: &str, default: usize) -> usize {
    std::env::var(format!("INTERCEPTOR_{name}")).map_or(default, |text| text.parse().expect(name))
}

#[test]
fn upgrades_fail_no_request_and_kills_and_hangs_only_what_was_under_way() {
    let (upgrades, kills, hangs) = (count("UPGRADES", 5), count("KILLS", 1), count("HANGS", 1));
    let mut wire = Wire::with("upgrades", |config| {
        // The one stream that never ends stays with the agent that it began at.
        config.set("proxy", "drain_timeout", "5m");
        config.set("capture", "heartbeat_timeout", "1s");
    });
    let traffic = Traffic::start(&wire);
    let (mut events, mut before) = (Vec::new(), Vec::new());
    let mut slowest = Duration::ZERO;
    // Of another build, to which every other upgrade leads, and from which the next one leads back.
    let other = std::env::var_os("INTERCEPTOR_OTHER_BIN");
    for turn in 0..upgrades {
        sleep(BETWEEN);
        let (began, begin) = (now_ms(), Instant::now());
        let succeeded = match other.as_ref().filter(|_| turn % 2 == 0) {
            Some(other) => wire.agent.succeed_by(Path::new(other), &wire.lab, &wire.config),
            None => wire.agent.succeed(&wire.lab, &wire.config),
        };
        before.push(succeeded.unwrap_or_else(|error| panic!("{error:#}")));
        slowest = slowest.max(begin.elapsed());
        events.push(Event { what: "upgrade", began, ended: now_ms() });
    }
    sleep(BETWEEN);
    let stale: u64 = ["outbound", "inbound"]
        .into_iter()
        .flat_map(|way| ["agent_stale", "no_listener", "assign_failed"].map(|reason| (way, reason)))
        .filter(|(way, reason)| *way == "inbound" || *reason != "assign_failed")
        .map(|(way, reason)| wire.counted(way, reason))
        .sum();
    let (first, between) = before.split_first_mut().unwrap();
    for agent in between {
        // Nothing but short streams were left of those.
        let status = agent.process().wait(LIMIT).unwrap();
        assert_eq!(status.code(), Some(0), "{}", agent.log_tail(20));
    }
    first.process().expect_running().unwrap();
    for _ in 0..hangs {
        sleep(BETWEEN);
        let began = now_ms();
        wire.agent.process().signal(Signal::SIGSTOP).unwrap();
        sleep(HANG);
        wire.agent.process().signal(Signal::SIGCONT).unwrap();
        events.push(Event { what: "hang", began, ended: now_ms() });
    }
    for _ in 0..kills {
        sleep(BETWEEN);
        let began = now_ms();
        wire.agent.kill9().unwrap();
        events.push(Event { what: "kill", began, ended: now_ms() });
        sleep(BETWEEN);
        let began = now_ms();
        wire.agent = Agent::start(&wire.lab, &wire.config).unwrap_or_else(|error| panic!("{error:#}"));
        events.push(Event { what: "start", began, ended: now_ms() });
    }
    let [outbound, inbound] = traffic.stop();
    let failures = report(&events, &[("outbound", &outbound), ("inbound", &inbound)]);
    println!("the slowest upgrade took {slowest:?}");
    assert_eq!(stale, 0, "connections passed the agents by while they changed");
    let of = |what: &str| failures.get(what).cloned().unwrap_or_default();
    assert_eq!(of("upgrade"), BTreeMap::new());
    assert_eq!(of("start"), BTreeMap::new());
    assert_eq!(of("nothing"), BTreeMap::new());
    // What ran through a killed agent ends with a reset, and nothing else ever fails.
    for cause in of("kill").keys().chain(of("hang").keys()) {
        assert!(cause.ends_with(": reset"), "{cause}");
    }
}

/// Prints what failed by what it is put down to and why, and gives it.
fn report(events: &[Event], told: &[(&str, &Told)]) -> BTreeMap<&'static str, BTreeMap<String, usize>> {
    let mut failures: BTreeMap<&str, BTreeMap<String, usize>> = BTreeMap::new();
    for (way, told) in told {
        println!("{way}: succeeded {:?}", told.done);
        for (began, ended, cause) in &told.failed {
            let during = events.iter().rev().find(|event| event.began <= *ended && *began <= event.ended + AFTER_MS);
            let what = during.map_or("nothing", |event| event.what);
            *failures.entry(what).or_default().entry(format!("{way} {cause}")).or_default() += 1;
        }
    }
    for what in ["upgrade", "hang", "kill", "start", "nothing"] {
        let number = events.iter().filter(|event| event.what == what).count();
        let longest = told.iter().flat_map(|(_, told)| &told.longest).filter(|(at, _)| {
            events.iter().any(|event| event.what == what && event.began <= *at && *at <= event.ended + AFTER_MS)
        });
        let longest = longest.map(|(_, took)| took).max();
        let failed = failures.get(what).map_or(0, |causes| causes.values().sum::<usize>());
        println!("{what:>8}: {number:>2} times, {failed:>3} requests failed, the longest took {longest:?} ms");
        for (cause, count) in failures.get(what).into_iter().flatten() {
            println!("{:>10}{count:>4} {cause}", "");
        }
    }
    failures
}
