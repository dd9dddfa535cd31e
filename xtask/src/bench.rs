//! `cargo xtask bench`: builds the release agent and the benchmark of package `interceptor-bench`, then becomes the
//! benchmark. What it measures, and its options, are that program's own.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::build;
use crate::process::{say, shown};
use crate::setup::{self, Purpose};
use crate::workspace::Workspace;

/// Measure the interceptor against the direct connection, HAProxy, nginx and Envoy (needs root)
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask bench --list                      the scenarios
  cargo xtask bench http opaque --quick         two of them, in a few minutes
  cargo xtask bench --smoke                     everything for a moment: does it run?
  cargo xtask bench --json target/bench.json    everything, with the values of every round
  cargo xtask bench --json FILE --plots DIR     plots as well
  cargo xtask bench --render target/bench.json  docs/performance.md anew from such a file

Nothing else should run on the machine meanwhile. Targets that are not met are told and fail nothing;
a scenario that cannot run and a request that is not answered do.")]
pub(crate) struct Args {
    /// Scenarios and options, as in the examples
    #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<OsString>,
}

/// Runs the command; returns only when the benchmark cannot be started.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let bench = workspace.release("interceptor-bench");
    let mut command = Command::new(&bench);
    command.args(&args.rest);
    if measures(&args.rest) {
        setup::ready(workspace, Purpose::Bench)?;
        let packages = ["--package", "interceptor-tests", "--package", "interceptor-bench", "--bins"];
        build::agent(workspace, "release", &packages)?;
        let agent = workspace.release("interceptor");
        ensure!(agent.is_file(), "the build did not make {}", agent.display());
        command.env("INTERCEPTOR_BIN", agent);
    } else {
        let mut cargo = workspace.cargo(&["build", "--release", "--package", "interceptor-bench"]);
        shown("building the benchmark", cargo.env("INTERCEPTOR_EBPF", "skip"))?;
    }
    say(format_args!("starting {}", bench.display()));
    Err(command.exec()).with_context(|| format!("cannot run {}", bench.display()))
}

/// Whether these arguments need a machine that is made ready and an agent.
fn measures(rest: &[OsString]) -> bool {
    !rest.iter().any(|word| word == "--list" || word.to_string_lossy().starts_with("--render"))
}

#[cfg(test)]
mod tests {
    use super::measures;

    #[test]
    fn nothing_is_installed_to_list_scenarios_or_to_render_a_result() {
        let words = |text: &str| text.split(' ').map(Into::into).collect::<Vec<_>>();
        assert!(measures(&words("http --quick")) && measures(&[]));
        assert!(!measures(&words("--list")) && !measures(&words("--render=a.json")) && !measures(&words("--render a")));
    }
}
