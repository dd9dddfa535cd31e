//! What the numbers were measured on: CPU, kernel and the versions of everything that took part.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::thread;

use anyhow::{Context as _, Result};
use interceptor_tests::bins;
use serde::{Deserialize, Serialize};

use crate::peers;

/// The machine and the programs of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: f64,
    pub(crate) kernel: String,
    pub(crate) versions: BTreeMap<String, String>,
}

impl Machine {
    /// Looks at this machine.
    pub(crate) fn describe() -> Result<Machine> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| format!("reading {path}"));
        let cpu = field(&read("/proc/cpuinfo")?, "model name").unwrap_or_else(|| "unknown".to_owned());
        let memory = field(&read("/proc/meminfo")?, "MemTotal").unwrap_or_default();
        let kib: f64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
        let cores = thread::available_parallelism().context("counting the CPUs")?.get();
        let kernel = read("/proc/sys/kernel/osrelease")?.trim().to_owned();
        Ok(Machine { cpu, cores, memory_gib: kib / f64::from(1 << 20), kernel, versions: versions()? })
    }
}

fn versions() -> Result<BTreeMap<String, String>> {
    let envoy = peers::envoy_program()?;
    let ours = bins::interceptor()?;
    let programs = [
        ("interceptor", ours.as_os_str(), "--version"),
        ("haproxy", "haproxy".as_ref(), "-v"),
        ("nginx", "nginx".as_ref(), "-v"),
        ("envoy", envoy.as_os_str(), "--version"),
        ("wrk", "wrk".as_ref(), "-v"),
    ];
    let one = |(name, program, flag): (&str, &std::ffi::OsStr, &str)| {
        let output = Command::new(program).arg(flag).output();
        // wrk's exit status for -v is 1, nginx says its version on stderr.
        let output = output.with_context(|| format!("asking {} for its version", program.display()))?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        Ok((name.to_owned(), version(line).to_owned()))
    };
    programs.into_iter().map(one).collect()
}

/// The part of a line that is the version: `nginx version: nginx/1.22.1` says `1.22.1`.
fn version(line: &str) -> &str {
    let parts = || line.split([' ', '/', ':', '\t']);
    let is_version = |part: &&str| part.contains('.') && part.starts_with(|c: char| c.is_ascii_digit());
    parts().find(is_version).unwrap_or(line)
}

fn field(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::{field, version};

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (line, expected) in [
            ("nginx version: nginx/1.22.1", "1.22.1"),
            ("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/", "2.6.12-1+deb12u4"),
            ("/a.b/envoy  version: 9e55/1.40.0/Clean/RELEASE/BoringSSL", "1.40.0"),
            ("wrk debian/4.1.0-3+b2 [epoll] Copyright (C) 2012 Will Glozer", "4.1.0-3+b2"),
            ("interceptor 0.1.0", "0.1.0"),
            ("strange", "strange"),
        ] {
            assert_eq!(version(line), expected);
        }
    }

    #[test]
    fn fields_of_proc_are_trimmed() {
        assert_eq!(field("processor\t: 0\nmodel name\t: A B\n", "model name").as_deref(), Some("A B"));
        assert_eq!(field("processor\t: 0\n", "model name"), None);
    }
}
