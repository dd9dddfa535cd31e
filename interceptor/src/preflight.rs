//! `interceptor check`: whether this machine can run the agent, one finding a fact, each with what to do about it.
//!
//! Called by the CLI, also without rights and beside a running agent. It reads, and tries for an instant what the agent
//! would do for good: it loads the hooks with empty maps and attaches them to a cgroup and a network namespace of its own.
//! It must leave nothing behind, must not touch any workload, and must not panic on a machine that lacks everything.

mod cgroups;
mod conflicts;
mod hooks;
mod kernel;
mod process;
mod release;
mod settings;

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// What to examine.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The cgroup v2 directory that the hooks would be attached to; otherwise the configuration's, otherwise the one that
    /// the kubelet uses, otherwise the mount.
    pub cgroup: Option<PathBuf>,
    /// The agent's port in workloads' network namespaces; otherwise the configuration's or its default.
    pub outbound_port: Option<u16>,
    /// The configuration file that the agent would run with.
    pub config: Option<PathBuf>,
}

/// How a finding was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As the agent needs it.
    Ok,
    /// The agent runs, with something missing.
    Warn,
    /// The agent does not start, captures nothing, or breaks another tool.
    Fail,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        })
    }
}

/// One fact about this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at; the same from run to run.
    pub name: String,
    /// How it was judged.
    pub state: State,
    /// What was found, on one line.
    pub detail: String,
    /// What to do; there unless it is ok.
    pub hint: Option<String>,
}

impl Finding {
    fn ok(name: impl Into<String>, detail: impl AsRef<str>) -> Self {
        Self { name: name.into(), state: State::Ok, detail: one_line(detail.as_ref()), hint: None }
    }

    fn warn(name: impl Into<String>, detail: impl AsRef<str>, hint: impl Into<String>) -> Self {
        Self { state: State::Warn, hint: Some(hint.into()), ..Self::ok(name, detail) }
    }

    fn fail(name: impl Into<String>, detail: impl AsRef<str>, hint: impl Into<String>) -> Self {
        Self { state: State::Fail, ..Self::warn(name, detail, hint) }
    }
}

/// Examines this machine. Takes well under a second, most of it in the kernel's verifier.
pub fn run(options: &Options) -> Vec<Finding> {
    let (settings, mut findings) = settings::read(options);
    findings.extend(process::findings(&settings.proxy));
    findings.extend(kernel::findings());
    let points = cgroups::attach_points(&settings);
    findings.extend(cgroups::findings(&points));
    findings.extend(conflicts::findings(&points));
    findings.extend(hooks::findings(&points));
    findings.extend(settings.findings());
    findings
}

/// Errors of the kernel come with a verifier's log of many lines; the CLI prints one line a finding.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_json_object_with_stable_names() {
        let finding = Finding::warn("jit", "net.core.bpf_jit_enable\n is 0", "turn it on");
        let json = serde_json::to_string(&finding).unwrap();
        assert_eq!(
            json,
            r#"{"name":"jit","state":"warn","detail":"net.core.bpf_jit_enable is 0","hint":"turn it on"}"#
        );
    }

    #[test]
    fn whatever_the_machine_lacks_every_finding_that_is_not_ok_says_what_to_do() {
        let options = Options { cgroup: Some("/nonexistent".into()), ..Options::default() };
        let findings = run(&options);
        assert!(findings.iter().any(|finding| finding.state == State::Fail), "{findings:?}");
        for finding in findings {
            assert_eq!(finding.hint.is_some(), finding.state != State::Ok, "{finding:?}");
            assert!(!finding.detail.contains('\n'), "{finding:?}");
        }
    }
}
