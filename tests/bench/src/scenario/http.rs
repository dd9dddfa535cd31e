//! `http`: HTTP/1.1 over kept-alive connections, from one to 256 of them, with small and large answers.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};

use super::{Outcome, Scenario};
use crate::collect::Collected;
use crate::field::{Field, cpu_per_request};
use crate::ground::{Ground, ROUTE};
use crate::row::metric::{CPU, P50, P99, PSS, RATE, RSS};
use crate::settings::Settings;
use crate::subject::Subject;
use crate::wrk::Run;

pub(super) const SCENARIO: Scenario =
    Scenario { name: "http", help: "HTTP/1.1 keep-alive, 1/32/256 connections × 100 B/10 KiB/1 MiB answers", run };

const CONNECTIONS: [u32; 3] = [1, 32, 256];
const ANSWERS: [(&str, &str); 3] = [("/100", "100 B"), ("/10k", "10 KiB"), ("/1m", "1 MiB")];

/// What is called, how often at a time, and the case that it is a measurement of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) case: &'a str,
    pub(super) path: &'a str,
    pub(super) connections: u32,
    /// A new connection for every request.
    pub(super) close: bool,
}

fn run(settings: &Settings) -> Result<Outcome> {
    let mut field = Field::new(Ground::new("http")?)?;
    let mut collected = Collected::default();
    for (path, size) in ANSWERS {
        for connections in settings.pick(&CONNECTIONS[1..2], &CONNECTIONS, &CONNECTIONS).iter().copied() {
            let case = format!("c{connections} {size}");
            for round in settings.rounds_of(&case) {
                for subject in Subject::ALL {
                    let to = field.http(subject)?;
                    let one = Call { case: &case, path, connections, close: false };
                    call(&mut field, settings, round, subject, to, &one, &mut collected)?;
                }
            }
        }
    }
    for subject in Subject::ALL {
        if let Some(program) = field.program(subject)? {
            let memory = program.memory()?;
            collected.add("after all of it", RSS, subject, memory.rss as f64 / 1e6);
            collected.add("after all of it", PSS, subject, memory.pss as f64 / 1e6);
        }
    }
    Ok(collected.rows("http").into())
}

/// Measures one call for one subject with wrk: rate, latencies, and the CPU time that the subject took.
pub(super) fn call(
    field: &mut Field,
    settings: &Settings,
    round: usize,
    subject: Subject,
    to: SocketAddr,
    call: &Call<'_>,
    collected: &mut Collected,
) -> Result<()> {
    let case = call.case;
    settings.progress(format_args!("{case}, round {round}: {subject}"));
    let program = field.program(subject)?;
    let url = format!("http://{to}{}", call.path);
    let close: &[&str] = if call.close { &["Connection: close"] } else { &[] };
    let headers = [&[ROUTE], close].concat();
    let run = Run { url: &url, headers: &headers, connections: call.connections, seconds: settings.seconds() };
    let before = program.map(|program| program.cpu()).transpose()?;
    let report = run.run(&field.ground.lab, field.caller(subject)).with_context(|| format!("{case}: {subject}"))?;
    let after = program.map(|program| program.cpu()).transpose()?;
    collected.add(case, RATE, subject, report.rate());
    collected.add(case, P50, subject, report.p50);
    collected.add(case, P99, subject, report.p99);
    if let (Some(before), Some(after)) = (before, after) {
        collected.add(case, CPU, subject, cpu_per_request(before, after, report.requests));
    }
    Ok(())
}
