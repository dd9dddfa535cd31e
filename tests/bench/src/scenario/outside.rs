//! `outside`: a destination in no space tree (rule R11), from a pod that the agent captures and from one without agent.

use anyhow::{Result, ensure};

use super::opaque::kernel_count;
use super::{Outcome, Scenario};
use crate::app::{self, Dialled};
use crate::collect::Collected;
use crate::ground::{Ground, ROUTE};
use crate::row::metric::{P50, P99, RATE};
use crate::row::{Better, Metric, Row};
use crate::settings::Settings;
use crate::subject::Subject;
use crate::upstream;
use crate::wrk::Run;

pub(super) const SCENARIO: Scenario =
    Scenario { name: "outside", help: "a destination in no space tree: nothing may be lost (rule R11)", run };

/// Further rounds than elsewhere: what is looked for is smaller than what one round varies by.
const MORE: usize = 3;
const CONNECT: Metric = Metric { name: "connect() p50", unit: "µs", better: Better::Lower };
const ADDED: Metric = Metric { name: "added to connect", unit: "µs", better: Better::Lower };

fn run(settings: &Settings) -> Result<Outcome> {
    let ground = Ground::new("outside")?;
    // In no service, and not even known to the agent.
    let elsewhere = ground.lab.pod("elsewhere")?;
    let server = upstream::nginx(&ground.lab, &elsewhere)?;
    let agent = ground.agent()?;
    let to = elsewhere.at(upstream::HTTP);
    let (url, count) = (format!("http://{to}/100"), settings.pick("500", "3000", "10000"));
    let mut collected = Collected::default();
    let mut added = Vec::new();
    for round in 1..=settings.pick(1, settings.rounds() * MORE, settings.rounds() * MORE) {
        let mut pods = [(Subject::Direct, &ground.plain), (Subject::Ours, &ground.captured)];
        if round % 2 == 0 {
            // Whoever is first has no advantage over all rounds.
            pods.reverse();
        }
        let mut dialled = Vec::new();
        for (subject, pod) in pods {
            settings.progress(format_args!("round {round}: {subject}"));
            let run = Run { url: &url, headers: &[ROUTE], connections: 32, seconds: settings.seconds() };
            let report = run.run(&ground.lab, pod)?;
            collected.add("c32 100 B", RATE, subject, report.rate());
            collected.add("c32 100 B", P50, subject, report.p50);
            collected.add("c32 100 B", P99, subject, report.p99);
        }
        for (subject, pod) in pods {
            let one: Dialled = app::output(pod, &["dial", &to.to_string(), count])?;
            collected.add("connect", CONNECT, subject, one.p50);
            dialled.push((subject, one.p50));
        }
        let of = |wanted| dialled.iter().find(|(subject, _)| *subject == wanted).map(|(_, p50)| *p50);
        let (ours, theirs) = (of(Subject::Ours), of(Subject::Direct));
        added.extend(ours.zip(theirs).map(|(ours, theirs)| ours - theirs));
    }
    let status = agent.status()?;
    let (seen, taken) =
        (kernel_count(&status, "outbound", "not_captured")?, kernel_count(&status, "outbound", "redirected")?);
    ensure!(seen > 0 && taken == 0, "the hook saw {seen} connections and took {taken} of them: none was to be taken");
    drop(server);
    let mut rows = collected.rows("outside");
    rows.push(Row::ours("outside", "connect", ADDED, added));
    Ok(rows.into())
}
