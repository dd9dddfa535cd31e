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
    #[error("loading the eBPF object: {}; {}run `interceptor check`", chain(.0), rights_hint(.0))]
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
    #[error("attaching {program} to cgroup {}: {source}{}", .cgroup.display(), attach_hint(.source))]
    Cgroup {
        /// Its name.
        program: &'static str,
        /// The cgroup's directory.
        cgroup: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// Attached there, programs of this agent would keep those of another tool from running, without a word.
    #[error(
        "attaching to cgroup {}: {} of another tool, on {} with BPF_F_ALLOW_OVERRIDE, would not run any more for what is below; have its owner attach it by a bpf_link or with BPF_F_ALLOW_MULTI",
        .cgroup.display(), .programs.join(", "), .above.display()
    )]
    Silences {
        /// Where the agent was to attach.
        cgroup: PathBuf,
        /// Where they are attached.
        above: PathBuf,
        /// Their names.
        programs: Vec<String>,
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
    #[error("attaching sk_lookup to the network namespace: {0}")]
    Netns(#[source] std::io::Error),
    /// Links cannot be pinned.
    #[error(transparent)]
    Pin(#[from] super::pins::PinError),
    /// A map of the agent before cannot be used.
    #[error("taking over map {map}: {source}")]
    Handed {
        /// Its name.
        map: String,
        /// Why.
        source: std::io::Error,
    },
    /// A link of the agent before cannot be given this agent's program.
    #[error("taking over the link of {program}: {source}")]
    Relink {
        /// The program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// A program could not be attached to a tracepoint.
    #[error("attaching {program} to the raw tracepoint {tracepoint}: {}; does the kernel have it?", chain(.source))]
    Tracepoint {
        /// Its name.
        program: &'static str,
        /// The tracepoint's.
        tracepoint: &'static str,
        /// What the kernel said.
        source: Box<ProgramError>,
    },
    /// The kernel does not tell where it keeps what a program reads.
    #[error("loading eBPF program {program}: {why}")]
    Offsets {
        /// Its name.
        program: &'static str,
        /// Why.
        why: String,
    },
    /// A program is not in use because it did not load.
    #[error("{0} is not available on this kernel; run `interceptor check`")]
    Unavailable(&'static str),
    /// A socket's cookie, which is its key, could not be had.
    #[error("asking a socket for its cookie: {0}")]
    Cookie(#[source] std::io::Error),
    /// A network namespace's cookie, which is its key, could not be had.
    #[error("asking for the cookie of a network namespace: {0}")]
    Namespace(#[source] std::io::Error),
    /// A map could not be read or written.
    #[error("map {map}: {}{}", chain(.source), full_hint(.source))]
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
    pub fn brief(&self) -> String {
        brief(&self.to_string())
    }

    /// Whether a map refused an entry because it is full.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Map { source, .. } if is_full(source))
    }
}

fn is_full(error: &MapError) -> bool {
    let MapError::SyscallError(error) = error else { return false };
    matches!(error.io_error.raw_os_error(), Some(libc::E2BIG | libc::ENOMEM | libc::ENOSPC))
}

/// What the bare errno does not say.
fn full_hint(error: &MapError) -> &'static str {
    if is_full(error) { "; there is no room in it, so that this passes uncaptured until there is some" } else { "" }
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

/// Said before the advice where it is the process that lacks something, not the kernel.
fn rights_hint(error: &(dyn std::error::Error + 'static)) -> &'static str {
    let mut next = Some(error);
    while let Some(cause) = next {
        let errno = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
        if let Some(libc::EPERM | libc::EACCES) = errno {
            return "it takes root, or CAP_BPF and more: ";
        }
        next = cause.source();
    }
    ""
}

/// The log is long and its verdict is at the end, before the statistics; the cause follows once more, led by a colon.
fn brief(text: &str) -> String {
    const STATISTICS: [&str; 4] = ["processed ", "verification time", "stack depth", ":"];
    let Some((before, log)) = text.split_once("Verifier output:") else { return text.to_owned() };
    let told = |line: &&str| !line.is_empty() && !STATISTICS.iter().any(|start| line.starts_with(start));
    match log.lines().map(str::trim).rfind(told) {
        Some(verdict) => format!("{before}the verifier says: {verdict}"),
        None => before.trim_end().to_owned(),
    }
}

/// EPERM from link_create means that a parent cgroup holds a program without the multi flag.
fn attach_hint(error: &std::io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM) => {
            "; a program of another tool sits on a parent cgroup exclusively (`interceptor check` names it)"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_verifiers_log_the_verdict_is_told() {
        let text = "loading eBPF program on_connect6: the BPF_PROG_LOAD syscall returned Permission denied (os error 13). \
                    Verifier output: 0: R1=ctx()\n1: (85) call bpf_probe_read_kernel#113\n\
                    unknown func bpf_probe_read_kernel#113\nverification time 9 usec\nstack depth 8\n\
                    processed 2 insns (limit 1000000)\n: Permission denied (os error 13)";
        let brief = brief(text);
        assert!(brief.ends_with("(os error 13). the verifier says: unknown func bpf_probe_read_kernel#113"), "{brief}");
    }

    #[test]
    fn words_without_a_log_stay_as_they_are() {
        assert_eq!(brief("the program is not loaded"), "the program is not loaded");
        assert_eq!(brief("refused. Verifier output: \nprocessed 0 insns\n: EPERM"), "refused.");
    }
}
