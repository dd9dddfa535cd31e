//! `cargo xtask soak`: builds the release agent and the soak of package `interceptor-soak`, then becomes the soak. What it
//! does, and its options, are that program's own.

use std::ffi::OsString;

use anyhow::{Result, ensure};

use crate::build;
use crate::setup::{self, Purpose};
use crate::workspace::Workspace;

/// Let mixed traffic run while the agent is upgraded, killed, hung and reconfigured, and check every answer (needs root)
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask soak --minutes 2                                   what every check of a clone does
  cargo xtask soak --minutes 60 --report docs/soak/report.md     a long one, with the report in a file
  cargo xtask soak --minutes 5 --seed 7 --json                   the same numbers again; the report as JSON
  cargo xtask soak --help                                        all options

It ends with 1 at a wrong answer, a failure that was not promised, or an agent that grows; docs/soak.md.")]
pub(crate) struct Args {
    /// Options, as in the examples
    #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<OsString>,
}

/// Runs the command; returns only when the soak cannot be started.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    ensure!(setup::is_root()?, "the soak loads eBPF programs and makes network namespaces: run it as root");
    setup::ready(workspace, Purpose::Soak)?;
    build::and_become(workspace, &["interceptor-tests", "interceptor-soak"], "interceptor-soak", &args.rest)
}
