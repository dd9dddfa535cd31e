//! `cargo xtask lint`: formatting, clippy for both targets, and what the dependencies are. It changes no file and installs
//! nothing.

use std::process::Command;

use anyhow::Result;

use crate::process::{say, shown};
use crate::setup::cargo_deny;
use crate::tally::Tally;
use crate::test::TIERS;
use crate::toolchain::Rustc;
use crate::workspace::Workspace;

/// Check formatting, lints and dependencies; changes nothing
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask lint   needs neither root nor the eBPF tools
  cargo fmt --all    mends the formatting")]
pub(crate) struct Args {}

/// Runs the command.
pub(crate) fn run(workspace: &Workspace, _args: &Args) -> Result<()> {
    let mut tally = Tally::default();
    tally.add("format", || shown("formatting", &mut workspace.cargo(&["fmt", "--all", "--check"])));
    tally.add("clippy", || {
        let mut cargo = workspace.cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]);
        // Lints of the agent do not depend on what the object holds.
        shown("clippy", cargo.env("INTERCEPTOR_EBPF", "skip"))
    });
    tally.add("clippy-tiers", || {
        // `--all-targets` leaves out what plain `cargo test` does not run.
        let mut cargo = workspace.cargo(&["clippy", "--package", "interceptor-tests"]);
        cargo.args(TIERS.iter().flat_map(|tier| ["--test", tier])).args(["--", "-D", "warnings"]);
        shown("clippy for the privileged tiers", cargo.env("INTERCEPTOR_EBPF", "skip"))
    });
    if Rustc::current()?.builds_core() {
        tally.add("clippy-bpf", || clippy_bpf(workspace));
    } else {
        say("clippy for the BPF target left out: this compiler has no rust-src (`cargo xtask setup` adds it)");
    }
    match cargo_deny::find(workspace) {
        Some(program) => {
            let mut deny = Command::new(program);
            deny.current_dir(workspace.root()).args(["check", "licenses", "bans", "sources"]);
            tally.add("dependencies", || shown("licences, duplicates and sources of the dependencies", &mut deny));
        }
        None => say("the dependencies are left out: there is no cargo-deny (`cargo xtask setup` adds it)"),
    }
    tally.finish()
}

/// The kernel side is empty on the host: only for its own target does clippy see it.
fn clippy_bpf(workspace: &Workspace) -> Result<()> {
    let mut cargo = workspace.cargo(&["clippy", "--package", "interceptor-ebpf", "-Z", "build-std=core"]);
    cargo.args(["--target", "bpfel-unknown-none", "--profile", "bpf", "--target-dir"]);
    cargo.arg(workspace.target().join("bpf")).args(["--", "-D", "warnings"]);
    shown("clippy for the BPF target", cargo.env("RUSTC_BOOTSTRAP", "1"))
}
