//! `cargo xtask demo`: builds the release agent and the demonstration of package `interceptor-tests`, then becomes the
//! demonstration. What it shows, and its options, are that program's own.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::build;
use crate::process::say;
use crate::setup::{self, Purpose};
use crate::workspace::Workspace;

/// Show the interceptor at work on this machine, without a cluster (needs root)
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask demo         build, run, tell what happens
  cargo xtask demo --json  the same as JSON on stdout; everything else goes to stderr
  cargo xtask demo --keep  leave the network namespaces for a look around")]
pub(crate) struct Args {
    /// One JSON object per line on stdout and nothing else
    #[arg(long)]
    json: bool,
    /// Leave everything in place at the end
    #[arg(long)]
    keep: bool,
    /// Further arguments for the demonstration
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<OsString>,
}

/// Runs the command; returns only when the demonstration cannot be started.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    setup::ready(workspace, Purpose::Demo)?;
    build::agent(workspace, "release", &["--package", "interceptor-tests", "--bins"])?;
    let agent = workspace.release("interceptor");
    let demo = workspace.release("demo");
    for program in [&agent, &demo] {
        ensure!(program.is_file(), "the build did not make {}", program.display());
    }
    say(format_args!("starting {}", demo.display()));
    let mut command = Command::new(&demo);
    command.args(args.json.then_some("--json")).args(args.keep.then_some("--keep")).args(&args.rest);
    Err(command.env("INTERCEPTOR_BIN", agent).exec()).with_context(|| format!("cannot run {}", demo.display()))
}
