//! `cargo xtask test`: the test tiers. `unit` runs anywhere; `netns` runs the release agent on network namespaces and
//! needs root. A tier that cannot run fails: nothing is skipped without being told to. A whole run ends with the promises
//! of docs/specification.md, each by name.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::build;
use crate::process::{read_along, shown};
use crate::promises::{self, Results};
use crate::setup::{self, Purpose};
use crate::tally::Tally;
use crate::vm::{self, Accel};
use crate::workspace::Workspace;

/// Run the tests, all of them unless a tier is named
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask test                      everything; needs root
  cargo xtask test --unit               what needs neither root nor the eBPF tools
  cargo xtask test --vm                 on every kernel of the matrix, each in a virtual machine
  cargo xtask test --vm --kernel 6.1 --kernel newest
  cargo xtask test --kubernetes         the source and the ingress manager on a real cluster ($KUBECONFIG)
  cargo xtask test --netns keep_alive   the tests of one tier with `keep_alive` in their names
  cargo xtask test --netns -- --nocapture --test-threads=1")]
pub(crate) struct Args {
    /// Unit tests and the checks of the source tree
    #[arg(long)]
    unit: bool,
    /// The agent as a whole, on network namespaces of this machine (root)
    #[arg(long)]
    netns: bool,
    /// Tests of the netns tier on other kernels, in virtual machines; needs no root
    #[arg(long)]
    vm: bool,
    /// A kernel for --vm: a series of Debian's (6.1), `newest`, or a file [default: 5.10, 6.1, 6.12 and newest]
    #[arg(long = "kernel", value_name = "KERNEL", requires = "vm")]
    kernels: Vec<String>,
    /// The modules of a kernel that is a file (/lib/modules/VERSION)
    #[arg(long, value_name = "DIR", requires = "kernels")]
    modules: Option<PathBuf>,
    /// What executes the virtual machines
    #[arg(long, value_enum, default_value_t, requires = "vm")]
    accel: Accel,
    /// The Kubernetes source and the ingress manager on the cluster that $KUBECONFIG names, which has no ingress manager of
    /// its own; makes namespaces and removes them
    #[arg(long)]
    kubernetes: bool,
    /// Only tests whose names contain this
    filter: Option<String>,
    /// Further arguments for the test programs
    #[arg(last = true)]
    rest: Vec<String>,
}

/// The tests that need root or other people's programs: the laboratory by itself, the agent in it, nginx's and HAProxy's
/// opinion on where messages end, and the ingress manager and the manifests with kubectl.
pub(crate) const TIERS: [&str; 4] = ["lab", "netns", "differential", "ingress"];

/// What of the tiers `kubernetes` and `ingress` asks nothing of a cluster but its API.
const ON_A_CLUSTER: [&str; 4] = ["cluster::", "manager::", "election::", "dry_run::"];

/// Runs the command.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let all = !args.unit && !args.netns && !args.kubernetes && !args.vm;
    let mut tally = Tally::default();
    let mut results = Results::default();
    if all || args.unit {
        tally.add("unit", || unit(workspace, args, &mut results));
    }
    if all || args.netns {
        tally.add("netns", || netns(workspace, args, &mut results));
    }
    if args.vm {
        tally.add("vm", || vm::run(workspace, &machines(args)));
    }
    if args.kubernetes {
        tally.add("kubernetes", || kubernetes(workspace, args));
    }
    // Of a part of the tests it would say that most promises were not tried.
    if all && args.filter.is_none() && args.rest.is_empty() {
        tally.add("promises", || results.report(&promises::page(workspace)?));
    }
    tally.finish()
}

/// A cluster is used only where it was asked for: everything else runs these tests on the test API server.
fn kubernetes(workspace: &Workspace, args: &Args) -> Result<()> {
    let kubeconfig = kubeconfig(std::env::var_os("KUBECONFIG"))?;
    // The manager loads no eBPF programs: it is built with them only where the tools are there.
    let mut cargo = workspace.cargo(&["build", "--package", "interceptor"]);
    shown("building the ingress manager", &mut cargo)?;
    let mut cargo = workspace.cargo(&["test", "--package", "interceptor-tests", "--no-fail-fast"]);
    cargo.args(["--test", "kubernetes", "--test", "ingress", "--"]).args(ON_A_CLUSTER).args(&args.filter);
    // One at a time: a manager looks after all spaces of a cluster, those of the next test, too.
    cargo.args(["--test-threads", "1"]).args(&args.rest);
    cargo.env("INTERCEPTOR_TEST_KUBECONFIG", kubeconfig).env("INTERCEPTOR_BIN", workspace.debug("interceptor"));
    shown("kubernetes tests", &mut cargo)
}

/// The one file that `$KUBECONFIG` names, as the tests need it: they run in another directory.
fn kubeconfig(variable: Option<OsString>) -> Result<PathBuf> {
    let Some(path) = variable.filter(|path| !path.is_empty()) else {
        bail!("which cluster? Set KUBECONFIG to the kubeconfig of one that is there for tests");
    };
    fs::canonicalize(&path).with_context(|| {
        format!("reading $KUBECONFIG, {}: name one file, of a cluster that is there for tests", path.display())
    })
}

fn unit(workspace: &Workspace, args: &Args, results: &mut Results) -> Result<()> {
    let mut cargo = workspace.cargo(&["test", "--workspace", "--no-fail-fast"]);
    read_along("unit tests", with_selection(&mut cargo, args), |line| results.line(line))
}

fn netns(workspace: &Workspace, args: &Args, results: &mut Results) -> Result<()> {
    ensure!(setup::is_root()?, "the netns tier loads eBPF programs and makes network namespaces: run it as root");
    setup::ready(workspace, Purpose::Test)?;
    build::agent(workspace, "release", &[])?;
    let agent = workspace.release("interceptor");
    if !agent.is_file() {
        bail!("the build did not make {}", agent.display());
    }
    let mut cargo = workspace.cargo(&["test", "--package", "interceptor-tests", "--no-fail-fast"]);
    cargo.args(TIERS.iter().flat_map(|tier| ["--test", tier]));
    // The tests' own package may depend on the agent's library: it must not fall back to an empty object.
    cargo.env("INTERCEPTOR_BIN", agent).env("INTERCEPTOR_EBPF", "require");
    read_along("netns tests", with_selection(&mut cargo, args), |line| results.line(line))
}

fn machines(args: &Args) -> vm::Options<'_> {
    vm::Options {
        kernels: &args.kernels,
        modules: args.modules.clone(),
        accel: args.accel,
        filter: args.filter.as_deref(),
        rest: &args.rest,
    }
}

fn with_selection<'a>(cargo: &'a mut Command, args: &Args) -> &'a mut Command {
    cargo.args(&args.filter).arg("--").args(&args.rest)
}

#[cfg(test)]
mod tests {
    use super::kubeconfig;

    #[test]
    fn a_cluster_has_to_be_named_and_by_one_file() {
        let refused = |variable: Option<&str>| format!("{:#}", kubeconfig(variable.map(Into::into)).unwrap_err());
        assert!(refused(None).contains("Set KUBECONFIG"));
        assert!(refused(Some("")).contains("Set KUBECONFIG"));
        let two = refused(Some("/dev/null:/dev/null"));
        assert!(two.contains("/dev/null:/dev/null: name one file"), "{two}");
        assert_eq!(kubeconfig(Some("/dev/../dev/null".into())).unwrap().to_str(), Some("/dev/null"));
    }
}
