//! `opaque`: bytes that are no HTTP, over a port that is declared as such. Every way of moving them that this agent has is
//! measured in every round, each by an agent of its own; the peers work in their TCP modes.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use interceptor_tests::{Agent, bins};
use serde_json::Value;

use super::{Outcome, Scenario};
use crate::app::{self, Pinged, Streamed};
use crate::collect::Collected;
use crate::ground::{self, Ground, LIMIT, OPAQUE};
use crate::peers::{self, Peer};
use crate::row::metric::{P50, P99, RATE};
use crate::row::{Better, Metric};
use crate::settings::Settings;
use crate::subject::Subject;
use crate::upstream;
use crate::usage::Program;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "opaque",
    help: "TCP that is no HTTP: ping-pong on 1 and 1000 connections, upload, download",
    run,
};

/// The values of `proxy.splice`; the first is what an agent does of which nothing is said.
const WAYS: [&str; 4] = ["auto", "kernel", "splice", "copy"];
const THROUGHPUT: Metric = Metric { name: "throughput", unit: "Gbit/s", better: Better::Higher };
const CPU_PER_GB: Metric = Metric { name: "CPU per GB", unit: "ms", better: Better::Lower };
const CPU_PER_MESSAGE: Metric = Metric { name: "CPU per message", unit: "µs", better: Better::Lower };

/// What one subject did in one round, case by case.
type Measured = Vec<(&'static str, Metric, f64)>;

fn run(settings: &Settings) -> Result<Outcome> {
    let mut ground = Ground::new("opaque")?;
    let server = ground.upstream(0)?;
    let process = app::spawn(server, &["serve", &format!("0.0.0.0:{}", upstream::OPAQUE)])?;
    server.wait_listening(upstream::OPAQUE, LIMIT)?;
    ground.keep(process);
    let (mut ways, mut notes) = (Vec::new(), Vec::new());
    for way in WAYS {
        match refusal(&mut ground, way)? {
            None => ways.push(way),
            Some(why) => notes.push(format!("no rows for splice: {way}, which this agent refuses: {why}")),
        }
    }
    let mut others = Vec::new();
    for (number, subject) in (1..).zip(Subject::PEERS) {
        others.push((subject, peers::start(&ground, subject, number)?));
    }
    let mut collected = Collected::default();
    for round in 1..=settings.rounds() {
        let mut theirs = vec![(Subject::Direct, direct(settings, &ground, round)?)];
        for (subject, peer) in &others {
            theirs.push((*subject, through(settings, &ground, round, *subject, peer)?));
        }
        for way in &ways {
            let ours = captured(settings, &mut ground, round, way)?;
            for (subject, measured) in theirs.iter().chain([&(Subject::Ours, ours)]) {
                for (case, metric, value) in measured {
                    collected.add(&format!("{case} {way}"), *metric, *subject, *value);
                }
            }
        }
    }
    Ok(Outcome { rows: collected.rows("opaque"), notes })
}

fn direct(settings: &Settings, ground: &Ground, round: usize) -> Result<Measured> {
    measure(settings, ground, false, ground::service(0, OPAQUE), None, &format!("round {round}: direct"))
}

fn through(settings: &Settings, ground: &Ground, round: usize, subject: Subject, peer: &Peer) -> Result<Measured> {
    let program = Program::of_group(peer.process.pid());
    measure(settings, ground, false, peer.opaque, Some(program), &format!("round {round}: {subject}"))
}

/// Measures an agent that moves bytes in this way.
fn captured(settings: &Settings, ground: &mut Ground, round: usize, way: &str) -> Result<Measured> {
    ground.config.set("proxy", "splice", way);
    let mut agent = ground.agent()?;
    let program = Program::of_group(agent.process().pid());
    let what = format!("round {round}: ours, {way}");
    let measured = measure(settings, ground, true, ground::service(0, OPAQUE), Some(program), &what)?;
    intercepted(&agent).with_context(|| format!("proving that the agent carried the bytes ({way})"))?;
    Ok(measured)
}

/// All cases for one subject.
fn measure(
    settings: &Settings,
    ground: &Ground,
    captured: bool,
    to: SocketAddr,
    program: Option<Program>,
    what: &str,
) -> Result<Measured> {
    let place = if captured { &ground.captured } else { &ground.plain };
    let (to, millis) = (to.to_string(), settings.duration().as_millis().to_string());
    let mut all = Measured::new();
    let cpu = || program.map(|program| program.cpu()).transpose();
    for (case, connections) in [("ping-pong", "1"), ("1000 connections", "1000")] {
        settings.progress(format_args!("{case}, {what}"));
        let before = cpu()?;
        let played: Pinged =
            app::output(place, &["ping", &to, connections, &millis]).with_context(|| format!("{case}, {what}"))?;
        all.extend([(case, RATE, played.rate), (case, P50, played.p50), (case, P99, played.p99)]);
        if let (Some(before), Some(after)) = (before, cpu()?) {
            let micros = after.saturating_sub(before).as_secs_f64() * 1e6;
            all.push((case, CPU_PER_MESSAGE, micros / played.messages as f64));
        }
    }
    for case in ["upload", "download"] {
        settings.progress(format_args!("{case}, {what}"));
        let before = cpu()?;
        let moved: Streamed = app::output(place, &[case, &to, &millis]).with_context(|| format!("{case}, {what}"))?;
        all.push((case, THROUGHPUT, moved.gigabits()));
        if let (Some(before), Some(after)) = (before, cpu()?) {
            let millis = after.saturating_sub(before).as_secs_f64() * 1e3;
            all.push((case, CPU_PER_GB, millis / (moved.bytes as f64 / 1e9)));
        }
    }
    Ok(all)
}

/// Why the agent does not take this value of `proxy.splice`; `None` where it does.
fn refusal(ground: &mut Ground, way: &str) -> Result<Option<String>> {
    ground.config.set("proxy", "splice", way);
    let file = ground.lab.temp().join("check.yaml");
    std::fs::write(&file, ground.config.to_text()).with_context(|| format!("writing {}", file.display()))?;
    let args = ["config".as_ref(), "check".as_ref(), file.as_os_str()];
    let output = ground.lab.on_node().output(bins::interceptor()?, args)?;
    if output.status.success() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    // Without the place in our file, which nobody can look at later.
    let told = text.find("proxy.splice").and_then(|at| text.get(at..)?.lines().next()).unwrap_or(&text);
    Ok(Some(told.trim().to_owned()))
}

/// The hooks have sent the connections to the agent: 1 + 1000 + 2 of them.
fn intercepted(agent: &Agent) -> Result<()> {
    let redirected = kernel_count(&agent.status()?, "outbound", "redirected")?;
    anyhow::ensure!(redirected == 1003, "{redirected} connections were redirected instead of 1003");
    Ok(())
}

/// What the hooks have counted for a direction and a reason.
pub(super) fn kernel_count(status: &Value, direction: &str, reason: &str) -> Result<u64> {
    let counts = status["kernel"].as_array().with_context(|| format!("no kernel counts in {status}"))?;
    let same = |count: &&Value| count["direction"] == direction && count["reason"] == reason;
    let count = counts.iter().find(same).and_then(|count| count["connections"].as_u64());
    count.with_context(|| format!("no {direction} {reason} in {status}"))
}
