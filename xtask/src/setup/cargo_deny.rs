//! cargo-deny, which `lint` asks about the dependencies' licences, sources and duplicates. `setup` calls it for the tests. It is
//! compiled below target/test-tools where none is on the PATH; unoptimised, as it runs for a second.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::process::quietly;
use crate::workspace::Workspace;

const VERSION: &str = "0.20.2";

/// Returns once there is one that runs.
pub(crate) fn ensure(workspace: &Workspace) -> Result<()> {
    if find(workspace).is_some() {
        return Ok(());
    }
    let mut cargo = workspace.cargo(&["install", "cargo-deny", "--version", VERSION, "--locked", "--force"]);
    cargo.args(["--profile", "dev", "--no-default-features", "--root"]).arg(directory(workspace));
    // Its build belongs in a directory of its own, which cargo removes afterwards.
    cargo.env_remove("CARGO_TARGET_DIR");
    quietly(workspace, "compiling cargo-deny, needed to check the dependencies; takes a minute", &mut cargo)
}

/// The program, if there is one that runs.
pub(crate) fn find(workspace: &Workspace) -> Option<PathBuf> {
    let runs =
        |program: &PathBuf| Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    [directory(workspace).join("bin/cargo-deny"), PathBuf::from("cargo-deny")].into_iter().find(runs)
}

fn directory(workspace: &Workspace) -> PathBuf {
    workspace.target().join("test-tools/cargo-deny")
}
