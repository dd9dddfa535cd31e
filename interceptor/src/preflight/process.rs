//! What this process may do: capabilities, user namespace, limits. Reads /proc/self; changes nothing.

use std::fs;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use super::release::{Release, WITHOUT_MEMLOCK};
use super::{Finding, State};

/// A capability that the agent uses.
struct Capability {
    name: &'static str,
    bit: u32,
    /// Another one that the kernel accepts in its place.
    or: Option<u32>,
    /// What the lack of it means.
    state: State,
    purpose: &'static str,
}

const SYS_ADMIN: u32 = 21;
/// Lets a process raise its own limits; on its own it is not needed.
const SYS_RESOURCE: u32 = 24;

const CAPABILITIES: [Capability; 5] = [
    Capability { name: "CAP_BPF", bit: 39, or: Some(SYS_ADMIN), state: State::Fail, purpose: "load programs and maps" },
    Capability {
        name: "CAP_NET_ADMIN",
        bit: 12,
        or: None,
        state: State::Fail,
        purpose: "load network hooks and see other tools' programs",
    },
    Capability {
        name: "CAP_SYS_ADMIN",
        bit: SYS_ADMIN,
        or: None,
        state: State::Fail,
        purpose: "enter workloads' network namespaces (setns)",
    },
    Capability {
        name: "CAP_PERFMON",
        bit: 38,
        or: Some(SYS_ADMIN),
        state: State::Fail,
        purpose: "get the hooks past the verifier: pointer arithmetic, bpf_probe_read_kernel",
    },
    Capability {
        name: "CAP_SYS_PTRACE",
        bit: 19,
        or: None,
        state: State::Warn,
        purpose: "open the network namespace of a pod whose processes are not root's",
    },
];

/// Descriptors of one connection that is passed on unparsed: two sockets and two pipes.
const DESCRIPTORS: u64 = 6;

/// Fewer connections than this at once is little for a node.
const FEW_CONNECTIONS: u64 = 2000;

/// What the maps take at their full capacity, roughly; charged to `RLIMIT_MEMLOCK` before 5.11.
const MAPS_BYTES: u64 = 128 << 20;

pub(super) fn findings() -> Vec<Finding> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uid_map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let release = nix::sys::utsname::uname().ok();
    let release = release.as_ref().and_then(|name| Release::parse(name.release().to_str()?));
    let mask = effective(&status);
    let (memlock, most) = getrlimit(Resource::RLIMIT_MEMLOCK).unwrap_or_default();
    let raisable = most == RLIM_INFINITY || mask.is_some_and(|mask| mask >> SYS_RESOURCE & 1 == 1);
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(_, hard)| hard);
    vec![
        judge_capabilities(mask, nix::unistd::geteuid().as_raw()),
        judge_user_namespace(&uid_map),
        judge_memlock(release, memlock, raisable),
        judge_files(files),
    ]
}

/// The effective set in the text of /proc/self/status.
fn effective(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

fn judge_capabilities(mask: Option<u64>, uid: u32) -> Finding {
    let name = "capabilities";
    let Some(mask) = mask else {
        return Finding::warn(name, "/proc/self/status does not tell them", "mount /proc; the hooks below decide");
    };
    let holds = |bit: u32| mask >> bit & 1 == 1;
    let lacks = |cap: &&Capability| !holds(cap.bit) && !cap.or.is_some_and(holds);
    let missing: Vec<_> = CAPABILITIES.iter().filter(lacks).collect();
    let Some(state) = missing.iter().map(|cap| cap.state).max() else {
        let all: Vec<&str> = CAPABILITIES.iter().map(|cap| cap.name).collect();
        return Finding::ok(name, format!("uid {uid} with {}", all.join(", ")));
    };
    let why: Vec<String> = missing.iter().map(|cap| format!("{} ({})", cap.name, cap.purpose)).collect();
    let detail = format!("uid {uid} lacks {}", why.join(", "));
    Finding { state, ..Finding::warn(name, detail, "run as root, in Kubernetes with securityContext.privileged: true") }
}

/// Capabilities of another user namespace count for nothing where eBPF is concerned.
fn judge_user_namespace(uid_map: &str) -> Finding {
    let name = "user-namespace";
    let mut fields = uid_map.split_whitespace();
    match (fields.next(), fields.next(), fields.next(), fields.next()) {
        (Some("0"), Some("0"), Some("4294967295"), None) => Finding::ok(name, "the machine's own"),
        (None, ..) => Finding::warn(name, "/proc/self/uid_map does not tell", "mount /proc; the hooks below decide"),
        _ => Finding::fail(
            name,
            "not the machine's own: its capabilities do not reach eBPF",
            "run in the host's user namespace (a rootful container runtime, no userns-remap, no hostUsers: false)",
        ),
    }
}

/// The agent raises the limit before it gives up the right to.
fn judge_memlock(release: Option<Release>, limit: u64, raisable: bool) -> Finding {
    let name = "memlock";
    match release {
        Some(release) if release >= WITHOUT_MEMLOCK => Finding::ok(name, "maps are not charged to it from 5.11 on"),
        _ if limit >= MAPS_BYTES => Finding::ok(name, "RLIMIT_MEMLOCK is wide enough for the maps"),
        _ if raisable => Finding::ok(name, "RLIMIT_MEMLOCK is low, and is raised at the start"),
        _ => Finding::warn(
            name,
            format!("RLIMIT_MEMLOCK is {limit} bytes, and before 5.11 maps are charged to it"),
            "raise it: ulimit -l unlimited, LimitMEMLOCK=infinity for the container runtime, or CAP_SYS_RESOURCE",
        ),
    }
}

fn judge_files(hard: u64) -> Finding {
    let name = "open-files";
    let connections = hard / DESCRIPTORS;
    let detail = format!("hard limit {hard}, which the agent takes: about {connections} connections at once");
    if connections < FEW_CONNECTIONS {
        return Finding::warn(name, detail, "raise it: ulimit -Hn, or LimitNOFILE= for the container runtime");
    }
    Finding::ok(name, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_set_is_read_among_the_others() {
        let status = "Name:\tx\nCapPrm:\t0000000000000001\nCapEff:\t000001fffeffffff\nCapBnd:\t0000000000000002\n";
        assert_eq!(effective(status), Some(0x1ff_feff_ffff));
        assert_eq!(effective("CapEff:\tzz\n"), None);
        assert_eq!(effective(""), None);
    }

    #[test]
    fn capabilities_are_judged_by_their_bits() {
        let all = (1 << 39) | (1 << 12) | (1 << 21) | (1 << 38) | (1 << 19);
        let rows = [
            (Some(all), State::Ok, ""),
            (Some(u64::MAX), State::Ok, ""),
            // What the kernel asks for first is CAP_SYS_ADMIN where finer ones are missing.
            (Some((1 << 12) | (1 << 21) | (1 << 19)), State::Ok, ""),
            (Some(all & !(1 << 12)), State::Fail, "lacks CAP_NET_ADMIN ("),
            (Some(all & !(1 << 21)), State::Fail, "lacks CAP_SYS_ADMIN ("),
            (Some(all & !(1 << 19)), State::Warn, "lacks CAP_SYS_PTRACE ("),
            (Some(all & !(1 << 21) & !(1 << 38)), State::Fail, "CAP_PERFMON"),
            (Some(0), State::Fail, "CAP_BPF"),
            (None, State::Warn, "/proc"),
        ];
        for (mask, state, words) in rows {
            let finding = judge_capabilities(mask, 0);
            assert_eq!(finding.state, state, "{finding:?}");
            assert!(finding.detail.contains(words), "{finding:?}");
        }
    }

    #[test]
    fn only_the_first_user_namespace_maps_everybody_to_himself() {
        assert_eq!(judge_user_namespace("         0          0 4294967295\n").state, State::Ok);
        assert_eq!(judge_user_namespace("         0       1000          1\n").state, State::Fail);
        assert_eq!(judge_user_namespace("0 0 65536\n65536 100000 65536\n").state, State::Fail);
        assert_eq!(judge_user_namespace("").state, State::Warn);
    }

    #[test]
    fn memlock_matters_to_old_kernels_only() {
        let release = |text| Release::parse(text);
        let state = |text, limit, raisable| judge_memlock(release(text), limit, raisable).state;
        assert_eq!(state("5.10.1", 65_536, false), State::Warn);
        assert_eq!(state("5.10.1", 65_536, true), State::Ok);
        assert_eq!(state("5.10.1", u64::MAX, false), State::Ok);
        assert_eq!(state("5.11.0", 0, false), State::Ok);
        assert_eq!(state("unknown", 0, false), State::Warn);
    }

    #[test]
    fn a_low_limit_of_open_files_is_a_warning() {
        assert_eq!(judge_files(1024).state, State::Warn);
        assert_eq!(judge_files(20_000).state, State::Ok);
        assert_eq!(judge_files(u64::MAX).state, State::Ok);
    }
}
