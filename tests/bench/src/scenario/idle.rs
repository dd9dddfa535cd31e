//! `idle`: the memory of each program with nothing to do, and with many idle connections that carried one request each.
//!
//! Each program is a fresh one. What a connection takes is the growth divided by their number; the agent keeps a
//! connection to the upstream for each of them, the peers share theirs.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::{Pod, wait};

use super::{Outcome, Scenario};
use crate::app;
use crate::collect::Collected;
use crate::files;
use crate::ground::{self, Ground, HTTP, ROUTE};
use crate::peers;
use crate::row::metric::{PSS, RSS};
use crate::row::{Better, Metric};
use crate::settings::Settings;
use crate::subject::Subject;
use crate::usage::{Memory, Program};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "idle",
    help: "memory: idle, and with 10 000 idle connections that carried one request each",
    run,
};

const PER_CONNECTION: Metric = Metric { name: "RSS per connection", unit: "KiB", better: Better::Lower };
/// After the last request, before memory is read.
const SETTLE: Duration = Duration::from_millis(500);

fn run(settings: &Settings) -> Result<Outcome> {
    let ground = Ground::new("idle")?;
    let (count, note) = connections(settings)?;
    let mut collected = Collected::default();
    for round in 1..=settings.pick(1, 1, 3) {
        for (number, subject) in (round * 10..).zip([&[Subject::Ours][..], &Subject::PEERS].concat()) {
            settings.progress(format_args!("round {round}: {subject}"));
            let (idle, full) = if subject == Subject::Ours {
                let mut agent = ground.agent()?;
                let program = Program::of_group(agent.process().pid());
                fill(program, &ground.captured, ground::service(0, HTTP), count)?
            } else {
                let number = u16::try_from(number).context("numbering the peers")?;
                let peer = peers::start(&ground, subject, number)?;
                fill(Program::of_group(peer.process.pid()), &ground.plain, peer.http, count)?
            };
            collected.add("idle", RSS, subject, idle.rss as f64 / 1e6);
            collected.add("idle", PSS, subject, idle.pss as f64 / 1e6);
            collected.add("many connections", RSS, subject, full.rss as f64 / 1e6);
            let grown = full.rss.saturating_sub(idle.rss) as f64;
            collected.add("many connections", PER_CONNECTION, subject, grown / 1024.0 / count as f64);
        }
    }
    Ok(Outcome { rows: collected.rows("idle"), notes: vec![note] })
}

/// Memory before and while that many connections are held.
fn fill(program: Program, from: &Pod, to: std::net::SocketAddr, count: usize) -> Result<(Memory, Memory)> {
    sleep(SETTLE);
    let idle = program.memory()?;
    let mut holder = app::spawn(from, &["hold", &to.to_string(), &count.to_string(), ROUTE])?;
    wait::until(Duration::from_secs(60), "idle connections", || {
        ensure!(!holder.stdout().is_empty(), "not all of the {count} connections are open");
        Ok(())
    })
    .or_else(|error| holder.expect_running().and(Err(error)))?;
    sleep(SETTLE);
    Ok((idle, program.memory()?))
}

/// As many as asked for, or as many as a program may have open files here.
fn connections(settings: &Settings) -> Result<(usize, String)> {
    let wanted = settings.pick(1000, 10_000, 10_000);
    let files = usize::try_from(files::raise()?).unwrap_or(usize::MAX);
    // A connection through a proxy is two files; some remain for listeners and the rest.
    let possible = files.saturating_sub(1000) / 2;
    if wanted <= possible {
        return Ok((wanted, format!("{wanted} connections")));
    }
    Ok((possible, format!("{possible} connections instead of {wanted}: a program may have {files} files open here")))
}
