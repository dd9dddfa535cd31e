//! The sources of `core`, from which cargo builds it for the BPF target; no toolchain ships it compiled. `setup` calls
//! this. Rustup adds them to the toolchain; without rustup, or without its server, Debian's compiler comes with them.
//! That one is unpacked below target/bpf-tools: installed, it would push out the machine's own rustc.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::apt::Apt;
use super::packages::Package;
use crate::process::{on_path, quietly, say};
use crate::toolchain::Rustc;
use crate::workspace::Workspace;

/// Returns once the build script will find a compiler with the sources of `core`.
pub(crate) fn ensure(workspace: &Workspace, rustc: &Rustc, apt: &mut Apt<'_>) -> Result<()> {
    let unpacked = workspace.bpf_tools().join("bin/rustc");
    let builds_core = |program: &Path| Rustc::at(program).is_ok_and(|rustc| rustc.builds_core());
    if rustc.builds_core() || builds_core(Path::new("/usr/bin/rustc")) || builds_core(&unpacked) {
        return Ok(());
    }
    if on_path("rustup") {
        match from_rustup(workspace) {
            Ok(()) => return Ok(()),
            Err(error) => say(format_args!("rustup cannot: {error:#}; Debian's compiler will do")),
        }
    }
    from_debian(workspace, apt)?;
    ensure!(builds_core(&unpacked), "Debian's rustc is too old, or has no sources of core: {}", unpacked.display());
    Ok(())
}

fn from_rustup(workspace: &Workspace) -> Result<()> {
    let mut rustup = Command::new("rustup");
    rustup.args(["component", "add", "rust-src"]);
    quietly(workspace, "adding rust-src, needed to build core for the BPF target", &mut rustup)?;
    ensure!(Rustc::current()?.builds_core(), "rust-src was added to another toolchain than the one in use");
    Ok(())
}

fn from_debian(workspace: &Workspace, apt: &mut Apt<'_>) -> Result<()> {
    let library = apt.dependency("libstd-rust-web-dev", "libstd-rust-web-")?;
    let llvm = apt.dependency(&library, "libllvm")?;
    // The only library that is not part of every Debian; bpf-linker mostly brings it.
    if !is_installed(&llvm) {
        apt.install(&[Package { name: llvm, why: "run the compiler that comes with core's sources" }])?;
    }
    let root = workspace.bpf_tools().join("debian");
    apt.unpack(&["rustc-web", "rust-web-src", "libstd-rust-web-dev", &library], &root)?;
    write_wrapper(&root, &workspace.bpf_tools().join("bin/rustc"))
}

fn is_installed(package: &str) -> bool {
    let query = Command::new("dpkg-query").args(["-W", "-f=${Status}", package]).output();
    query.is_ok_and(|output| output.stdout.ends_with(b" installed"))
}

/// Unpacked, the compiler does not find its own library by itself.
fn write_wrapper(root: &Path, wrapper: &Path) -> Result<()> {
    let driver_dir = driver_dir(&root.join("usr/lib"))?;
    let script = format!(
        "#!/bin/sh\nLD_LIBRARY_PATH='{}' exec '{}' \"$@\"\n",
        driver_dir.display(),
        root.join("usr/bin/rustc").display()
    );
    let bin = wrapper.parent().context("a file has a directory")?;
    fs::create_dir_all(bin).with_context(|| format!("cannot make {}", bin.display()))?;
    fs::write(wrapper, script).with_context(|| format!("cannot write {}", wrapper.display()))?;
    fs::set_permissions(wrapper, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// The directory of librustc_driver, whose name holds the architecture.
fn driver_dir(lib: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(lib).with_context(|| format!("cannot read {}", lib.display()))? {
        let dir = entry?.path();
        if dir.is_dir() && dir.to_string_lossy().ends_with("-gnu") {
            return Ok(dir);
        }
    }
    bail!("no library directory of an architecture in {}", lib.display())
}
