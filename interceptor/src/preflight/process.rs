//! What this process may do: capabilities, user namespace, limits. Reads /proc/self; changes nothing.

use std::fs;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use super::release::{Release, WITHOUT_MEMLOCK};
use super::{Finding, State};
use crate::config::Proxy;
use crate::room::{Limits, Machine};

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

/// Fewer connections than this at once is little for a node.
const FEW_CONNECTIONS: usize = 2000;

/// What the maps take at their full capacity, roughly; charged to `RLIMIT_MEMLOCK` before 5.11.
const MAPS_BYTES: u64 = 128 << 20;

pub(super) fn findings(proxy: &Proxy) -> Vec<Finding> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uid_map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let release = nix::sys::utsname::uname().ok();
    let release = release.as_ref().and_then(|name| Release::parse(name.release().to_str()?));
    let mask = effective(&status);
    let (memlock, most) = getrlimit(Resource::RLIMIT_MEMLOCK).unwrap_or_default();
    let raisable = most == RLIM_INFINITY || mask.is_some_and(|mask| mask >> SYS_RESOURCE & 1 == 1);
    vec![
        judge_capabilities(mask, nix::unistd::geteuid().as_raw()),
        judge_user_namespace(&uid_map),
        judge_memlock(release, memlock, raisable),
        judge_room(proxy, Machine::own()),
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

/// How many connections the agent would take, in the limits of whoever asks.
fn judge_room(proxy: &Proxy, machine: Machine) -> Finding {
    let name = "room";
    let limits = Limits::of(proxy, machine);
    let Limits { connections, buffered_bytes, why, cut, .. } = &limits;
    let held = buffered_bytes >> 20;
    let detail = format!("{connections} connections at once ({why}), {held} MiB held for peers that do not keep up");
    let hint = "raise the hard limit of open files (ulimit -Hn, or LimitNOFILE= for the container runtime) or the memory limit";
    match cut {
        Some(wanted) => {
            let detail = format!("{detail}; proxy.max_connections_total asks for {wanted}");
            Finding::warn(name, detail, format!("{hint}, or ask for less"))
        }
        None if *connections < FEW_CONNECTIONS && proxy.max_connections_total == 0 => Finding::warn(name, detail, hint),
        None => Finding::ok(name, detail),
    }
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
    fn little_room_is_a_warning_unless_it_is_wanted_and_so_is_more_than_there_is() {
        let judge = |total, descriptors, mib: usize| {
            let proxy = Proxy { max_connections_total: total, ..Proxy::default() };
            judge_room(&proxy, Machine { descriptors, memory: mib << 20 })
        };
        for (total, descriptors, mib, state, words) in [
            (0, 1024, 4096, State::Warn, "256 connections at once (a quarter of 1024 descriptors)"),
            (0, 20_000, 4096, State::Ok, "5000 connections"),
            (0, 1_048_576, 128, State::Warn, "1024 connections at once (64 KiB each of half of 128 MiB), 32 MiB held"),
            (500, 20_000, 4096, State::Ok, "500 connections at once (as configured)"),
            (10_000, 20_000, 4096, State::Warn, "asks for 10000"),
        ] {
            let finding = judge(total, descriptors, mib);
            assert_eq!(finding.state, state, "{finding:?}");
            assert!(finding.detail.contains(words), "{finding:?}");
        }
    }
}
