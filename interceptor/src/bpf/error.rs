//! Why the kernel side could not be loaded, attached or written.

use std::path::PathBuf;

use aya::maps::MapError;
use aya::programs::ProgramError;

/// A failure of the kernel side.
#[derive(Debug, thiserror::Error)]
pub enum BpfError {
    /// The binary holds no object.
    #[error("this agent was built without its eBPF object; build it with `cargo xtask build`")]
    NotBuilt,
    /// The object was refused as a whole.
    #[error("loading the eBPF object: {}; run `interceptor check`", chain(.0))]
    Object(#[source] Box<aya::EbpfError>),
    /// A program was refused.
    #[error("loading eBPF program {program}: {}", chain(.source))]
    Program {
        /// Its name.
        program: &'static str,
        /// What the kernel said, with the verifier's log.
        source: Box<ProgramError>,
    },
    /// A program could not be attached to a cgroup.
    #[error("attaching {program} to cgroup {}: {}{}", .cgroup.display(), chain(.source), attach_hint(.source))]
    Cgroup {
        /// Its name.
        program: &'static str,
        /// The cgroup's directory.
        cgroup: PathBuf,
        /// What the kernel said.
        source: Box<ProgramError>,
    },
    /// The cgroup's directory could not be opened.
    #[error("opening cgroup directory {}: {source}; it must be a cgroup v2 directory that exists", .path.display())]
    OpenCgroup {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// sk_lookup could not be attached to a network namespace.
    #[error("attaching sk_lookup to the network namespace: {}", chain(.0))]
    Netns(#[source] Box<ProgramError>),
    /// A program is not in use because it did not load.
    #[error("{0} is not available on this kernel; run `interceptor check`")]
    Unavailable(&'static str),
    /// A map could not be read or written.
    #[error("map {map}: {}", chain(.source))]
    Map {
        /// Its name.
        map: &'static str,
        /// What the kernel said.
        source: Box<MapError>,
    },
}

impl BpfError {
    pub(super) fn map(map: &'static str) -> impl Fn(MapError) -> Self {
        move |source| Self::Map { map, source: Box::new(source) }
    }

    /// The error on one line: of the verifier's log only its verdict.
    pub(super) fn brief(&self) -> String {
        let text = self.to_string();
        let Some((before, log)) = text.split_once("Verifier output:") else { return text };
        let told = |line: &&str| !line.is_empty() && !line.contains("insns (limit") && !line.starts_with("verification time");
        let verdict = log.lines().map(str::trim).filter(told).rfind(|line| !line.starts_with("stack depth"));
        format!("{before}the verifier says: {}", verdict.unwrap_or_default())
    }

    /// Whether a map refused an entry because it is full.
    pub fn is_full(&self) -> bool {
        let Self::Map { source, .. } = self else { return false };
        let MapError::SyscallError(error) = &**source else { return false };
        matches!(error.io_error.raw_os_error(), Some(libc::E2BIG | libc::ENOMEM | libc::ENOSPC))
    }
}

/// An error with its causes on one line: aya's own text leaves the errno to the source.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// EPERM from link_create means that a parent cgroup holds a program without the multi flag.
fn attach_hint(error: &ProgramError) -> &'static str {
    let ProgramError::SyscallError(error) = error else { return "" };
    match error.io_error.raw_os_error() {
        Some(libc::EPERM) => {
            "; a program of another tool sits on a parent cgroup exclusively (`interceptor check` names it)"
        }
        _ => "",
    }
}
