//! `cargo xtask build`: the agent with its eBPF programs. `test` calls it for the release it runs; `demo`, `bench` and `soak`
//! become a program that is built along with it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

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

/// Builds the agent and the programs of these packages as they are deployed, and becomes one of them with these arguments.
/// Returns only when it cannot be started.
pub(crate) fn and_become(workspace: &Workspace, packages: &[&str], program: &str, args: &[OsString]) -> Result<()> {
    let mut also = vec!["--bins"];
    also.extend(packages.iter().flat_map(|package| ["--package", package]));
    agent(workspace, "release", &also)?;
    let (agent, program) = (workspace.release("interceptor"), workspace.release(program));
    for built in [&agent, &program] {
        ensure!(built.is_file(), "the build did not make {}", built.display());
    }
    say(format_args!("starting {}", program.display()));
    let error = Command::new(&program).args(args).env("INTERCEPTOR_BIN", agent).exec();
    Err(error).with_context(|| format!("cannot run {}", program.display()))
}

/// Builds the agent, and what `also` adds to cargo's arguments. The tools must be there.
pub(crate) fn agent(workspace: &Workspace, profile: &str, also: &[&str]) -> Result<()> {
    let mut cargo = workspace.cargo(&["build", "--package", "interceptor", "--profile", profile]);
    cargo.args(also).env("INTERCEPTOR_EBPF", "require");
    shown("building the agent with its eBPF programs", &mut cargo)
}
