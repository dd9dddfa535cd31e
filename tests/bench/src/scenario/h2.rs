//! `h2`: HTTP/2 with prior knowledge, many streams at a time on a few connections, as gRPC's clients have it.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};

use super::{Outcome, Scenario};
use crate::collect::Collected;
use crate::field::{Field, cpu_per_request};
use crate::ground::{Ground, ROUTE};
use crate::h2load::Run;
use crate::row::metric::{CPU, MEAN, RATE, RSS};
use crate::settings::Settings;
use crate::subject::Subject;

pub(super) const SCENARIO: Scenario =
    Scenario { name: "h2", help: "HTTP/2, 8 connections × 32 streams × 100 B/10 KiB answers, and 1 × 1", run };

/// Path, connections, streams on each, and the case that it is.
const CASES: [(&str, u32, u32, &str); 3] =
    [("/100", 8, 32, "c8 m32 100 B"), ("/10k", 8, 32, "c8 m32 10 KiB"), ("/100", 1, 1, "c1 m1 100 B")];

fn run(settings: &Settings) -> Result<Outcome> {
    let mut field = Field::new(Ground::new("h2")?)?;
    let mut collected = Collected::default();
    for subject in Subject::ALL {
        prove(&field, subject, field.http2(subject)?)?;
    }
    for (path, connections, streams, case) in settings.pick(&CASES[..1], &CASES, &CASES).iter().copied() {
        for round in settings.rounds_of(case) {
            for subject in Subject::ALL {
                settings.progress(format_args!("{case}, round {round}: {subject}"));
                let url = format!("http://{}{path}", field.http2(subject)?);
                let run = Run { url: &url, header: ROUTE, connections, streams, seconds: settings.seconds() };
                let program = field.program(subject)?;
                let before = program.map(|program| program.cpu()).transpose()?;
                let report = run.run(field.caller(subject)).with_context(|| format!("{case}: {subject}"))?;
                let after = program.map(|program| program.cpu()).transpose()?;
                collected.add(case, RATE, subject, report.rate());
                collected.add(case, MEAN, subject, report.mean);
                if let (Some(before), Some(after)) = (before, after) {
                    collected.add(case, CPU, subject, cpu_per_request(before, after, report.requests));
                }
            }
        }
    }
    for subject in Subject::ALL {
        if let Some(program) = field.program(subject)? {
            collected.add("after all of it", RSS, subject, program.memory()?.rss as f64 / 1e6);
        }
    }
    Ok(collected.rows("h2").into())
}

/// A call over HTTP/2 reaches the copy that its header names.
fn prove(field: &Field, subject: Subject, to: SocketAddr) -> Result<()> {
    let url = format!("http://{to}/who");
    let args = ["--silent", "--noproxy", "*", "--http2-prior-knowledge", "-H", ROUTE, &url];
    let output = field.caller(subject).output("curl", args)?;
    let body = String::from_utf8_lossy(&output.stdout);
    ensure!(body == "upstream.azureuser azureuser", "{subject} at {to} answered {body:?} ({})", output.status);
    Ok(())
}
