//! bpf-linker, which turns the compiler's LLVM bitcode into a BPF object. `setup` calls it. It looks where the agent's
//! build script looks, and compiles the linker below target/bpf-tools when it is nowhere to be found.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::apt::Apt;
use super::packages::Package;
use crate::process::{find_on_path, quietly};
use crate::toolchain::Rustc;
use crate::workspace::Workspace;

const VERSION: &str = "0.13.0";
/// The LLVM releases this version of bpf-linker has a feature for.
const SUPPORTED: [u32; 3] = [21, 22, 23];

/// Returns once a bpf-linker that runs is where the build script finds it.
pub(crate) fn ensure(workspace: &Workspace, rustc: &Rustc, apt: &mut Apt<'_>) -> Result<()> {
    if let Some(given) = env::var_os("BPF_LINKER").map(PathBuf::from) {
        return runs(&given).then_some(()).with_context(|| format!("BPF_LINKER={} does not run", given.display()));
    }
    let installed = workspace.bpf_tools().join("bin/bpf-linker");
    // It is asked to run: one whose libLLVM is gone is as good as none.
    if runs(&installed) || find_on_path("bpf-linker").is_some_and(|linker| runs(&linker)) {
        return Ok(());
    }
    let llvm = choose_llvm(rustc.llvm, apt)?;
    apt.install(&missing_packages(llvm, |path| path.exists()))?;
    let feature = format!("llvm-{llvm}");
    let mut cargo = workspace.cargo(&["install", "bpf-linker", "--version", VERSION, "--locked", "--force"]);
    cargo.args(["--no-default-features", "--features", &feature, "--root"]).arg(workspace.bpf_tools());
    // Its build belongs in a directory of its own, which cargo removes afterwards.
    cargo.env_remove("CARGO_TARGET_DIR").env("LLVM_PREFIX", prefix(llvm));
    quietly(workspace, "compiling bpf-linker, needed to link the eBPF programs; takes a minute or two", &mut cargo)
}

/// An LLVM that can read the compiler's bitcode, which one of the same release or a newer one can. One that is there
/// already is better than one to be installed.
fn choose_llvm(of_rustc: u32, apt: &mut Apt<'_>) -> Result<u32> {
    let mut fitting = fitting(of_rustc);
    if let Some(there) = fitting.clone().find(|&llvm| missing_packages(llvm, |path| path.exists()).is_empty()) {
        return Ok(there);
    }
    for llvm in fitting.by_ref() {
        if apt.offers(&format!("llvm-{llvm}-dev"))? {
            return Ok(llvm);
        }
    }
    bail!(
        "no package source of this machine has an LLVM for bpf-linker {VERSION} that reads the bitcode of rustc (LLVM \
         {of_rustc}); it can use LLVM {SUPPORTED:?}. Install bpf-linker by hand, on the PATH or named by BPF_LINKER"
    )
}

fn fitting(of_rustc: u32) -> impl Iterator<Item = u32> + Clone {
    SUPPORTED.into_iter().filter(move |&llvm| llvm >= of_rustc)
}

fn missing_packages(llvm: u32, exists: impl Fn(&Path) -> bool) -> Vec<Package> {
    let rows = [
        (format!("llvm-{llvm}-dev"), "bin/llvm-config", "compile bpf-linker"),
        (format!("libpolly-{llvm}-dev"), "lib/libPolly.a", "make llvm-config list LLVM's libraries"),
    ];
    let missing = rows.into_iter().filter(|(_, proof, _)| !exists(&prefix(llvm).join(proof)));
    missing.map(|(name, _, why)| Package { name, why }).collect()
}

fn prefix(llvm: u32) -> PathBuf {
    PathBuf::from(format!("/usr/lib/llvm-{llvm}"))
}

fn runs(linker: &Path) -> bool {
    Command::new(linker).arg("--version").output().is_ok_and(|output| output.status.success())
}

#[cfg(test)]
mod tests {
    use super::{fitting, missing_packages};

    #[test]
    fn an_older_llvm_than_the_compilers_is_not_chosen() {
        assert_eq!(fitting(22).collect::<Vec<_>>(), [22, 23]);
        assert_eq!(fitting(24).count(), 0);
    }

    #[test]
    fn the_packages_follow_the_llvm_release() {
        let names: Vec<_> = missing_packages(23, |_| false).into_iter().map(|package| package.name).collect();
        assert_eq!(names, ["llvm-23-dev", "libpolly-23-dev"]);
    }

    #[test]
    fn only_the_package_whose_file_is_not_there_is_missing() {
        let missing = missing_packages(22, |path| path.ends_with("bin/llvm-config"));
        assert_eq!(missing.len(), 1);
        assert_eq!(missing.first().map(|package| package.name.as_str()), Some("libpolly-22-dev"));
    }
}
