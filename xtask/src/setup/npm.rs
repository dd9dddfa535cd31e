//! Packages from npm: clients for the tests. `setup` calls it. They go below target/test-tools, as those from PyPI do; a
//! change of the list or of Node renews them.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::quietly;
use crate::workspace::Workspace;

/// The list, below the project's root.
const MANIFEST: &str = "tests/netns/real/package.json";

/// Below target/test-tools; the tests look there.
const DIR: &str = "node";

/// Below the packages' directory: for which Node and which list they were installed.
const STAMP: &str = "installed.txt";

/// Returns once the packages are where the tests look for them.
pub(crate) fn ensure(workspace: &Workspace) -> Result<()> {
    let manifest = workspace.root().join(MANIFEST);
    let text = fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    let dir = workspace.target().join("test-tools").join(DIR);
    let wanted = format!("{}\n{text}", node()?);
    if fs::read_to_string(dir.join(STAMP)).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    fs::write(dir.join("package.json"), text).with_context(|| format!("cannot write to {}", dir.display()))?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--omit=dev", "--prefix"]).arg(&dir);
    quietly(workspace, "installing packages from npm, needed to be clients that nobody here wrote", &mut npm)?;
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::MANIFEST;

    #[test]
    fn every_package_has_its_version() {
        let text = fs::read_to_string(format!("{}/../{MANIFEST}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let (_, list) = text.split_once("\"dependencies\": {").unwrap();
        let (list, _) = list.split_once('}').unwrap();
        let packages: Vec<_> = list.lines().filter_map(|line| line.split_once("\": \"")).collect();
        assert!(!packages.is_empty());
        // No range, no tag: what is tested today is tested tomorrow.
        assert!(packages.iter().all(|(_, version)| version.starts_with(|first: char| first.is_ascii_digit())));
    }
}
