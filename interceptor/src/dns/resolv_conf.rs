//! Which DNS servers a workload's processes use: `nameserver` lines of the resolv.conf that they see.
//!
//! The file lies in a container and may be anything: it is opened below the container's root with no link leading out, it
//! must be a regular file, and only its beginning is read. Called by the control thread when a workload is attached.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, SFlag, fstat};

use crate::config::NetnsRef;
use crate::net::netns::{Identity, of_process};

/// Much more than any resolver reads.
const MAX_BYTES: u64 = 64 * 1024;
/// glibc and musl use three.
const MAX_SERVERS: usize = 8;
/// Processes that are looked at before one in the right namespace is found.
const MAX_PROCESSES: usize = 64;
/// Kubernetes puts a container's cgroup right below its pod's; some runtimes have one level more.
const MAX_DEPTH: usize = 3;

/// The servers of the processes in a network namespace, as far as `netns` and `cgroup` lead to any; those of all its
/// processes, as the containers of a pod share the hooks.
pub(super) fn servers(netns: &NetnsRef, cgroup: Option<&Path>, identity: Identity) -> Vec<IpAddr> {
    let mut processes: Vec<u32> = process_of(netns).into_iter().collect();
    if let Some(cgroup) = cgroup {
        collect(cgroup, MAX_DEPTH, &mut processes);
    }
    let mut found = BTreeSet::new();
    // A number may belong to another process by now, which the namespace tells.
    let inside = |pid: &u32| Identity::of(&of_process(*pid)).ok() == Some(identity);
    for pid in processes.into_iter().take(MAX_PROCESSES).filter(inside) {
        match read(pid) {
            Ok(text) => found.extend(parse(&text)),
            Err(error) => tracing::debug!(pid, %error, "reading a container's resolv.conf"),
        }
    }
    found.into_iter().take(MAX_SERVERS).collect()
}

fn process_of(netns: &NetnsRef) -> Option<u32> {
    match netns {
        NetnsRef::Pid(pid) => Some(*pid),
        NetnsRef::Pod(_) => None,
        NetnsRef::Path(path) => path.strip_prefix("/proc").ok()?.iter().next()?.to_str()?.parse().ok(),
    }
}

/// The processes of a cgroup and those below it.
fn collect(cgroup: &Path, depth: usize, into: &mut Vec<u32>) {
    let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    into.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
    if depth == 0 || into.len() >= MAX_PROCESSES {
        return;
    }
    let below = fs::read_dir(cgroup).into_iter().flatten().filter_map(Result::ok);
    let directories = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.take(MAX_PROCESSES).for_each(|entry| collect(&entry.path(), depth - 1, into));
}

/// /etc/resolv.conf as a process sees it.
fn read(pid: u32) -> io::Result<String> {
    let root = File::open(PathBuf::from(format!("/proc/{pid}/root")))?;
    // Not blocking: a FIFO would hold the control thread.
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)
        .mode(Mode::empty())
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let file = openat2(root.as_fd(), "etc/resolv.conf", how)?;
    if SFlag::from_bits_truncate(fstat(&file)?.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return Err(io::Error::other("/etc/resolv.conf is no regular file"));
    }
    let mut bytes = Vec::new();
    File::from(file).take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The addresses of resolv.conf(5). One with a scope (`fe80::1%eth0`) is none that the hooks can tell from others.
fn parse(text: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let rest = line.strip_prefix("nameserver").filter(|rest| rest.starts_with([' ', '\t']))?;
        let address: IpAddr = rest.split_whitespace().next()?.parse().ok()?;
        Some(address.to_canonical()).filter(|address| !address.is_unspecified() && !address.is_multicast())
    };
    text.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_with_an_address_name_a_server() {
        let text = "# nameserver 10.0.0.1\nsearch child.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\n\
                    nameserver\tfd00:96::a # DNS\nnameserver fe80::1%eth0\nnameserver ::ffff:10.0.0.7\nnameserver\n\
                    nameservers 10.0.0.3\nnameserver 0.0.0.0\nnameserver dns.example\n nameserver 10.0.0.4\noptions ndots:5\n";
        let found: Vec<String> = parse(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.96.0.10", "fd00:96::a", "10.0.0.7"]);
    }

    #[test]
    fn a_process_is_found_in_the_path_of_its_namespace() {
        assert_eq!(process_of(&NetnsRef::Path("/proc/4711/ns/net".into())), Some(4711));
        assert_eq!(process_of(&NetnsRef::Path("/run/netns/x".into())), None);
        assert_eq!(process_of(&NetnsRef::Path("/proc/self/ns/net".into())), None);
        assert_eq!(process_of(&NetnsRef::Pid(5)), Some(5));
    }

    #[test]
    fn the_file_is_the_one_that_the_process_sees() {
        let expected = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        assert_eq!(read(std::process::id()).unwrap_or_default(), expected);
    }

    #[test]
    fn a_process_in_another_namespace_is_not_asked() {
        let own = NetnsRef::Pid(std::process::id());
        let identity = Identity::of(Path::new("/proc/self/ns/net")).unwrap();
        let other = Identity::of(Path::new("/proc/self/ns/uts")).unwrap();
        assert_eq!(servers(&own, None, other), [] as [IpAddr; 0]);
        assert_eq!(
            servers(&own, None, identity).is_empty(),
            parse(&read(std::process::id()).unwrap_or_default()).is_empty()
        );
    }
}
