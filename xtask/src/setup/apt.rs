//! Debian packages through apt. `setup` calls it with what is missing; with nothing missing it does nothing. It never
//! removes a package, and upgrades none but for a dependency. Where it may not install, it says what to do by hand.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::packages::Package;
use super::policy::NoServices;
use crate::process::{on_path, quietly, say};
use crate::workspace::Workspace;

/// apt, with its package lists read at most once per run.
pub(crate) struct Apt<'a> {
    workspace: &'a Workspace,
    updated: bool,
}

impl<'a> Apt<'a> {
    /// Does nothing yet.
    pub(crate) fn new(workspace: &'a Workspace) -> Self {
        Self { workspace, updated: false }
    }

    /// Installs `packages`, or says why it cannot.
    pub(crate) fn install(&mut self, packages: &[Package]) -> Result<()> {
        if packages.is_empty() {
            return Ok(());
        }
        for Package { name, why } in packages {
            say(format_args!("missing: {name}, needed to {why}"));
        }
        let names: Vec<&str> = packages.iter().map(|package| package.name.as_str()).collect();
        if !on_path("apt-get") {
            bail!("this machine has no apt; install what Debian calls: {}", names.join(" "));
        }
        if !is_root()? {
            let command = format!("apt-get install --no-install-recommends {}", names.join(" "));
            bail!("only root can install packages; run this as root and try again:\n  {command}");
        }
        self.update()?;
        let _no_services = NoServices::begin()?;
        let mut install = Command::new("apt-get");
        // What is needed here is never worth removing or upgrading a package of this machine.
        install.args(["install", "--yes", "--no-install-recommends", "--no-remove", "--no-upgrade"]).args(&names);
        install.env("DEBIAN_FRONTEND", "noninteractive");
        quietly(self.workspace, "installing Debian packages", &mut install)
    }

    /// Whether apt could install `package`.
    pub(crate) fn offers(&mut self, package: &str) -> Result<bool> {
        self.update()?;
        let output = Command::new("apt-cache").args(["policy", package]).output().context("cannot run apt-cache")?;
        Ok(has_candidate(&String::from_utf8_lossy(&output.stdout)))
    }

    /// The first dependency of `package` that begins with `prefix`.
    pub(crate) fn dependency(&mut self, package: &str, prefix: &str) -> Result<String> {
        self.update()?;
        let output = Command::new("apt-cache").args(["depends", package]).output().context("cannot run apt-cache")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let found = dependency_in(&text, prefix).map(str::to_owned);
        found.with_context(|| format!("apt knows no package {package} that depends on {prefix}*"))
    }

    /// Unpacks `packages` into `dir` without installing them.
    pub(crate) fn unpack(&mut self, packages: &[&str], dir: &Path) -> Result<()> {
        self.update()?;
        let archives = dir.join("archives");
        fs::create_dir_all(&archives).with_context(|| format!("cannot make {}", archives.display()))?;
        let mut download = Command::new("apt-get");
        download.arg("download").args(packages).current_dir(&archives);
        quietly(self.workspace, "downloading Debian packages, to be unpacked and not installed", &mut download)?;
        for entry in fs::read_dir(&archives)? {
            let mut extract = Command::new("dpkg-deb");
            extract.arg("--extract").arg(entry?.path()).arg(dir);
            quietly(self.workspace, "unpacking", &mut extract)?;
        }
        fs::remove_dir_all(&archives).with_context(|| format!("cannot remove {}", archives.display()))
    }

    fn update(&mut self) -> Result<()> {
        if !self.updated && on_path("apt-get") && is_root()? {
            let mut update = Command::new("apt-get");
            update.arg("update");
            quietly(self.workspace, "reading the package lists", &mut update)?;
        }
        self.updated = true;
        Ok(())
    }
}

/// Whether this process is root.
pub(crate) fn is_root() -> Result<bool> {
    // The kernel gives a process's directory to its effective user.
    Ok(fs::metadata("/proc/self").context("cannot read /proc/self")?.uid() == 0)
}

fn has_candidate(policy: &str) -> bool {
    let candidate = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
    candidate.is_some_and(|version| version != "(none)")
}

fn dependency_in<'a>(depends: &'a str, prefix: &str) -> Option<&'a str> {
    let names = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names.into_iter().find(|name| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::{dependency_in, has_candidate};

    #[test]
    fn a_package_without_a_version_to_install_is_not_offered() {
        assert!(has_candidate("llvm-22-dev:\n  Installed: (none)\n  Candidate: 1:22.1.8-1\n"));
        assert!(!has_candidate("llvm-22-dev:\n  Installed: (none)\n  Candidate: (none)\n"));
        assert!(!has_candidate(""));
    }

    #[test]
    fn a_dependency_is_found_by_the_beginning_of_its_name() {
        let depends = "libstd-rust-web-1.96\n  Depends: libc6\n  Depends: libllvm22\n  Conflicts: libllvm9\n";
        assert_eq!(dependency_in(depends, "libllvm"), Some("libllvm22"));
        assert_eq!(dependency_in(depends, "libzstd"), None);
    }
}
