//! `interceptor-soak`: mixed traffic for as long as one likes while the agent is upgraded, killed, hung and reconfigured;
//! every answer is checked, and whether the agent grows.
//!
//! `cargo xtask soak` builds everything and runs it. The report goes to stdout, progress to stderr. It ends with 1 at a wrong
//! answer, a failure that was not promised, or a slope over its bound. docs/soak.md says more.

mod app;
mod children;
mod churn;
mod client;
mod clock;
mod deployed;
mod events;
mod judge;
mod markdown;
mod plan;
mod progress;
mod random;
mod report;
mod resources;
mod run;
mod scene;
mod slope;
mod soak;
mod tally;
mod timeline;
mod told;
mod truth;

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;

/// Let mixed traffic run while the agent is upgraded, killed, hung and reconfigured, and check every answer.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask soak", bin_name = "cargo xtask soak")]
struct Cli {
    /// How long, in minutes
    #[arg(long, value_name = "N", default_value_t = 2.0)]
    minutes: f64,
    /// Do the same again: of the random numbers [default: another one each time]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Write the report to a file as well, as Markdown
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

fn main() -> ExitCode {
    let app = env::args_os().nth(1).is_some_and(|word| word == app::WORD);
    match if app { app::run().map(|()| true) } else { run(&Cli::parse()) } {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            writeln!(io::stderr(), "error: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

/// Whether all was well.
fn run(cli: &Cli) -> Result<bool> {
    ensure!((0.2..=10_080.0).contains(&cli.minutes), "--minutes {}: between 0.2 and 10080", cli.minutes);
    let seed = cli.seed.unwrap_or_else(|| clock::now() % 1_000_000);
    writeln!(io::stderr(), "soak of {} minutes, seed {seed}", cli.minutes).ok();
    let report = run::run(Duration::from_secs_f64(cli.minutes * 60.0), seed)?;
    let text = markdown::text(&report, &format!("cargo xtask soak --minutes {}", cli.minutes));
    if let Some(path) = &cli.report {
        fs::write(path, &text).with_context(|| format!("writing {}", path.display()))?;
    }
    let output = if cli.json { serde_json::to_string(&report)? + "\n" } else { text };
    io::stdout().write_all(output.as_bytes()).context("writing to stdout")?;
    Ok(report.ok)
}
