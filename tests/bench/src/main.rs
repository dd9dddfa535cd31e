//! `interceptor-bench`: measures the agent on the laboratory's node, against the direct connection and other proxies.
//!
//! `cargo xtask bench` builds everything and runs it. The result goes to stdout as a table and to a file as JSON;
//! progress goes to stderr. A target that is not met fails nothing; a scenario that cannot run, or a request that is not
//! answered, does.

mod app;
mod collect;
mod field;
mod figures;
mod files;
mod ground;
mod h2load;
mod machine;
mod markdown;
mod peers;
mod render;
mod report;
mod row;
mod scenario;
mod settings;
mod stats;
mod subject;
mod svg;
mod table;
mod targets;
mod upstream;
mod usage;
mod wrk;

use std::env;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;

use crate::machine::Machine;
use crate::report::{Done, Report};
use crate::scenario::Scenario;
use crate::settings::{Effort, Settings};

/// Measure the interceptor against the direct connection, HAProxy, nginx and Envoy.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
struct Cli {
    /// What to measure; everything unless something is named
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<String>,
    /// Only say which scenarios there are
    #[arg(long)]
    list: bool,
    /// Fewer and shorter rounds: minutes instead of a quarter of an hour and more
    #[arg(long, conflicts_with = "smoke")]
    quick: bool,
    /// Everything once, for a moment: shows that it runs
    #[arg(long)]
    smoke: bool,
    /// Only cases with this in their names, of the scenario `http`
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,
    /// Write the result, with the values of every round, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write charts of the result, as SVG
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Measure nothing: put a result that --json has written into docs/performance.md
    #[arg(long, value_name = "FILE", exclusive = true)]
    render: Option<PathBuf>,
}

fn main() -> ExitCode {
    let app = env::args_os().nth(1).is_some_and(|word| word == app::WORD);
    match if app { app::run() } else { run() } {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            writeln!(io::stderr(), "error: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let cli = Cli::parse();
    if cli.list {
        let lines = scenario::ALL.iter().map(|one| format!("{:<10} {}\n", one.name, one.help));
        return print(&lines.collect::<String>());
    }
    if let Some(file) = &cli.render {
        return render::run(file);
    }
    let chosen = choose(&cli.scenarios)?;
    files::raise()?;
    let report = measure(&cli, &chosen)?;
    if let Some(path) = &cli.json {
        report.write(path)?;
    }
    if let Some(dir) = &cli.plots {
        figures::write(&report, dir)?;
    }
    print(&table::text(&report, io::stdout().is_terminal()))?;
    let failed = report.failed();
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

fn choose(names: &[String]) -> Result<Vec<&'static Scenario>> {
    let known = |name: &str| scenario::ALL.iter().find(|one| one.name == name);
    if let Some(unknown) = names.iter().find(|name| known(name).is_none()) {
        let all: Vec<&str> = scenario::ALL.iter().map(|one| one.name).collect();
        bail!("no scenario {unknown}; there are {}", all.join(", "));
    }
    let wanted = |one: &&Scenario| names.is_empty() || names.iter().any(|name| name == one.name);
    Ok(scenario::ALL.iter().filter(wanted).collect())
}

fn measure(cli: &Cli, chosen: &[&Scenario]) -> Result<Report> {
    let (effort, word) = match (cli.smoke, cli.quick) {
        (true, _) => (Effort::Smoke, "smoke"),
        (_, true) => (Effort::Quick, "quick"),
        _ => (Effort::Full, "full"),
    };
    let settings = Settings::new(effort, cli.case.clone());
    let machine = Machine::describe()?;
    let started = Instant::now();
    let mut scenarios = Vec::new();
    for one in chosen {
        settings.begin(one.name);
        let outcome = (one.run)(&settings);
        settings.settle();
        let (outcome, error) = match outcome {
            Ok(outcome) => (outcome, None),
            Err(error) => (scenario::Outcome::default(), Some(format!("{error:#}"))),
        };
        let (name, help) = (one.name.to_owned(), one.help.to_owned());
        scenarios.push(Done { name, help, error, notes: outcome.notes, rows: outcome.rows });
    }
    let (rounds, seconds, took) = (settings.rounds(), settings.seconds(), started.elapsed().as_secs());
    let command = command(cli);
    Ok(Report { command, effort: word.to_owned(), rounds, seconds, took, machine, scenarios })
}

/// What one would type to repeat the run.
fn command(cli: &Cli) -> String {
    let mut words = vec!["cargo xtask bench".to_owned()];
    words.extend(cli.scenarios.iter().cloned());
    words.extend(cli.quick.then(|| "--quick".to_owned()));
    words.extend(cli.smoke.then(|| "--smoke".to_owned()));
    words.extend(cli.case.iter().map(|text| format!("--case '{text}'")));
    words.extend(cli.json.iter().map(|path| format!("--json {}", path.display())));
    words.join(" ")
}

fn print(text: &str) -> Result<()> {
    io::stdout().write_all(text.as_bytes()).context("writing to stdout")
}
