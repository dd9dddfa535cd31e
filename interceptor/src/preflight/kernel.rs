//! What the running kernel was told at boot and by sysctl.

use std::fs;
use std::io;

use super::{Finding, release};

const LOCKDOWN: &str = "/sys/kernel/security/lockdown";
const JIT: &str = "/proc/sys/net/core/bpf_jit_enable";
const BTF: &str = "/sys/kernel/btf/vmlinux";
const SECCOMP: &str = "/proc/sys/kernel/seccomp/actions_avail";

pub(super) fn findings() -> Vec<Finding> {
    let release = nix::sys::utsname::uname().ok();
    let release = release.as_ref().and_then(|name| name.release().to_str()).unwrap_or_default();
    let mut findings = release::judge(release);
    findings.push(judge_lockdown(fs::read_to_string(LOCKDOWN)));
    findings.push(judge_jit(&fs::read_to_string(JIT)));
    findings.push(judge_btf(fs::metadata(BTF).is_ok()));
    findings.push(judge_seccomp(&fs::read_to_string(SECCOMP)));
    findings
}

/// The text is the list of modes with the one in force in brackets: `none [integrity] confidentiality`.
fn judge_lockdown(text: io::Result<String>) -> Finding {
    let name = "lockdown";
    let text = match text {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Finding::ok(name, "not in force, or securityfs is not mounted");
        }
        Err(error) => {
            return Finding::warn(name, format!("{LOCKDOWN}: {error}"), "run as root; the hooks below decide");
        }
    };
    let mode = text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(mode, _)| mode);
    match mode {
        Some("confidentiality") => Finding::fail(
            name,
            "confidentiality: forbids bpf_probe_read_kernel, which the connect6 hook needs",
            "boot with lockdown=integrity, or take CONFIG_LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY out of the kernel",
        ),
        Some(mode @ ("none" | "integrity")) => Finding::ok(name, mode),
        _ => Finding::warn(name, format!("{text:?} names no known mode"), "nothing, if the hooks below load"),
    }
}

/// The text is the list of what a filter may answer.
fn judge_seccomp(actions: &io::Result<String>) -> Finding {
    let name = "seccomp";
    match actions {
        Ok(actions) if actions.split_whitespace().any(|action| action == "errno") => {
            Finding::ok(name, "the agent can forbid itself system calls")
        }
        Ok(_) | Err(_) => Finding::warn(
            name,
            "the agent cannot forbid itself system calls: there are no filters",
            "boot a kernel with CONFIG_SECCOMP_FILTER, or mount /proc; all else works",
        ),
    }
}

fn judge_jit(value: &io::Result<String>) -> Finding {
    let name = "jit";
    match value.as_ref().map(|text| text.trim()) {
        Ok("1") => Finding::ok(name, "on"),
        Ok("2") => {
            Finding::warn(name, "on, and logging every program", "sysctl -w net.core.bpf_jit_enable=1 ends the logging")
        }
        Ok("0") => Finding::warn(
            name,
            "off: every hook is interpreted, which slows each connection down",
            "sysctl -w net.core.bpf_jit_enable=1",
        ),
        Ok(other) => Finding::warn(name, format!("{JIT} is {other:?}"), "sysctl -w net.core.bpf_jit_enable=1"),
        // The file exists in the machine's own network namespace only.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Finding::ok(name, "not to be seen from this network namespace")
        }
        Err(error) => Finding::warn(name, format!("{JIT}: {error}"), "run as root to see it"),
    }
}

/// The hooks hold no relocation against kernel types, so that its absence changes nothing: it is told, not judged.
fn judge_btf(there: bool) -> Finding {
    Finding::ok("btf", if there { BTF } else { "the kernel has none, and no hook needs it" })
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    fn missing(kind: io::ErrorKind) -> io::Result<String> {
        Err(io::Error::from(kind))
    }

    #[test]
    fn the_lockdown_mode_is_the_one_in_brackets() {
        let state = |text: &str| judge_lockdown(Ok(text.to_owned())).state;
        assert_eq!(state("[none] integrity confidentiality\n"), State::Ok);
        assert_eq!(state("none [integrity] confidentiality\n"), State::Ok);
        assert_eq!(state("none integrity [confidentiality]\n"), State::Fail);
        assert_eq!(state("none integrity confidentiality\n"), State::Warn);
        assert_eq!(state("[future]\n"), State::Warn);
        assert_eq!(state(""), State::Warn);
        assert_eq!(judge_lockdown(missing(io::ErrorKind::NotFound)).state, State::Ok);
        assert_eq!(judge_lockdown(missing(io::ErrorKind::PermissionDenied)).state, State::Warn);
    }

    #[test]
    fn a_kernel_without_filters_of_system_calls_is_a_warning() {
        let state = |text: &str| judge_seccomp(&Ok(text.to_owned())).state;
        assert_eq!(state("kill_process kill_thread trap errno user_notif trace log allow\n"), State::Ok);
        assert_eq!(state("kill allow\n"), State::Warn);
        assert_eq!(judge_seccomp(&missing(io::ErrorKind::NotFound)).state, State::Warn);
    }

    #[test]
    fn an_interpreted_hook_is_a_warning() {
        let state = |text: &str| judge_jit(&Ok(text.to_owned())).state;
        assert_eq!(state("1\n"), State::Ok);
        assert_eq!(state("0\n"), State::Warn);
        assert_eq!(state("2\n"), State::Warn);
        assert_eq!(state("?"), State::Warn);
        assert_eq!(judge_jit(&missing(io::ErrorKind::NotFound)).state, State::Ok);
        assert_eq!(judge_jit(&missing(io::ErrorKind::PermissionDenied)).state, State::Warn);
    }
}
