//! What runs in a machine: the agent, the tests and process 1 as they were built here, and the programs that those call.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::process::{find_on_path, say, shown};
use crate::workspace::Workspace;

/// Programs of this machine that the tests in [`super::TESTS`] call.
const CALLED: [&str; 13] = [
    "curl",
    "ip",
    "nft",
    "bpftool",
    "sh",
    "mount",
    "setpriv",
    "ss",
    "timeout",
    "umount",
    "redis-server",
    "redis-cli",
    "openssl",
];

/// Every program with its place in the machine.
pub(super) struct Programs(Vec<(String, PathBuf)>);

impl Programs {
    /// Builds ours (the agent's release is there) and finds the others.
    pub(super) fn build(workspace: &Workspace) -> Result<Self> {
        let bins = ["build", "--package", "interceptor-tests", "--bins"];
        shown("building the tests' programs", workspace.cargo(&bins).env("INTERCEPTOR_EBPF", "require"))?;
        let debug = workspace.target().join("debug");
        let ours = [
            ("init", debug.join("vm-init")),
            ("bin/interceptor", workspace.release("interceptor")),
            ("bin/pod", debug.join("pod")),
            ("bin/netns", netns_tests(workspace)?),
        ];
        let stripped = workspace.target().join("vm/stripped");
        fs::create_dir_all(&stripped).with_context(|| format!("cannot make {}", stripped.display()))?;
        let mut all = Vec::new();
        for (place, built) in ours {
            all.push((place.to_owned(), strip(&built, &stripped)?));
        }
        for name in CALLED {
            let found = find_on_path(name).with_context(|| format!("no `{name}` here: run `cargo xtask setup`"))?;
            all.push((format!("usr/bin/{name}"), found.canonicalize()?));
        }
        Ok(Self(all))
    }

    /// Each program's place and file.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.0.iter().map(|(place, file)| (place.as_str(), file.as_path()))
    }
}

/// The libraries that these programs are linked against, by the places where they look for them.
pub(super) fn libraries<'a>(programs: impl Iterator<Item = &'a Path>, library_path: &str) -> Result<BTreeSet<PathBuf>> {
    let mut ldd = Command::new("ldd");
    ldd.args(programs);
    if !library_path.is_empty() {
        ldd.env("LD_LIBRARY_PATH", library_path);
    }
    let output = ldd.output().context("cannot run ldd, which says what libraries a program needs")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(!text.contains("not found"), "a library is missing:\n{text}");
    Ok(text.lines().filter_map(library).map(PathBuf::from).collect())
}

/// The file that a line of ldd's names: `libc.so.6 => /lib/… (0x…)`, or the loader's path alone.
fn library(line: &str) -> Option<&str> {
    let line = line.strip_prefix('\t')?;
    let file = line.split_once(" => ").map_or(line, |(_, file)| file);
    let file = file.split(" (").next()?;
    file.starts_with('/').then_some(file)
}

/// The test program of the netns tier, as cargo names it.
fn netns_tests(workspace: &Workspace) -> Result<PathBuf> {
    say("building the tests");
    let mut cargo = workspace.cargo(&["test", "--no-run", "--package", "interceptor-tests", "--test", "netns"]);
    cargo.arg("--message-format=json-render-diagnostics").env("INTERCEPTOR_EBPF", "require").stderr(Stdio::inherit());
    let output = cargo.output().context("cannot run cargo")?;
    ensure!(output.status.success(), "the tests do not build");
    let text = String::from_utf8_lossy(&output.stdout);
    executable(&text).context("cargo did not say where the tests are")
}

fn executable(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut named = messages.filter(|message| message["target"]["name"] == "netns");
    named.find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

/// Leaves out what only a debugger reads: it is nine tenths of the file.
fn strip(built: &Path, into: &Path) -> Result<PathBuf> {
    let to = into.join(built.file_name().unwrap_or(OsStr::new("program")));
    let mut objcopy = Command::new("objcopy");
    let status = objcopy.arg("--strip-debug").arg(built).arg(&to).status();
    ensure!(
        status.context("cannot run objcopy (Debian: binutils)")?.success(),
        "objcopy cannot strip {}",
        built.display()
    );
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::{executable, library};

    #[test]
    fn the_libraries_of_lines_by_ldd() {
        assert_eq!(library("\tlibc.so.6 => /lib/libc.so.6 (0x00007f)"), Some("/lib/libc.so.6"));
        assert_eq!(library("\t/lib64/ld-linux-x86-64.so.2 (0x00007f)"), Some("/lib64/ld-linux-x86-64.so.2"));
        assert_eq!(library("\tlinux-vdso.so.1 (0x00007f)"), None);
        assert_eq!(library("\tstatically linked"), None);
        assert_eq!(library("/usr/bin/ip:"), None);
    }

    #[test]
    fn the_test_program_is_the_target_of_that_name() {
        let messages = r#"{"target":{"name":"pod"},"executable":"/t/pod"}
{"target":{"name":"netns"},"executable":"/t/deps/netns-1"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages), Some("/t/deps/netns-1".into()));
        assert_eq!(executable("{}"), None);
    }
}
