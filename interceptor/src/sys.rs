//! System calls that neither std nor nix wraps, or that need care beyond a call: the crate's only unsafe code.
//!
//! Small functions, each with one job. Called by `capture`, `net` and, through `bpf`, `preflight`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sched::{CloneFlags, setns};

/// `SO_NETNS_COOKIE` (include/uapi/asm-generic/socket.h, Linux 5.14).
const SO_NETNS_COOKIE: libc::c_int = 71;

/// Runs `work` in another network namespace; what it opens stays there.
///
/// Must not await: the whole thread is in that namespace meanwhile.
///
/// # Errors
/// Where the namespace cannot be entered. `work`'s own result is handed through.
///
/// # Aborts
/// Where the thread cannot come back: going on would put other workloads' sockets into the wrong namespace. The hooks
/// fail open then.
pub fn in_netns<T>(netns: BorrowedFd<'_>, home: BorrowedFd<'_>, work: impl FnOnce() -> T) -> io::Result<T> {
    struct Return<'a>(BorrowedFd<'a>);
    impl Drop for Return<'_> {
        fn drop(&mut self) {
            if setns(self.0, CloneFlags::CLONE_NEWNET).is_err() {
                std::process::abort();
            }
        }
    }
    setns(netns, CloneFlags::CLONE_NEWNET)?;
    let _return = Return(home);
    Ok(work())
}

/// The network namespace of the calling thread.
///
/// # Errors
/// Where /proc is not there.
pub fn own_netns() -> io::Result<File> {
    File::open("/proc/thread-self/ns/net")
}

/// The cookie of the network namespace that a socket belongs to: what `bpf_get_netns_cookie` gives the hooks.
///
/// # Errors
/// On kernels before 5.14.
pub fn netns_cookie(socket: impl AsFd) -> io::Result<u64> {
    let mut cookie = 0_u64;
    let mut len: libc::socklen_t = 8;
    // SAFETY: the kernel writes at most `len` bytes to `cookie`, which outlives the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            std::ptr::from_mut(&mut cookie).cast(),
            &raw mut len,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

/// The socket's cookie: what `bpf_get_socket_cookie` gives the hooks.
///
/// # Errors
/// Where the descriptor is no socket.
pub fn socket_cookie(socket: impl AsFd) -> io::Result<u64> {
    let mut cookie = [0_u8; 8];
    socket_option(socket, libc::SOL_SOCKET, libc::SO_COOKIE, &mut cookie)?;
    Ok(u64::from_ne_bytes(cookie))
}

/// Bytes that the peer has acknowledged, and two more if it was us who connected and ended (`struct tcp_info`).
///
/// # Errors
/// Where the descriptor is no TCP socket.
pub fn acked_bytes(socket: impl AsFd) -> io::Result<u64> {
    /// Where `tcpi_bytes_acked` is (include/uapi/linux/tcp.h, 4.2).
    const AT: usize = 120;
    let mut info = [0_u8; AT + 8];
    socket_option(socket, libc::IPPROTO_TCP, libc::TCP_INFO, &mut info)?;
    let acked = info.last_chunk().copied();
    Ok(u64::from_ne_bytes(acked.unwrap_or_default()))
}

/// Has the kernel tell a socket's reader, which may be a sock map's program, that there is something to read, if there is
/// (`SO_RCVLOWAT`, socket(7)).
///
/// # Errors
/// Where the descriptor is no socket.
pub fn tell_readable(socket: impl AsFd) -> io::Result<()> {
    let one: libc::c_int = 1;
    // SAFETY: the kernel reads one int from `one`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(socket.as_fd().as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVLOWAT, (&raw const one).cast(), 4)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn socket_option(socket: impl AsFd, level: libc::c_int, name: libc::c_int, value: &mut [u8]) -> io::Result<()> {
    let mut len = libc::socklen_t::try_from(value.len()).map_err(io::Error::other)?;
    // SAFETY: the kernel writes at most `len` bytes to `value`, which outlives the call.
    let result =
        unsafe { libc::getsockopt(socket.as_fd().as_raw_fd(), level, name, value.as_mut_ptr().cast(), &raw mut len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Bytes that were written to a socket and that its peer has not acknowledged (`SIOCOUTQ`, tcp(7)).
///
/// # Errors
/// Where the descriptor is no connected socket.
pub fn unsent_bytes(socket: impl AsFd) -> io::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: the kernel writes one int to `count`, which outlives the call.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    if result == 0 { Ok(usize::try_from(count).unwrap_or_default()) } else { Err(io::Error::last_os_error()) }
}

/// Nanoseconds of `CLOCK_MONOTONIC`: the clock of `bpf_ktime_get_ns`.
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec. This clock cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or_default())
}

/// Raises the limit of open files to what this process may have, and tells it.
///
/// # Errors
/// Where the kernel refuses.
pub fn raise_file_limit() -> io::Result<u64> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// Programs that are attached to a cgroup at one attach point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramQuery {
    /// `BPF_F_ALLOW_OVERRIDE`, `BPF_F_ALLOW_MULTI`, or neither of them.
    pub flags: u32,
    /// The programs' identifiers, in the order in which they run.
    pub programs: Vec<u32>,
}

/// What the kernel reads and writes for `BPF_PROG_QUERY` (`union bpf_attr`, include/uapi/linux/bpf.h), up to `revision`,
/// which kernels from 6.17 write also for cgroups.
#[repr(C)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    pad: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// Asks which programs sit on a cgroup itself, not above or below it. Neither aya nor nix wraps this for cgroups.
///
/// # Errors
/// Where the kernel refuses: without `CAP_NET_ADMIN`, for what is no cgroup v2 directory, for an unknown attach type.
pub fn query_programs(cgroup: impl AsFd, attach_type: u32) -> io::Result<ProgramQuery> {
    const BPF_PROG_QUERY: libc::c_int = 16;
    // BPF_CGROUP_MAX_PROGS of the kernel.
    let mut ids = [0_u32; 64];
    let mut attr = QueryAttr {
        target_fd: cgroup.as_fd().as_raw_fd().cast_unsigned(),
        attach_type,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr().expose_provenance() as u64,
        prog_cnt: 64,
        pad: 0,
        prog_attach_flags: 0,
        link_ids: 0,
        link_attach_flags: 0,
        revision: 0,
    };
    // SAFETY: the kernel reads and writes at most the size given of `attr` and `prog_cnt` words of `ids`, both of which
    // outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_QUERY, &raw mut attr, size_of::<QueryAttr>()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let count = usize::try_from(attr.prog_cnt).unwrap_or(usize::MAX);
    Ok(ProgramQuery { flags: attr.attach_flags, programs: ids.iter().copied().take(count).collect() })
}
