//! System calls that neither std nor nix wraps, or that need care beyond a call: the crate's only unsafe code.
//!
//! Small functions, each with one job. Called by `capture`, `net`, `discovery` and, through `bpf`, `preflight`.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::sched::{CloneFlags, setns};
use nix::sys::inotify::{InitFlags, Inotify, InotifyEvent};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// `SO_NETNS_COOKIE` (include/uapi/asm-generic/socket.h, Linux 5.14).
const SO_NETNS_COOKIE: libc::c_int = 71;

/// An inotify instance that the runtime waits for.
#[derive(Debug)]
pub struct AsyncInotify(AsyncFd<Instance>);

/// What tokio asks for, and nix does not give.
#[derive(Debug)]
struct Instance(Inotify);

impl AsRawFd for Instance {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl AsyncInotify {
    /// An instance that watches nothing yet.
    ///
    /// # Errors
    /// Where the user has no more instances (`fs.inotify.max_user_instances`).
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn new() -> io::Result<Self> {
        let instance = Instance(Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?);
        // SAFETY: the instance owns its descriptor, and nobody can put another one in its place: no method hands it out
        // mutably.
        Ok(Self(unsafe { AsyncFd::register_with_interest(instance, Interest::READABLE) }?))
    }

    /// The instance, to add and remove watches.
    pub fn watches(&self) -> &Inotify {
        &self.0.get_ref().0
    }

    /// Waits until there are events. To be followed by [`read`](Self::read) until that has none.
    ///
    /// # Errors
    /// Where the runtime ends.
    pub async fn readable(&self) -> io::Result<()> {
        self.0.readable().await.map(drop)
    }

    /// Some events; none when all were read.
    pub fn read(&self) -> Vec<InotifyEvent> {
        // The runtime learns from the EAGAIN that it has to wait again.
        let read = |instance: &Instance| instance.0.read_events().map_err(io::Error::from);
        self.0.try_io(Interest::READABLE, read).unwrap_or_default()
    }
}

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

/// Nanoseconds of `CLOCK_MONOTONIC`: the clock of `bpf_ktime_get_ns`, but for [`monotonic_offset_ns`].
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec. This clock cannot fail.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(now.tv_nsec).unwrap_or_default())
}

/// How far this process's `CLOCK_MONOTONIC` is ahead of the kernel's own: 0, unless it is in a time namespace
/// (time_namespaces(7), Linux 5.6), which `bpf_ktime_get_ns` knows nothing of.
///
/// # Errors
/// Where /proc tells something else than the manual says.
pub fn monotonic_offset_ns() -> io::Result<i64> {
    match std::fs::read_to_string("/proc/self/timens_offsets") {
        Ok(text) => parse_offset(&text).ok_or_else(|| {
            io::Error::other(format!("/proc/self/timens_offsets has no offset of the monotonic clock: {text:?}"))
        }),
        // Without time namespaces, or without /proc.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

/// "monotonic 10 500": seconds and nanoseconds.
fn parse_offset(text: &str) -> Option<i64> {
    let mut words = text.lines().find_map(|line| line.strip_prefix("monotonic"))?.split_ascii_whitespace();
    let (seconds, nanoseconds) = (words.next()?.parse::<i64>().ok()?, words.next()?.parse::<i64>().ok()?);
    seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds)
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

/// Accepts a connection of a unix socket; waits if the socket does.
///
/// # Errors
/// As accept(2); `EINVAL` where the socket was shut down.
pub fn accept_unix(listener: impl AsFd) -> io::Result<OwnedFd> {
    use nix::sys::socket::{SockFlag, accept4};
    let fd = accept4(listener.as_fd().as_raw_fd(), SockFlag::SOCK_CLOEXEC)?;
    owned(fd.into())
}

/// A packet of a unix socket with its descriptors, at most so many.
///
/// # Errors
/// As recvmsg(2), and where the packet or its descriptors do not fit.
pub fn receive_with_fds(socket: impl AsFd, bytes: &mut [u8], max_fds: usize) -> io::Result<(usize, Vec<OwnedFd>)> {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
    let mut parts = [io::IoSliceMut::new(bytes)];
    // SAFETY: CMSG_SPACE only computes.
    let space = unsafe { libc::CMSG_SPACE(u32::try_from(max_fds * size_of::<RawFd>()).unwrap_or(u32::MAX)) };
    let mut control = vec![0; usize::try_from(space).map_err(io::Error::other)?];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let received = recvmsg::<()>(socket.as_fd().as_raw_fd(), &mut parts, Some(&mut control), flags)?;
    let mut fds = Vec::new();
    for message in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(all) = message {
            for fd in all {
                fds.push(owned(fd.into())?);
            }
        }
    }
    if received.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC) {
        return Err(io::Error::other("a packet was cut off (are no descriptors left?)"));
    }
    Ok((received.bytes, fds))
}

/// `bpf(2)` for commands whose attributes are 32-bit words.
fn bpf_words<const N: usize>(command: libc::c_int, mut words: [u32; N]) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads and writes at most the size given of `words`, which outlives the call. The commands below
    // take descriptors and flags by value, or say what their addresses lead to, which outlives the call as well.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, words.as_mut_ptr(), size_of::<[u32; N]>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a program to a cgroup or a network namespace by a link (`BPF_LINK_CREATE`, 5.7). Closing the last descriptor
/// of the link detaches it. aya does the same, but does not let anybody hand its links on.
///
/// # Errors
/// Where the kernel refuses.
pub fn bpf_link(program: impl AsFd, target: impl AsFd, attach_type: u32) -> io::Result<OwnedFd> {
    const BPF_LINK_CREATE: libc::c_int = 28;
    let words = [word(&program), word(&target), attach_type, 0];
    owned(bpf_words(BPF_LINK_CREATE, words)?)
}

/// Has a link run another program from now on (`BPF_LINK_UPDATE`): no packet or call in between finds none.
///
/// # Errors
/// `ENOLINK` where the cgroup or network namespace is gone.
pub fn bpf_link_update(link: impl AsFd, program: impl AsFd) -> io::Result<()> {
    const BPF_LINK_UPDATE: libc::c_int = 29;
    bpf_words(BPF_LINK_UPDATE, [word(&link), word(&program), 0, 0]).map(drop)
}

/// What the kernel tells of a link (`struct bpf_link_info`, include/uapi/linux/bpf.h), as far as it is read here, with room
/// for what it writes beyond.
#[repr(C)]
struct LinkInfo {
    kind: u32,
    id: u32,
    program: u32,
    pad: u32,
    /// Of a cgroup its identifier, of a network namespace its inode in the first half; 0 where it leads nowhere any more.
    target: u64,
    rest: [u64; 24],
}

/// What a link of a cgroup or a network namespace leads to (`BPF_OBJ_GET_INFO_BY_FD`, 5.8): the cgroup's identifier, the
/// inode of the namespace, or 0 where that is gone or somebody has detached the link.
///
/// # Errors
/// On older kernels.
pub fn bpf_link_target(link: impl AsFd) -> io::Result<u64> {
    const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
    const CGROUP: u32 = 3;
    let mut info = LinkInfo { kind: 0, id: 0, program: 0, pad: 0, target: 0, rest: [0; 24] };
    let address = (&raw mut info).expose_provenance() as u64;
    let [a, b, c, d, e, f, g, h] = address.to_ne_bytes();
    let [first, second] = [[a, b, c, d], [e, f, g, h]].map(u32::from_ne_bytes);
    let length = u32::try_from(size_of::<LinkInfo>()).map_err(io::Error::other)?;
    // Two words, then an address: the kernel writes at most `length` bytes to `info`, which outlives the call.
    bpf_words(BPF_OBJ_GET_INFO_BY_FD, [word(&link), length, first, second])?;
    let [a, b, c, d, ..] = info.target.to_ne_bytes();
    Ok(if info.kind == CGROUP { info.target } else { u32::from_ne_bytes([a, b, c, d]).into() })
}

/// Gives a kernel object a name in a bpf file system, under which it lives on when its last descriptor is closed
/// (`BPF_OBJ_PIN`).
///
/// # Errors
/// Where the path is on no bpf file system, or taken.
pub fn bpf_pin(object: impl AsFd, path: &Path) -> io::Result<()> {
    const BPF_OBJ_PIN: libc::c_int = 6;
    let path = CString::new(path.as_os_str().as_bytes())?;
    let address = path.as_ptr().expose_provenance() as u64;
    // What the kernel reads: the path's address in two words, then the descriptor and flags.
    let [a, b, c, d, e, f, g, h] = address.to_ne_bytes();
    let [first, second] = [[a, b, c, d], [e, f, g, h]].map(u32::from_ne_bytes);
    bpf_words(BPF_OBJ_PIN, [first, second, word(&object), 0]).map(drop)
}

fn word(fd: &impl AsFd) -> u32 {
    fd.as_fd().as_raw_fd().cast_unsigned()
}

/// A bpf file system that is mounted nowhere, as an open directory; it is gone when that is closed (fsopen(2), 5.2).
///
/// # Errors
/// Where the kernel refuses: without `CAP_SYS_ADMIN`.
pub fn unmounted_bpffs() -> io::Result<OwnedFd> {
    const FSOPEN_CLOEXEC: libc::c_int = 1;
    const FSCONFIG_CMD_CREATE: libc::c_int = 6;
    const FSMOUNT_CLOEXEC: libc::c_int = 1;
    let none = std::ptr::null::<libc::c_char>();
    // SAFETY: the name is a string that outlives the call.
    let context = unsafe { libc::syscall(libc::SYS_fsopen, c"bpf".as_ptr(), FSOPEN_CLOEXEC) };
    if context < 0 {
        return Err(io::Error::last_os_error());
    }
    let context = owned(context)?;
    // SAFETY: this command takes no key and no value.
    let made = unsafe { libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), FSCONFIG_CMD_CREATE, none, none, 0) };
    if made < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: takes a descriptor and flags by value.
    let mount = unsafe { libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), FSMOUNT_CLOEXEC, 0) };
    if mount < 0 { Err(io::Error::last_os_error()) } else { owned(mount) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_of_a_time_namespace_is_read_as_the_manual_says() {
        let text = "monotonic           0         0\nboottime            0         0\n";
        assert_eq!(parse_offset(text), Some(0));
        assert_eq!(parse_offset("monotonic  -86400  500\nboottime 7 0\n"), Some(-86_399_999_999_500));
        assert_eq!(parse_offset("boottime 7 0\n"), None);
        assert_eq!(parse_offset("monotonic soon 0\n"), None);
        assert!(monotonic_offset_ns().is_ok());
    }
}
