//! Every `unsafe` of this crate: what runs between fork and exec, descriptors that arrive over a socket, a
//! kind of socket that nix does not know, one ioctl, and bpf(2).
//!
//! [`place`](crate::place), [`netns`](crate::netns), [`guardian`](crate::guardian), [`sockets`](crate::sockets),
//! [`tun`](crate::tun) and [`foreign`](crate::foreign) call it. The hooks make system calls only: after fork in a program with threads nothing may allocate or lock.

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

/// `bpf(2)` with attributes of these words; what comes back is a new descriptor or 0. Addresses in it must lead to what
/// outlives the call.
pub(crate) fn bpf(command: i32, attributes: &mut [u32]) -> io::Result<i32> {
    let size = size_of_val(attributes);
    // SAFETY: the kernel reads and writes at most `size` bytes of `attributes`; the only command with addresses in it is
    // called by `load_program`, which holds what they lead to.
    let result = unsafe { nix::libc::syscall(nix::libc::SYS_bpf, command, attributes.as_mut_ptr(), size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { i32::try_from(result).map_err(io::Error::other) }
}

/// Loads a program of these instructions (`BPF_PROG_LOAD`).
pub(crate) fn load_program(kind: u32, attach_type: u32, name: &str, instructions: &[u64]) -> io::Result<OwnedFd> {
    const BPF_PROG_LOAD: i32 = 5;
    let halves = |address: u64| {
        let [a, b, c, d, e, f, g, h] = address.to_ne_bytes();
        [[a, b, c, d], [e, f, g, h]].map(u32::from_ne_bytes)
    };
    let code = halves(instructions.as_ptr().expose_provenance() as u64);
    let licence = halves(c"GPL".as_ptr().expose_provenance() as u64);
    let count = u32::try_from(instructions.len()).map_err(io::Error::other)?;
    let mut words = [0_u32; 18];
    words[..6].copy_from_slice(&[kind, count, code[0], code[1], licence[0], licence[1]]);
    let mut letters = [0_u8; 16];
    letters.iter_mut().take(15).zip(name.bytes()).for_each(|(to, from)| *to = from);
    for (word, four) in words[12..16].iter_mut().zip(letters.chunks_exact(4)) {
        *word = u32::from_ne_bytes([four[0], four[1], four[2], four[3]]);
    }
    words[17] = attach_type;
    Ok(own_received(bpf(BPF_PROG_LOAD, &mut words)?))
}

fn join_cgroup(procs: &OwnedFd) -> io::Result<()> {
    // "0" is the writing process itself.
    write(procs, b"0").map(drop).map_err(io::Error::from)
}
