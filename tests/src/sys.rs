//! Every `unsafe` of this crate: what runs between fork and exec, descriptors that arrive over a socket, a
//! kind of socket that nix does not know, and one ioctl.
//!
//! [`place`](crate::place), [`netns`](crate::netns), [`guardian`](crate::guardian), [`sockets`](crate::sockets) and
//! [`tun`](crate::tun) call it. The hooks make system calls only: after fork in a program with threads nothing may allocate or lock.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{setsid, write};

/// Makes the child join a cgroup (by its open `cgroup.procs`) and a network namespace before it executes.
pub(crate) fn join_before_exec(command: &mut Command, cgroup_procs: OwnedFd, netns: OwnedFd) {
    let hook = move || {
        join_cgroup(&cgroup_procs)?;
        setns(&netns, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
    };
    // SAFETY: the hook makes two system calls on descriptors that it owns; it neither allocates nor locks, and an
    // errno becomes an io::Error without allocation.
    unsafe { command.pre_exec(hook) };
}

/// Makes the child join a cgroup and begin a network namespace of its own before it executes.
pub(crate) fn unshare_before_exec(command: &mut Command, cgroup_procs: OwnedFd) {
    let hook = move || {
        join_cgroup(&cgroup_procs)?;
        unshare(CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
    };
    // SAFETY: as in `join_before_exec`.
    unsafe { command.pre_exec(hook) };
}

/// Makes the child the leader of its own session, out of reach of the terminal's signals.
pub(crate) fn new_session_before_exec(command: &mut Command) {
    let hook = || setsid().map(drop).map_err(io::Error::from);
    // SAFETY: setsid(2) is async-signal-safe; the hook does nothing else.
    unsafe { command.pre_exec(hook) };
}

/// Takes ownership of a descriptor that a control message has just delivered.
pub(crate) fn own_received(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel installed this descriptor for us with the message that carried it, and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// A socket of Multipath TCP.
pub(crate) fn mptcp_socket(v4: bool) -> nix::Result<OwnedFd> {
    use nix::libc::{AF_INET, AF_INET6, IPPROTO_MPTCP, SOCK_CLOEXEC, SOCK_STREAM};
    let family = if v4 { AF_INET } else { AF_INET6 };
    // SAFETY: the call takes no pointer.
    let fd = unsafe { nix::libc::socket(family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP) };
    let fd = nix::errno::Errno::result(fd)?;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes an open `/dev/net/tun` the device `name` of this thread's network namespace, for bare IP packets.
pub(crate) fn attach_tun(file: &File, name: &str) -> io::Result<()> {
    /// What the kernel reads (`struct ifreq`, include/uapi/linux/if.h): a name, flags, and room for what else it may be.
    #[repr(C)]
    struct Request {
        name: [u8; 16],
        flags: u16,
        rest: [u8; 22],
    }
    // IFF_TUN | IFF_NO_PI.
    let mut request = Request { name: [0; 16], flags: 0x1001, rest: [0; 22] };
    // The last byte stays 0.
    let longest = request.name.len() - 1;
    if name.len() > longest {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    request.name.iter_mut().zip(name.bytes()).for_each(|(to, from)| *to = from);
    // SAFETY: the kernel reads and writes at most the size of `ifreq`, which `Request` has and which outlives the call.
    let result = unsafe { nix::libc::ioctl(file.as_raw_fd(), nix::libc::TUNSETIFF, &raw mut request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn join_cgroup(procs: &OwnedFd) -> io::Result<()> {
    // "0" is the writing process itself.
    write(procs, b"0").map(drop).map_err(io::Error::from)
}
