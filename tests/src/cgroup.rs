//! cgroup v2 directories: found, made, emptied and removed.
//!
//! [`Lab`](crate::Lab) makes them, the [`guardian`](crate::guardian) empties and removes them. Only directories that
//! this crate made are ever touched; controllers and limits are left alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait;

/// Where cgroup v2 is mounted, which on a machine with both versions is not `/sys/fs/cgroup`.
pub fn mount_point() -> Result<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("reading /proc/self/mountinfo")?;
    parse_mount_point(&table)
        .context("no cgroup2 file system is mounted (mount -t cgroup2 none /sys/fs/cgroup/unified)")
}

fn parse_mount_point(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        // "32 31 0:29 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw": optional fields end with a lone dash.
        let (mount, file_system) = line.split_once(" - ")?;
        (file_system.split(' ').next()? == "cgroup2").then(|| mount.split(' ').nth(4))?.map(PathBuf::from)
    })
}

/// Opens the file through which a process joins `dir`.
pub fn open_procs(dir: &Path) -> Result<OwnedFd> {
    let path = dir.join("cgroup.procs");
    let file: File =
        OpenOptions::new().write(true).open(&path).with_context(|| format!("opening {}", path.display()))?;
    Ok(file.into())
}

/// Kills every process in `dir` and below, waits until it is empty, and removes the directories.
///
/// A directory that does not exist (any more) is success.
pub fn destroy(dir: &Path, limit: Duration) -> Result<()> {
    wait::until(limit, &format!("{} to empty", dir.display()), || {
        if !dir.exists() {
            return Ok(());
        }
        if populated(dir)? {
            kill_all(dir)?;
            bail!("processes left: {:?}", processes(dir)?);
        }
        remove_tree(dir).with_context(|| format!("removing {}", dir.display()))
    })
}

/// The processes in `dir` and below.
pub fn processes(dir: &Path) -> Result<Vec<i32>> {
    let mut found = Vec::new();
    for dir in tree(dir).with_context(|| format!("listing {}", dir.display()))? {
        let path = dir.join("cgroup.procs");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    }
    Ok(found)
}

fn populated(dir: &Path) -> Result<bool> {
    let path = dir.join("cgroup.events");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(text.lines().any(|line| line == "populated 1"))
}

fn kill_all(dir: &Path) -> Result<()> {
    // cgroup.kill came with 5.14. The file is never created: a missing one must stay an error.
    if OpenOptions::new()
        .write(true)
        .open(dir.join("cgroup.kill"))
        .and_then(|mut f| io::Write::write_all(&mut f, b"1"))
        .is_ok()
    {
        return Ok(());
    }
    for pid in processes(dir)? {
        // One that has ended meanwhile is what we want; the caller looks again.
        kill(Pid::from_raw(pid), Signal::SIGKILL).ok();
    }
    Ok(())
}

fn remove_tree(dir: &Path) -> io::Result<()> {
    for dir in tree(dir)?.iter().rev() {
        match fs::remove_dir(dir) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// `dir` and all directories below it, parents first.
fn tree(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut all = vec![dir.to_path_buf()];
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            all.extend(tree(&entry.path())?);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_is_found_on_hybrid_and_unified_machines() {
        let hybrid = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw\n\
                      32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n";
        assert_eq!(parse_mount_point(hybrid), Some("/sys/fs/cgroup/unified".into()));
        let unified = "30 23 0:26 / /sys/fs/cgroup rw shared:4 master:2 - cgroup2 cgroup2 rw\n";
        assert_eq!(parse_mount_point(unified), Some("/sys/fs/cgroup".into()));
        assert_eq!(parse_mount_point("1 2 0:3 / / rw - ext4 /dev/vda rw\n"), None);
    }
}
