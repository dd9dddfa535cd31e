//! `cargo xtask demo`: builds the release agent and the demonstration of package `interceptor-tests`, then becomes the
//! demonstration. What it shows, and its options, are that program's own.

use std::ffi::OsString;

use anyhow::Result;

use crate::build;
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
    let options = [args.json.then_some("--json"), args.keep.then_some("--keep")];
    let options = options.into_iter().flatten().map(OsString::from).chain(args.rest.iter().cloned());
    build::and_become(workspace, &["interceptor-tests"], "demo", &options.collect::<Vec<_>>())
}
