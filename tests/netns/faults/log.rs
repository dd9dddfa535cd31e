//! The log's other end: full, closed, read by nobody, or flooded. The agent serves on, says what was lost, and ends in time.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::{Duration, Instant};

use interceptor_tests::{Agent, wait};
use nix::sys::stat::Mode;
use serde_json::json;

use super::with_copy;
use crate::crash::{GET, OK, word};
use crate::metrics::ENDPOINT;
use crate::wire::{LIMIT, UNDECLARED, Way, Wire, exchange, expect, send};

/// Starts the agent again with its stderr there.
fn restart(wire: &mut Wire, redirection: &str) {
    wire.agent.stop().unwrap();
    let shell = ["sh", "-c", &format!("exec \"$0\" \"$@\" {redirection}")];
    wire.agent = Agent::start_unready_by(&wire.lab, &shell, &wire.config, &[]).unwrap();
    wire.agent.wait_ready().unwrap_or_else(|error| panic!("{redirection}: {error:#}"));
}

fn wire(name: &str) -> Wire {
    Wire::with(name, |config| {
        config.set("metrics", "address", ENDPOINT).set("capture", "heartbeat_timeout", "1s");
    })
}

/// Lines of the log, one for each connection that no hook sends to the agent's port.
fn flood(wire: &Wire, count: usize) {
    let connect = || {
        for _ in 0..count {
            // The agent may have closed it by the time connect() returns.
            match TcpStream::connect("127.0.0.1:15001") {
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
                other => drop(other?),
            }
        }
        Ok(())
    };
    // A thread of the test is not captured.
    wire.client.netns().run(connect).unwrap();
}

/// What a metric without labels stands at.
pub(super) fn metric(wire: &Wire, name: &str) -> u64 {
    let text = wire.lab.on_node().output("curl", ["-s", &format!("http://{ENDPOINT}/metrics")]).unwrap().stdout;
    let text = String::from_utf8(text).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

/// Both directions are intercepted, and no heartbeat was missed.
fn serves(wire: &Wire) {
    let server = wire.listen(UNDECLARED);
    for way in Way::BOTH {
        let before = wire.counted(word(way), "redirected");
        for _ in 0..5 {
            let (client, peer) = wire.pair(&server, way, UNDECLARED);
            exchange(&client, &peer, GET, OK);
        }
        assert_eq!(wire.counted(word(way), "redirected"), before + 5);
        assert_eq!(wire.counted(word(way), "agent_stale"), 0);
    }
}

#[test]
fn a_full_disk_or_a_closed_stderr_under_the_log_stops_nothing() {
    let mut wire = wire("logfull");
    for (redirection, lost) in [("2>/dev/full", true), ("2>&-", false)] {
        restart(&mut wire, redirection);
        flood(&wire, 200);
        serves(&wire);
        // A closed one is /dev/null to a program of Rust's.
        let is_lost = || {
            let count = metric(&wire, "interceptor_log_lines_lost_total");
            anyhow::ensure!((count >= 200) == lost, "{count} lines are lost");
            Ok(())
        };
        wait::until(LIMIT, "the lines to be counted", is_lost).unwrap();
        wire.config.set("routing", "same_space", if lost { "endpoint" } else { "original" });
        wire.agent.reload(&wire.config).unwrap();
        wire.agent.process().expect_running().unwrap();
    }
    assert!(wire.agent.stop().unwrap().success());
}

#[test]
fn a_log_that_nobody_reads_stops_nothing_and_says_what_it_lost_once_it_is_read() {
    let mut wire = wire("logpipe");
    let fifo = wire.lab.temp().join("log");
    nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    // Open, as a runtime that hangs has it.
    let open = || OpenOptions::new().read(true).write(true).custom_flags(nix::libc::O_NONBLOCK).open(&fifo);
    let mut pipe: File = open().unwrap();
    let redirection = format!("2>{}", fifo.display());
    restart(&mut wire, &redirection);
    // More than the pipe and the queue hold.
    flood(&wire, 3000);
    serves(&wire);
    wait::until(LIMIT, "lines to be lost", || {
        anyhow::ensure!(metric(&wire, "interceptor_log_lines_lost_total") > 100);
        Ok(())
    })
    .unwrap();
    wire.agent.process().expect_running().unwrap();
    let mut log = String::new();
    wait::until(LIMIT, "the log to go on", || {
        let mut bytes = [0; 65_536];
        while let Ok(count @ 1..) = pipe.read(&mut bytes) {
            log.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        anyhow::ensure!(log.contains("lines of this log were lost"), "{} bytes", log.len());
        Ok(())
    })
    .unwrap();
    // It does not wait for a reader at its end, either.
    flood(&wire, 3000);
    let begin = Instant::now();
    assert!(wire.agent.stop().unwrap().success());
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
}

#[test]
fn ten_thousand_failing_requests_are_no_line_each_in_the_log() {
    const FAILING: usize = 10_000;
    let (mut wire, copy) = with_copy("logflood", &[("metrics", "address", json!(ENDPOINT))]);
    wire.agent.stop().unwrap();
    wire.agent = Agent::start_deployed(&wire.lab, &wire.config).unwrap();
    drop(copy);
    // Nobody listens at the copy's port: an answer of the agent's own each.
    let address = wire.address(Way::Outbound, UNDECLARED);
    let url = format!("http://{address}/");
    let call = ["h2load", "-n", &FAILING.to_string(), "-c8", "-m20", "-H", "azds-route-as: azureuser", &url];
    let output = wire.client.output("timeout", [&["60"], &call[..]].concat()).unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains(&format!("{FAILING} 5xx")), "{told}");
    let log = wire.agent.log_tail(usize::MAX);
    println!("{} lines after {FAILING} failing requests", log.lines().count());
    assert!(log.lines().count() < 50, "{log}");
    // They are counted and told of elsewhere.
    let refused = super::requests(&wire);
    assert!(refused.iter().all(|record| record["reason"] == "upstream_refused"));
    let client = wire.dial(Way::Outbound, UNDECLARED);
    send(&client, super::GET);
    expect(&client, "HTTP/1.1 502 ");
}
