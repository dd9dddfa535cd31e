//! `cargo xtask bench`: builds the release agent and the benchmark of package `interceptor-bench`, then becomes the
//! benchmark. What it measures, and its options, are that program's own.

use std::ffi::OsString;

use anyhow::Result;

use crate::build;
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
    // To list scenarios or to render a result takes no peers.
    setup::ready(workspace, if measures(&args.rest) { Purpose::Bench } else { Purpose::Build })?;
    build::and_become(workspace, &["interceptor-tests", "interceptor-bench"], "interceptor-bench", &args.rest)
}

/// Whether these arguments ask for measurements.
fn measures(rest: &[OsString]) -> bool {
    !rest.iter().any(|word| word == "--list" || word.to_string_lossy().starts_with("--render"))
}

#[cfg(test)]
mod tests {
    use super::measures;

    #[test]
    fn no_peers_are_installed_to_list_scenarios_or_to_render_a_result() {
        let words = |text: &str| text.split(' ').map(Into::into).collect::<Vec<_>>();
        assert!(measures(&words("http --quick")) && measures(&[]));
        assert!(!measures(&words("--list")) && !measures(&words("--render=a.json")) && !measures(&words("--render a")));
    }
}
