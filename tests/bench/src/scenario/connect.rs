//! `connect`: a new connection for every request.
//!
//! The client closes by itself; the second case says nothing of the port's protocol, which the agent has to find out.
//! In the third the client announces it with `Connection: close`: the peers keep their upstream connections then, the
//! agent passes the field on as it came, and the server closes.

use std::net::SocketAddr;

use anyhow::{Context as _, Result};

use super::http::{Call, call};
use super::{Outcome, Scenario};
use crate::app::{self, Fresh};
use crate::collect::Collected;
use crate::field::{Field, cpu_per_request};
use crate::ground::{self, Ground, ROUTE, UNDECLARED};
use crate::row::metric::{CPU, P50, P99, RATE};
use crate::settings::Settings;
use crate::subject::Subject;

pub(super) const SCENARIO: Scenario = Scenario { name: "connect", help: "a new connection for every request", run };

const CALLERS: u32 = 32;

fn run(settings: &Settings) -> Result<Outcome> {
    let mut field = Field::new(Ground::new("connect")?)?;
    let mut collected = Collected::default();
    let announced = Call { case: "c32 100 B Connection: close", path: "/100", connections: CALLERS, close: true };
    for round in 1..=settings.rounds() {
        for subject in Subject::ALL {
            let to = field.http(subject)?;
            fresh(&mut field, settings, round, subject, to, "c32 100 B", &mut collected)?;
        }
        let undeclared = ground::service(0, UNDECLARED);
        fresh(&mut field, settings, round, Subject::Ours, undeclared, "c32 100 B undeclared", &mut collected)?;
        for subject in Subject::ALL {
            let to = field.http(subject)?;
            call(&mut field, settings, round, subject, to, &announced, &mut collected)?;
        }
    }
    Ok(collected.rows("connect").into())
}

fn fresh(
    field: &mut Field,
    settings: &Settings,
    round: usize,
    subject: Subject,
    to: SocketAddr,
    case: &str,
    collected: &mut Collected,
) -> Result<()> {
    settings.progress(format_args!("{case}, round {round}: {subject}"));
    let program = field.program(subject)?;
    let (to, callers) = (to.to_string(), CALLERS.to_string());
    let millis = settings.duration().as_millis().to_string();
    let cpu = || program.map(|program| program.cpu()).transpose();
    let before = cpu()?;
    let words = ["fresh", &to, &callers, &millis, ROUTE];
    let done: Fresh = app::output(field.caller(subject), &words).with_context(|| format!("{case}: {subject}"))?;
    collected.add(case, RATE, subject, done.rate);
    collected.add(case, P50, subject, done.p50);
    collected.add(case, P99, subject, done.p99);
    if let (Some(before), Some(after)) = (before, cpu()?) {
        collected.add(case, CPU, subject, cpu_per_request(before, after, done.requests));
    }
    Ok(())
}
