//! `mesh`: the same call with the caller captured and with both sides captured on one node. What the caller's agent has
//! routed is not intercepted again, so that it is carried by one proxy either way.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::opaque::kernel_count;
use super::{Outcome, Scenario};
use crate::collect::Collected;
use crate::field::cpu_per_request;
use crate::ground::{self, Ground, HTTP, ROUTE};
use crate::row::metric::{CPU, P50, P99, RATE};
use crate::row::{Better, Metric};
use crate::settings::Settings;
use crate::subject::Subject;
use crate::usage::Program;
use crate::wrk::Run;

pub(super) const SCENARIO: Scenario =
    Scenario { name: "mesh", help: "caller and callee captured on one node: one proxy pass, not two", run };

const PASSES: Metric = Metric { name: "passes per request", unit: "", better: Better::Lower };
const SHARE: Metric = Metric { name: "requests", unit: "×", better: Better::Higher };
const CONNECTIONS: u32 = 32;

fn run(settings: &Settings) -> Result<Outcome> {
    let mut ground = Ground::new("mesh")?;
    // Both pods are below it.
    ground.config.set("capture", "cgroup", json!(ground.lab.pods_cgroup()));
    let callee = ground.upstream(1)?.clone();
    let mut agent = ground.agent()?;
    let program = Program::of_group(agent.process().pid());
    let url = format!("http://{}/100", ground::service(0, HTTP));
    let mut collected = Collected::default();
    for round in 1..=settings.rounds() {
        let mut rates = Vec::new();
        for both in [false, true] {
            let case = if both { "both captured" } else { "caller captured" };
            settings.progress(format_args!("{case}, round {round}"));
            ground.config.remove_workload(callee.name());
            if both {
                ground.config.workload(&callee, Some("azureuser"));
            }
            agent.reload(&ground.config)?;
            let (cpu, before) = (program.cpu()?, agent.status()?);
            let run = Run { url: &url, headers: &[ROUTE], connections: CONNECTIONS, seconds: settings.seconds() };
            let report = run.run(&ground.lab, &ground.captured)?;
            let (cpu, after) = (cpu_per_request(cpu, program.cpu()?, report.requests), agent.status()?);
            let grown = |direction, reason| {
                Ok::<_, anyhow::Error>(
                    kernel_count(&after, direction, reason)? - kernel_count(&before, direction, reason)?,
                )
            };
            let (taken, peers) = (grown("inbound", "redirected")?, grown("inbound", "peer")?);
            ensure!(taken == 0, "{case}: the callee's side has intercepted {taken} connections again");
            ensure!(
                !both || peers > 0,
                "{case}: no hook on the callee's side has seen a connection: it is not captured"
            );
            let published = |status: &serde_json::Value| status["flows"]["published"].as_u64();
            let records = published(&after).zip(published(&before)).map(|(after, before)| after - before);
            let records = records.with_context(|| format!("no flows.published in {after}"))?;
            // Besides the requests' records there is one for each connection.
            let passes = records.saturating_sub(CONNECTIONS.into()) as f64 / report.requests as f64;
            rates.push(report.rate());
            for (metric, value) in
                [(RATE, report.rate()), (P50, report.p50), (P99, report.p99), (CPU, cpu), (PASSES, passes)]
            {
                collected.add(case, metric, Subject::Ours, value);
            }
        }
        if let [caller, both] = rates.as_slice() {
            collected.add("both / caller captured", SHARE, Subject::Ours, both / caller);
        }
    }
    Ok(collected.rows("mesh").into())
}
