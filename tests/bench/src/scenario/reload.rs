//! `reload`: from the moment in which a new configuration file is in place to the first answer that follows it.
//!
//! One connection asks over and over while azureuser's copy comes and goes (rule R9); nothing is restarted.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use interceptor_tests::http::Connection;

use super::{Outcome, Scenario};
use crate::ground::{self, Ground, HTTP, LIMIT, ROUTE};
use crate::row::{Better, Metric, Row};
use crate::settings::Settings;

pub(super) const SCENARIO: Scenario = Scenario {
    name: "reload",
    help: "from a change of the configuration file to the first request that follows it",
    run,
};

const TIME: Metric = Metric { name: "p50", unit: "ms", better: Better::Lower };
const LONGEST: Metric = Metric { name: "longest", unit: "ms", better: Better::Lower };

fn run(settings: &Settings) -> Result<Outcome> {
    let mut ground = Ground::new("reload")?;
    let agent = ground.agent()?;
    let copy = ground.service_of(1)?;
    let stream = ground.captured.connect(ground::service(0, HTTP))?;
    stream.set_read_timeout(Some(LIMIT)).context("setting a read timeout")?;
    stream.set_nodelay(true).context("setting TCP_NODELAY")?;
    let mut connection = Connection::new(stream);
    let mut times = Vec::new();
    for change in 1..=settings.pick(4, 20, 40) {
        settings.progress(format_args!("change {change}"));
        // There at first, then gone, then there again.
        let expected = if change % 2 == 1 {
            ground.config.remove_service("azureuser", "upstream");
            "upstream.default azureuser"
        } else {
            ground.config.service(&copy);
            "upstream.azureuser azureuser"
        };
        let text = ground.config.to_text();
        ensure!(ask(&mut connection)? != expected, "the change {change} was in force before it was made");
        let begin = Instant::now();
        agent.write_config(&text)?;
        while ask(&mut connection)? != expected {
            ensure!(begin.elapsed() < LIMIT, "the change {change} is not in force after {LIMIT:?}");
        }
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        // Changes come at any point of the agent's own pace.
        std::thread::sleep(Duration::from_millis(10 + 37 * change % 90));
    }
    let longest = times.iter().copied().fold(0.0, f64::max);
    let rows = vec![
        Row::ours("reload", "first request", TIME, times),
        Row::ours("reload", "first request", LONGEST, vec![longest]),
    ];
    Ok(rows.into())
}

/// Who answers, and with which route header it was asked.
fn ask(connection: &mut Connection<std::net::TcpStream>) -> Result<String> {
    let request = format!("GET /who HTTP/1.1\r\nHost: upstream\r\n{ROUTE}\r\n\r\n");
    connection.send(request.as_bytes()).context("sending")?;
    let answer = connection.response("GET")?;
    ensure!(answer.status()? == 200, "the answer was {}", answer.start);
    Ok(String::from_utf8_lossy(&answer.body).into_owned())
}
