//! The agent's own place among cgroups: it must not capture itself.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The agent sits inside the cgroup that it is to capture.
#[derive(Debug, thiserror::Error)]
#[error("the agent's own cgroup {} lies below {}: it would capture itself; run it outside", .own.display(), .attach.display())]
pub struct Inside {
    own: PathBuf,
    attach: PathBuf,
}

/// Where cgroup v2 is mounted.
///
/// # Errors
/// Where /proc cannot be read, or no cgroup v2 is mounted.
pub fn mount() -> io::Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    // Fields of proc(5): … mount point at the fifth place, the type behind the separator " - ".
    let found = mounts.lines().find_map(|line| {
        let (mount, rest) = line.split_once(" - ")?;
        rest.starts_with("cgroup2 ").then(|| mount.split(' ').nth(4).map(PathBuf::from))?
    });
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no cgroup v2 file system is mounted"))
}

/// The directory of the agent's own cgroup.
///
/// # Errors
/// As [`mount`].
pub fn own() -> io::Result<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    let path = path.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the agent is in no cgroup v2"))?;
    // Joining nothing would leave a slash at the end.
    Ok(mount()?.join(path).components().collect())
}

/// The identifier that `bpf_get_current_cgroup_id` gives for the agent: the inode of its cgroup's directory.
///
/// # Errors
/// As [`mount`].
pub fn own_id() -> io::Result<u64> {
    Ok(fs::metadata(own()?)?.ino())
}

/// Checks that the agent does not sit inside the cgroup that it is to capture.
///
/// # Errors
/// Where it does.
pub fn check_outside(attach: &Path) -> Result<(), Inside> {
    match own() {
        Ok(own) if own.starts_with(attach) => Err(Inside { own, attach: attach.to_owned() }),
        // Where the agent is in no cgroup v2 it cannot be inside.
        _ => Ok(()),
    }
}
