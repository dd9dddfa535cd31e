//! `cargo xtask build`: the agent with its eBPF programs. `demo` and `test` call it for the release they run.

use anyhow::Result;

use crate::process::{say, shown};
use crate::setup::{self, Purpose};
use crate::workspace::Workspace;

/// Build the agent with the eBPF programs in it, installing what that takes
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask build            target/debug/interceptor
  cargo xtask build --release  target/release/interceptor

A plain `cargo build` does the same once the tools are there; without them it builds an agent that
can do everything but capture.")]
pub(crate) struct Args {
    /// Optimised, as it is deployed
    #[arg(long)]
    release: bool,
}

/// Runs the command.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    setup::ready(workspace, Purpose::Build)?;
    let profile = if args.release { "release" } else { "dev" };
    agent(workspace, profile, &[])?;
    let dir = if args.release { "release" } else { "debug" };
    say(format_args!("built {}", workspace.target().join(dir).join("interceptor").display()));
    Ok(())
}

/// Builds the agent, and what `also` adds to cargo's arguments. The tools must be there.
pub(crate) fn agent(workspace: &Workspace, profile: &str, also: &[&str]) -> Result<()> {
    let mut cargo = workspace.cargo(&["build", "--package", "interceptor", "--profile", profile]);
    cargo.args(also).env("INTERCEPTOR_EBPF", "require");
    shown("building the agent with its eBPF programs", &mut cargo)
}
