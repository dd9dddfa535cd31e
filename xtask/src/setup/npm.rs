//! Packages from npm, for the tests with real programs. `setup` calls it. They go below target/test-tools, so that nothing
//! else of the machine is touched; a change of the list or of Node renews them. No package's own script is run.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::quietly;
use crate::workspace::Workspace;

/// What is installed, below the project's root.
const LIST: &str = "tests/netns/propagation/npm/package.json";
/// Where it goes, below target/test-tools; the tests look there.
const DIR: &str = "node";
/// Below that directory: for which Node and which list it was installed.
const STAMP: &str = "installed.txt";

/// Returns once the packages are where the tests look for them.
pub(crate) fn ensure(workspace: &Workspace) -> Result<()> {
    let list = workspace.root().join(LIST);
    let text = fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let dir = workspace.target().join("test-tools").join(DIR);
    let wanted = format!("{}\n{text}", node()?);
    if is_installed(&dir, &wanted) {
        return Ok(());
    }
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    fs::write(dir.join("package.json"), &text).with_context(|| format!("cannot write to {}", dir.display()))?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]).arg(&dir);
    quietly(workspace, "installing packages from npm, needed to be an instrumented application", &mut npm)?;
    // Last: a run that was interrupted has no stamp.
    fs::write(dir.join(STAMP), wanted).with_context(|| format!("cannot write to {}", dir.display()))
}

fn node() -> Result<String> {
    let output = Command::new("node").arg("--version").output().context("cannot run node")?;
    if !output.status.success() {
        bail!("node --version failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn is_installed(dir: &Path, wanted: &str) -> bool {
    fs::read_to_string(dir.join(STAMP)).is_ok_and(|found| found == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_has_its_version() {
        let list = fs::read_to_string(format!("{}/../{LIST}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let (_, dependencies) = list.split_once("\"dependencies\": {").unwrap();
        let versions: Vec<&str> =
            dependencies.lines().filter_map(|line| line.split_once("\": \"")).map(|(_, v)| v).collect();
        assert!(
            !versions.is_empty() && versions.iter().all(|v| v.starts_with(|c: char| c.is_ascii_digit())),
            "{versions:?}"
        );
    }
}
