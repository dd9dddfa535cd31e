//! The agent's own place among cgroups, by which the hooks know its connections.
//!
//! As a pod the agent itself lies below the cgroup that it captures; what it connects must pass. Called by `capture`,
//! `discovery` and `preflight`. Only reads: nobody is moved.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A mount of cgroup v2, as proc_pid_mountinfo(5) has it.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// What of the hierarchy it shows, seen from the reader's cgroup namespace.
    root: String,
    /// Where.
    point: PathBuf,
}

/// Where cgroup v2 is mounted.
///
/// # Errors
/// Where /proc cannot be read, or no cgroup v2 is mounted.
pub fn mount() -> io::Result<PathBuf> {
    let mounts = mounts(&fs::read_to_string("/proc/self/mountinfo")?);
    // One that shows all is worth more than one of a part.
    let whole = mounts.iter().find(|mount| mount.root == "/").or(mounts.first());
    let none = || io::Error::new(io::ErrorKind::NotFound, "no cgroup v2 file system is mounted");
    whole.map(|mount| mount.point.clone()).ok_or_else(none)
}

/// The directory of the agent's own cgroup; `None` where it is in no cgroup v2.
///
/// # Errors
/// Where /proc cannot be read, or no mount shows that directory.
pub fn own() -> io::Result<Option<PathBuf>> {
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    let Some(path) = groups.lines().find_map(|line| line.strip_prefix("0::")) else { return Ok(None) };
    let mounts = mounts(&fs::read_to_string("/proc/self/mountinfo")?);
    let hidden = || {
        let why = format!("no mounted cgroup v2 file system shows the agent's own cgroup {path}");
        io::Error::new(io::ErrorKind::NotFound, why)
    };
    mounts.iter().find_map(|mount| mount.shows(path)).ok_or_else(hidden).map(Some)
}

/// The identifier that `bpf_get_current_cgroup_id` gives for the agent: the inode of its cgroup's directory. 0 where it is
/// in no cgroup v2, so that no hook ever runs for it.
///
/// # Errors
/// As [`own`]. Hooks on a cgroup above the agent would not know it, and redirect its own connections.
pub fn own_id() -> io::Result<u64> {
    own()?.map_or(Ok(0), |own| Ok(fs::metadata(own)?.ino()))
}

/// Whether the agent sits in that cgroup or below it.
pub fn is_inside(attach: &Path) -> bool {
    own().is_ok_and(|own| own.is_some_and(|own| own.starts_with(attach)))
}

impl Mount {
    /// Where this mount shows the cgroup `path`, which like its root is seen from the reader's cgroup namespace.
    fn shows(&self, path: &str) -> Option<PathBuf> {
        let below = Path::new(path).strip_prefix(&self.root).ok()?;
        // Joining nothing would leave a slash at the end.
        Some(self.point.join(below).components().collect())
    }
}

fn mounts(mountinfo: &str) -> Vec<Mount> {
    // … root at the fourth place, mount point at the fifth, the type behind the separator " - ".
    let found = mountinfo.lines().filter_map(|line| {
        let (mount, rest) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        rest.starts_with("cgroup2 ").then(|| Mount { root: root.to_owned(), point: point.into() })
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw\n\
        32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n";
    /// A pod with a cgroup namespace of its own and the host's file system mounted beside.
    const POD: &str = "700 690 0:26 /../../.. /host/cgroup rw - cgroup2 cgroup rw\n\
        701 690 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n";

    #[test]
    fn a_cgroup_is_looked_for_on_the_mount_that_shows_it() {
        let hybrid = mounts(HYBRID);
        assert_eq!(hybrid, [Mount { root: "/".into(), point: "/sys/fs/cgroup/unified".into() }]);
        assert_eq!(hybrid[0].shows("/kubepods/a"), Some("/sys/fs/cgroup/unified/kubepods/a".into()));
        let shown: Vec<_> = mounts(POD).iter().map(|mount| mount.shows("/")).collect();
        // The first shows the node's root, not the agent's: taking it would exempt the wrong cgroup.
        assert_eq!(shown, [None, Some("/sys/fs/cgroup".into())]);
        assert_eq!(mounts("1 2 0:3 / / rw - ext4 /dev/vda rw\n"), []);
    }

    #[test]
    fn the_own_cgroup_has_an_identifier_wherever_there_is_one() {
        match own() {
            Ok(Some(own)) => assert_eq!(own_id().unwrap(), fs::metadata(own).unwrap().ino()),
            Ok(None) => assert_eq!(own_id().unwrap(), 0),
            Err(_) => assert!(own_id().is_err()),
        }
        assert!(!is_inside(Path::new("/nonexistent")));
    }
}
