//! The archive that a machine's kernel unpacks as its root directory: format "newc" of cpio, uncompressed
//! (Documentation/driver-api/early-userspace/buffer-format.rst of Linux).

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::emulator::Emulator;
use super::kernels::Kernel;
use super::programs::{self, Programs};
use crate::workspace::Workspace;

/// Directories that something is mounted on, or that programs expect.
const DIRS: [&str; 8] = ["dev", "etc", "proc", "root", "run", "sys", "tmp", "var"];
/// The parts of a kernel's modules that networks, their filters and cryptography come from; the kernel loads what it
/// needs by `modprobe`, as on any machine.
const MODULES: [&str; 7] =
    ["net", "lib", "crypto", "arch/x86/crypto", "drivers/net/veth", "drivers/net/dummy", "drivers/net/tun"];
/// The kernel calls this path (kernel/module/kmod.c: `CONFIG_MODPROBE_PATH`).
const MODPROBE: &str = "sbin/modprobe";
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n";

/// A file of this machine that a program looks for, and where.
const CONFIGURATION: [(&str, &str); 1] = [("/etc/ssl/openssl.cnf", "usr/lib/ssl/openssl.cnf")];

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;

/// Writes the archive for one kernel, and says where.
pub(super) fn make(
    workspace: &Workspace,
    emulator: &Emulator,
    kernel: &Kernel,
    programs: &Programs,
    commands: &[String],
) -> Result<PathBuf> {
    let mut archive = Archive::default();
    for dir in DIRS {
        archive.directory(Path::new(dir))?;
    }
    archive.file("etc/passwd", FILE, PASSWD.as_bytes())?;
    for (from, to) in CONFIGURATION {
        archive.copy(to, FILE, Path::new(from))?;
    }
    archive.file("tests", FILE, format!("{}\n", commands.join("\n")).as_bytes())?;
    for (place, file) in programs.iter() {
        archive.copy(place, PROGRAM, file)?;
    }
    // Scripts look for it there.
    if let Some((_, shell)) = programs.iter().find(|(place, _)| place.ends_with("/sh")) {
        archive.copy("bin/sh", PROGRAM, shell)?;
    }
    archive.copy(MODPROBE, PROGRAM, emulator.kmod())?;
    let all = programs.iter().map(|(_, file)| file).chain([emulator.kmod()]);
    let own = emulator.library_path();
    for library in programs::libraries(all, &own)? {
        // Where the loader looks: what was only unpacked here is an ordinary library there.
        let place = own.split(':').filter(|dir| !dir.is_empty()).find_map(|dir| library.strip_prefix(dir).ok());
        let place = place.map_or_else(|| library.clone(), |name| Path::new("/lib/x86_64-linux-gnu").join(name));
        archive.copy(place.strip_prefix("/").unwrap_or(&place), PROGRAM, &library)?;
    }
    let tree = modules(workspace, emulator, kernel)?;
    archive.tree(&tree, Path::new(""))?;
    let to = workspace.target().join("vm").join(format!("initramfs-{}", kernel.release));
    fs::write(&to, archive.finish()?).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(to)
}

/// Copies the modules that can be of use, and has depmod say which needs which.
fn modules(workspace: &Workspace, emulator: &Emulator, kernel: &Kernel) -> Result<PathBuf> {
    let root = workspace.target().join("vm/modules").join(&kernel.release);
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    let to = root.join("lib/modules").join(&kernel.release);
    for part in MODULES {
        let from = kernel.modules.join("kernel").join(part);
        copy(&from, &to.join("kernel").join(part))?;
        for suffix in ["ko", "ko.xz", "ko.zst", "ko.gz"] {
            copy(&from.with_extension(suffix), &to.join("kernel").join(part).with_extension(suffix))?;
        }
    }
    for list in ["modules.builtin", "modules.builtin.modinfo", "modules.order"] {
        copy(&kernel.modules.join(list), &to.join(list))?;
    }
    ensure!(to.is_dir(), "{} has no modules of networks", kernel.modules.display());
    // kmod knows by its name which of its programs it is to be.
    let depmod = root.join("depmod");
    std::os::unix::fs::symlink(emulator.kmod(), &depmod)?;
    let mut command = Command::new(&depmod);
    command.arg("-b").arg(&root).arg(&kernel.release).env("LD_LIBRARY_PATH", emulator.library_path());
    let output = command.output().context("cannot run depmod")?;
    ensure!(output.status.success(), "depmod failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    fs::remove_file(&depmod)?;
    Ok(root)
}

/// Copies a file or a directory with all below it; what is not there is left out.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_file() {
        fs::create_dir_all(to.parent().unwrap_or(to))?;
        fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    } else if from.is_dir() {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// An archive in the making. A file's directories come before it by themselves.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    directories: BTreeSet<PathBuf>,
}

impl Archive {
    fn directory(&mut self, path: &Path) -> io::Result<()> {
        if path.as_os_str().is_empty() || !self.directories.insert(path.to_owned()) {
            return Ok(());
        }
        self.directory(path.parent().unwrap_or(Path::new("")))?;
        self.entry(path, DIRECTORY, &[])
    }

    fn file(&mut self, path: impl AsRef<Path>, mode: u32, content: &[u8]) -> io::Result<()> {
        let path = path.as_ref();
        self.directory(path.parent().unwrap_or(Path::new("")))?;
        self.entry(path, mode, content)
    }

    fn copy(&mut self, path: impl AsRef<Path>, mode: u32, from: &Path) -> Result<()> {
        let content = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        Ok(self.file(path, mode, &content)?)
    }

    /// Everything below a directory of this machine.
    fn tree(&mut self, from: &Path, to: &Path) -> Result<()> {
        for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
            let entry = entry?;
            let place = to.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                self.tree(&entry.path(), &place)?;
            } else {
                self.copy(place, FILE, &entry.path())?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<Vec<u8>> {
        self.entry(Path::new("TRAILER!!!"), 0, &[])?;
        Ok(self.bytes)
    }

    /// One header, name and content, each padded to four bytes. Sizes are of 32 bits in this format.
    fn entry(&mut self, path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
        self.entries += 1;
        let name = path.to_string_lossy();
        let (size, name_size) = match (u32::try_from(content.len()), u32::try_from(name.len() + 1)) {
            (Ok(size), Ok(name_size)) => (size, name_size),
            _ => return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("{name} is larger than 4 GiB"))),
        };
        let links = if mode == DIRECTORY { 2 } else { 1 };
        // Inode, mode, uid, gid, links, mtime, size, device (2), device of a node (2), size of the name, checksum.
        let fields = [self.entries, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            write!(self.bytes, "{field:08x}")?;
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
        Ok(())
    }

    fn pad(&mut self) {
        let whole = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(whole, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::{Archive, FILE};

    #[test]
    fn an_archive_holds_a_files_directories_before_it_once() {
        let mut archive = Archive::default();
        archive.file("a/b/one", FILE, b"12345").unwrap();
        archive.file("a/two", FILE, b"").unwrap();
        let bytes = archive.finish().unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let at = |name: &str| text.find(&format!("{name}\0")).unwrap_or_else(|| panic!("no {name}"));
        assert!(at("a") < at("a/b") && at("a/b") < at("a/b/one") && at("a/b/one") < at("a/two"));
        assert_eq!(text.matches("070701").count(), 5);
        assert!(bytes.len().is_multiple_of(4));
        // The header is 110 bytes, the name's end is padded so that the content begins at a multiple of four.
        let one = at("a/b/one");
        assert_eq!(&bytes[(one + 8).next_multiple_of(4)..][..5], b"12345");
    }
}
