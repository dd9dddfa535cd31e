//! `demo`: the walk that `cargo xtask demo` builds and runs. It needs root, and leaves nothing behind.
//!
//! Only the command line is here; [`interceptor_tests::demo`] does the work.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use interceptor_tests::demo::{self, Options, Output};

/// Walks through the worked example on one node made of namespaces, with real nginx, Redis, curl and openssl.
#[derive(Debug, Parser)]
#[command(name = "demo")]
struct Cli {
    /// Print one JSON object per step on stdout, and everything else on stderr.
    #[arg(long)]
    json: bool,
    /// Leave everything running at the end, and print commands to try.
    #[arg(long)]
    keep: bool,
    /// Check the scenery only, without the interceptor.
    #[arg(long, hide = true, conflicts_with_all = ["json", "keep"])]
    plumbing: bool,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            writeln!(std::io::stderr(), "demo: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<bool> {
    if cli.plumbing {
        let lines = demo::plumbing()?.join("\n");
        writeln!(std::io::stdout(), "{lines}").context("writing to stdout")?;
        return Ok(true);
    }
    let output = if cli.json { Output::Json } else { Output::Text };
    demo::run(Options { output, keep: cli.keep })
}
