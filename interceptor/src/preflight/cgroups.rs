//! Where the hooks would be attached, and whether they would know the agent itself.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use super::Finding;
use super::settings::Settings;
use crate::cgroup;

/// Where the kubelet puts pods: the systemd driver, the cgroupfs driver, and a kubelet with a root of its own (kind).
const KUBELET: [&str; 4] = ["kubepods.slice", "kubepods", "kubelet.slice/kubelet-kubepods.slice", "kubelet/kubepods"];

/// The link of a process in the machine's first cgroup namespace (`PROC_CGROUP_INIT_INO`).
const FIRST_NAMESPACE: &str = "cgroup:[4026531835]";

/// The directories to examine.
#[derive(Debug, Clone, Default)]
pub(super) struct Points {
    /// Not empty unless no cgroup v2 is mounted.
    pub(super) all: Vec<PathBuf>,
    /// Nobody named one and the kubelet has none: the mount stands in, where nobody would attach.
    stand_in: bool,
}

/// Finds the attach points: those that were named, the kubelet's, the mount.
pub(super) fn attach_points(settings: &Settings) -> Points {
    if !settings.cgroups.is_empty() {
        return Points { all: settings.cgroups.clone(), stand_in: false };
    }
    let Ok(mount) = cgroup::mount() else { return Points::default() };
    match KUBELET.iter().map(|name| mount.join(name)).find(|path| path.is_dir()) {
        Some(kubelet) => Points { all: vec![kubelet], stand_in: false },
        None => Points { all: vec![mount], stand_in: true },
    }
}

/// Whether a directory is of cgroup v2; in a hybrid hierarchy most are not.
pub(super) fn is_v2(path: &Path) -> io::Result<bool> {
    Ok(statfs(path)?.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

pub(super) fn findings(points: &Points) -> Vec<Finding> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut findings = vec![judge_mount(cgroup::mount(), is_hybrid(&mounts))];
    if points.stand_in {
        findings.extend(points.all.iter().map(|path| stand_in(path)));
        return findings;
    }
    findings.extend(points.all.iter().map(|path| judge_point(path, is_v2(path))));
    let namespace = fs::read_link("/proc/self/ns/cgroup").ok();
    let hidden = namespace.is_some_and(|link| link != Path::new(FIRST_NAMESPACE));
    findings.extend(points.all.iter().map(|path| own_place(path, hidden)));
    findings
}

/// Whether cgroup v1 controllers are mounted beside cgroup v2.
fn is_hybrid(mountinfo: &str) -> bool {
    mountinfo.lines().filter_map(|line| line.split_once(" - ")).any(|(_, rest)| rest.starts_with("cgroup "))
}

fn judge_mount(mount: io::Result<PathBuf>, hybrid: bool) -> Finding {
    let name = "cgroup2";
    match mount {
        Ok(path) if hybrid => Finding::ok(name, format!("{} (beside cgroup v1)", path.display())),
        Ok(path) => Finding::ok(name, path.display().to_string()),
        Err(error) if hybrid => Finding::fail(
            name,
            format!("{error}; this machine uses cgroup v1"),
            "boot with systemd.unified_cgroup_hierarchy=1, or mount -t cgroup2 none /sys/fs/cgroup/unified",
        ),
        Err(error) => Finding::fail(name, error.to_string(), "mount -t cgroup2 none /sys/fs/cgroup"),
    }
}

fn stand_in(mount: &Path) -> Finding {
    Finding::ok(
        "attach-point",
        format!("none is named and there are no kubepods; looking at the mount {} instead", mount.display()),
    )
}

fn judge_point(path: &Path, v2: io::Result<bool>) -> Finding {
    let name = "attach-point";
    let shown = path.display();
    match v2 {
        Ok(true) => Finding::ok(name, shown.to_string()),
        Ok(false) => Finding::fail(
            name,
            format!("{shown} is no cgroup v2 directory"),
            "name one below the cgroup2 mount with capture.cgroup or --cgroup",
        ),
        Err(error) => Finding::fail(
            name,
            format!("{shown}: {error}"),
            "name a directory that exists with capture.cgroup or --cgroup; in a container, mount the host's /sys/fs/cgroup",
        ),
    }
}

fn own_place(point: &Path, hidden: bool) -> Finding {
    let name = "own-cgroup";
    if hidden {
        return Finding::warn(
            name,
            "not to be seen from this cgroup namespace",
            "run in the host's cgroup namespace (a privileged pod does, docker run --cgroupns=host)",
        );
    }
    match cgroup::own() {
        Ok(Some(own)) if own.starts_with(point) => {
            Finding::ok(name, format!("{}, below {}: the hooks let it pass", own.display(), point.display()))
        }
        Ok(Some(own)) => Finding::ok(name, format!("{}, outside of {}", own.display(), point.display())),
        Ok(None) => Finding::ok(name, "the agent is in no cgroup v2"),
        // Nothing is attached then: the agent might redirect its own connections.
        Err(error) => Finding::fail(name, error.to_string(), "mount the host's cgroup v2 file system, all of it"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    const V1: &str = "30 24 0:27 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu";
    const V2: &str = "31 24 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 none rw";

    #[test]
    fn a_hybrid_hierarchy_has_both_versions() {
        assert!(is_hybrid(&format!("{V1}\n{V2}\n")));
        assert!(!is_hybrid(V2));
        assert!(!is_hybrid(""));
    }

    #[test]
    fn without_cgroup_v2_nothing_works_and_beside_v1_it_does() {
        let none = || io::Error::new(io::ErrorKind::NotFound, "no cgroup v2 file system is mounted");
        assert_eq!(judge_mount(Ok("/sys/fs/cgroup/unified".into()), true).state, State::Ok);
        assert_eq!(judge_mount(Ok("/sys/fs/cgroup".into()), false).state, State::Ok);
        let pure_v1 = judge_mount(Err(none()), true);
        assert_eq!(pure_v1.state, State::Fail);
        assert!(pure_v1.hint.unwrap().contains("unified_cgroup_hierarchy"));
        assert_eq!(judge_mount(Err(none()), false).state, State::Fail);
    }

    #[test]
    fn an_attach_point_must_be_of_version_2_and_exist() {
        let path = Path::new("/sys/fs/cgroup/x");
        assert_eq!(judge_point(path, Ok(true)).state, State::Ok);
        assert_eq!(judge_point(path, Ok(false)).state, State::Fail);
        assert_eq!(judge_point(path, Err(io::Error::from(io::ErrorKind::NotFound))).state, State::Fail);
    }

    #[test]
    fn an_own_place_that_cannot_be_seen_is_a_warning() {
        assert_eq!(own_place(Path::new("/nonexistent"), true).state, State::Warn);
        assert_eq!(own_place(Path::new("/nonexistent"), false).state, State::Ok);
        let below = own_place(Path::new("/"), false);
        assert_eq!(below.state, cgroup::own().map_or(State::Fail, |_| State::Ok));
        assert_eq!(below.detail.contains("below /:"), cgroup::own().is_ok_and(|own| own.is_some()), "{below:?}");
    }
}
