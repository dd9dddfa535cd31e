//! Other tools' programs at our attach points, from the attach point up to the root of the hierarchy.
//!
//! The rules are the kernel's own (`hierarchy_allows_attach`, `__cgroup_bpf_attach` and `compute_effective_progs` in
//! kernel/bpf/cgroup.c): our links allow others beside them, and older ways of attaching do not.

use std::path::{Path, PathBuf};

use super::Finding;
use super::cgroups::{Points, is_v2};
use crate::bpf::{self, Attachment};

const NAME: &str = "other-programs";
const CURE: &str = "have its owner attach it by a bpf_link or with BPF_F_ALLOW_MULTI (Cilium: 1.14 or newer, and a reboot of the node)";

/// Programs of one kind on one directory.
#[derive(Debug)]
struct Level {
    directory: PathBuf,
    found: Attachment,
    /// The directory is the attach point itself.
    here: bool,
}

/// What programs of one kind on one directory mean for a link of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Both run, ours first where it is attached below.
    Beside,
    /// The kernel refuses our link.
    Refused,
    /// Our link would keep that program from running for the workloads, without a word: the agent does not attach.
    Silenced,
}

fn judge(found: &Attachment, here: bool) -> Verdict {
    if found.allows_others() {
        Verdict::Beside
    } else if found.would_be_silenced() && !here {
        Verdict::Silenced
    } else {
        Verdict::Refused
    }
}

pub(super) fn findings(points: &Points) -> Vec<Finding> {
    let there = points.all.iter().filter(|point| is_v2(point).unwrap_or_default());
    there.flat_map(|point| examine(point)).collect()
}

fn examine(point: &Path) -> Vec<Finding> {
    // A link's own name may lie elsewhere; the hierarchy is where it leads.
    let point = point.canonicalize().unwrap_or_else(|_| point.to_owned());
    let mut levels = Vec::new();
    for directory in point.ancestors().take_while(|path| is_v2(path).unwrap_or_default()) {
        match bpf::attachments(directory) {
            Ok(found) => levels.extend(found.into_iter().map(|found| Level {
                directory: directory.to_owned(),
                found,
                here: directory == point,
            })),
            Err(error) => {
                let detail = format!("{}: {error}", directory.display());
                return vec![Finding::fail(NAME, detail, "run as root with CAP_NET_ADMIN to see them")];
            }
        }
    }
    let findings = judge_all(&levels);
    if findings.is_empty() {
        return vec![Finding::ok(NAME, format!("none from {} up to the root", point.display()))];
    }
    findings
}

/// Levels from the attach point upwards. Of each kind, the nearest program that allows others settles it: what lies
/// above is asked neither by the kernel nor kept from running by us.
fn judge_all(levels: &[Level]) -> Vec<Finding> {
    let mut settled: Vec<&str> = Vec::new();
    let mut beside: Vec<&Level> = Vec::new();
    let mut findings = Vec::new();
    for level in levels {
        let hook = level.found.hook;
        let verdict = if settled.contains(&hook) { Verdict::Beside } else { judge(&level.found, level.here) };
        settled.push(hook);
        match verdict {
            Verdict::Beside => beside.push(level),
            Verdict::Refused => findings.push(refused(level)),
            Verdict::Silenced => findings.push(silenced(level)),
        }
    }
    findings.extend(beside.chunk_by(|a, b| a.directory == b.directory).map(harmless));
    findings
}

/// All the programs of one directory that do not mind ours, a running agent's own among them.
fn harmless(levels: &[&Level]) -> Finding {
    let mut programs: Vec<&str> = levels.iter().flat_map(|level| &level.found.programs).map(String::as_str).collect();
    programs.dedup();
    let (here, directory) =
        levels.first().map_or((false, ""), |level| (level.here, level.directory.to_str().unwrap_or("?")));
    if levels.iter().all(|level| level.found.programs.iter().all(|program| program == level.found.hook)) {
        return Finding::ok(NAME, format!("the hooks of an agent that runs, on {directory}"));
    }
    let order = if here { "before" } else { "after" };
    Finding::ok(NAME, format!("{} on {directory}: run {order} ours, and both do", programs.join(", ")))
}

fn describe(level: &Level) -> String {
    let Attachment { hook, programs, .. } = &level.found;
    format!("{} at {} of {}", programs.join(", "), hook.trim_start_matches("on_"), level.directory.display())
}

fn refused(level: &Level) -> Finding {
    let detail = format!("{}: attached without BPF_F_ALLOW_MULTI, so the kernel refuses ours (EPERM)", describe(level));
    Finding::fail(NAME, detail, CURE)
}

fn silenced(level: &Level) -> Finding {
    let detail = format!(
        "{}: attached with BPF_F_ALLOW_OVERRIDE: ours would keep it from running, so the agent does not attach",
        describe(level)
    );
    Finding::fail(NAME, detail, CURE)
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    const ALLOW_OVERRIDE: u32 = 1;
    const ALLOW_MULTI: u32 = 2;

    fn level(directory: &str, hook: &'static str, flags: u32, here: bool) -> Level {
        let found = Attachment { hook, flags, programs: vec!["cil_sock4_connect".to_owned()] };
        Level { directory: directory.into(), found, here }
    }

    #[test]
    fn flags_decide_what_a_program_means_for_ours() {
        let rows = [
            (0, true, Verdict::Refused),
            (0, false, Verdict::Refused),
            (ALLOW_OVERRIDE, true, Verdict::Refused),
            (ALLOW_OVERRIDE, false, Verdict::Silenced),
            (ALLOW_MULTI, true, Verdict::Beside),
            (ALLOW_MULTI, false, Verdict::Beside),
            // Newer kernels may set bits that we do not know beside it.
            (ALLOW_MULTI | 1 << 6, false, Verdict::Beside),
        ];
        for (flags, here, verdict) in rows {
            assert_eq!(
                judge(&level("/c", "on_connect4", flags, here).found, here),
                verdict,
                "flags {flags}, here {here}"
            );
        }
    }

    #[test]
    fn a_socket_load_balancer_on_the_root_is_fine_and_named() {
        let findings = judge_all(&[level("/sys/fs/cgroup", "on_connect4", ALLOW_MULTI, false)]);
        assert_eq!(findings[0].state, State::Ok);
        assert_eq!(findings[0].detail, "cil_sock4_connect on /sys/fs/cgroup: run after ours, and both do");
    }

    #[test]
    fn a_running_agent_is_told_from_other_tools() {
        let mut own = level("/c/kubepods", "on_connect4", ALLOW_MULTI, true);
        own.found.programs = vec!["on_connect4".to_owned()];
        assert_eq!(judge_all(&[own])[0].detail, "the hooks of an agent that runs, on /c/kubepods");
    }

    #[test]
    fn an_exclusive_program_on_the_root_is_a_failure_for_its_own_hook() {
        let findings = judge_all(&[
            level("/c/kubepods", "on_connect6", ALLOW_MULTI, true),
            level("/c", "on_connect4", 0, false),
            level("/c", "on_sock_ops", ALLOW_OVERRIDE, false),
        ]);
        let states: Vec<State> = findings.iter().map(|finding| finding.state).collect();
        assert_eq!(states, [State::Fail, State::Fail, State::Ok]);
        assert!(findings[0].detail.contains("EPERM"));
        assert!(findings[1].detail.contains("BPF_F_ALLOW_OVERRIDE"));
    }

    #[test]
    fn the_nearest_program_that_allows_others_settles_what_lies_above() {
        let findings =
            judge_all(&[level("/c/kubepods", "on_connect4", ALLOW_MULTI, true), level("/c", "on_connect4", 0, false)]);
        assert!(findings.iter().all(|finding| finding.state == State::Ok), "{findings:?}");
    }
}
