//! QEMU and kmod's depmod: those of this machine, else unpacked from Debian's packages below target/vm and not installed:
//! on a machine with another QEMU's tools installing would remove them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::process::{find_on_path, quietly, say};
use crate::setup;
use crate::workspace::Workspace;

const QEMU: &str = "qemu-system-x86_64";
/// Proves that all packages were unpacked.
const STAMP: &str = "complete";

/// Where the programs are.
pub(super) struct Emulator {
    qemu: PathBuf,
    kmod: PathBuf,
    /// Where they were unpacked; `None` where they are the machine's own.
    root: Option<PathBuf>,
}

impl Emulator {
    /// Finds the programs, or fetches them.
    pub(super) fn find(workspace: &Workspace) -> Result<Self> {
        if let (Some(qemu), Some(kmod)) = (find_on_path(QEMU), find_on_path("kmod")) {
            return Ok(Self { qemu, kmod, root: None });
        }
        let root = workspace.target().join("vm/qemu");
        if !root.join(STAMP).is_file() {
            unpack(workspace, &root)?;
        }
        let emulator =
            Self { qemu: root.join("usr/bin").join(QEMU), kmod: root.join("bin/kmod"), root: Some(root.clone()) };
        let version = emulator.command().arg("--version").output().context("cannot run QEMU")?;
        ensure!(
            version.status.success(),
            "QEMU in {} does not run: {}",
            root.display(),
            String::from_utf8_lossy(&version.stderr).trim()
        );
        Ok(emulator)
    }

    /// QEMU, told where its own files are.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.qemu);
        if let Some(root) = &self.root {
            command.env("LD_LIBRARY_PATH", libraries(root));
            for dir in ["usr/share/qemu", "usr/share/seabios"] {
                command.arg("-L").arg(root.join(dir));
            }
        }
        command
    }

    /// `kmod`, which is every program of its package by another name.
    pub(super) fn kmod(&self) -> &Path {
        &self.kmod
    }

    /// What `ldd` has to know to find the libraries of these programs.
    pub(super) fn library_path(&self) -> String {
        self.root.as_deref().map(libraries).unwrap_or_default()
    }
}

fn libraries(root: &Path) -> String {
    ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|dir| root.join(dir).display().to_string()).join(":")
}

fn unpack(workspace: &Workspace, root: &Path) -> Result<()> {
    let archives = root.join("archives");
    fs::create_dir_all(&archives).with_context(|| format!("cannot make {}", archives.display()))?;
    say("this machine has no QEMU for whole systems, needed to run other kernels");
    if setup::is_root()? {
        // Old lists name files that the mirror no longer has.
        let mut update = Command::new("apt-get");
        quietly(workspace, "reading the package lists", update.arg("update"))?;
    }
    let packages = not_installed(&["qemu-system-x86", "kmod"])?;
    let mut download = Command::new("apt-get");
    download.arg("download").args(packages).current_dir(&archives);
    quietly(workspace, "downloading QEMU and kmod, to be unpacked and not installed", &mut download)?;
    for archive in fs::read_dir(&archives)? {
        let mut extract = Command::new("dpkg-deb");
        extract.arg("--extract").arg(archive?.path()).arg(root);
        let status = extract.status().context("cannot run dpkg-deb")?;
        ensure!(status.success(), "dpkg-deb cannot unpack into {}", root.display());
    }
    fs::remove_dir_all(&archives).with_context(|| format!("cannot remove {}", archives.display()))?;
    fs::write(root.join(STAMP), "").with_context(|| format!("cannot write to {}", root.display()))
}

/// What apt would install for `packages`: they and those that they depend on, without what is there already.
fn not_installed(packages: &[&str]) -> Result<Vec<String>> {
    let mut simulate = Command::new("apt-get");
    simulate.args(["install", "--simulate", "--no-install-recommends"]).args(packages);
    let output = simulate.output().context("cannot run apt-get, by which QEMU would be had; install it by hand")?;
    let names = installs(&String::from_utf8_lossy(&output.stdout));
    if names.is_empty() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("apt does not know how to install {}: {}; try `apt-get update` first", packages.join(" "), said.trim());
    }
    Ok(names)
}

fn installs(simulation: &str) -> Vec<String> {
    let lines = simulation.lines().filter_map(|line| line.strip_prefix("Inst "));
    lines.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::installs;

    #[test]
    fn what_apt_would_install_is_read_and_what_it_would_remove_is_not() {
        let simulation = "Reading package lists...\nRemv qemu-utils [1:10.0]\nInst kmod (30 Debian:12 [amd64])\n\
                          Inst seabios (1.16 Debian:12 [all])\nConf kmod (30 Debian:12 [amd64])\n";
        assert_eq!(installs(simulation), ["kmod", "seabios"]);
        assert!(installs("0 upgraded, 0 newly installed\n").is_empty());
    }
}
