//! Every read and write of a hook's context, each field once and volatile.
//!
//! LLVM merges `if v4 { ctx.a } else { ctx.b }` into arithmetic on the context pointer, which the verifier refuses;
//! volatile accesses that stand before the branch keep each field's own place. Nothing here decides anything.

use core::ptr::{addr_of, addr_of_mut, read_volatile, write_volatile};

use aya_ebpf::{
    EbpfContext,
    bindings::{__sk_buff, bpf_sk_lookup, bpf_sock, bpf_sock_addr},
    helpers::{
        bpf_get_current_cgroup_id, bpf_get_current_task, bpf_get_netns_cookie, bpf_get_socket_cookie,
        bpf_map_lookup_elem, bpf_probe_read_kernel, bpf_sk_release, bpf_skc_to_tcp_sock,
    },
    maps::SockHash,
    programs::{RawTracePointContext, SkBuffContext, SkLookupContext, SockAddrContext, SockContext, SockOpsContext},
};
use interceptor_common::{Address, Endpoint, NetPort, policy::Bound, threads::Thread};

/// `AF_INET` of the kernel.
const AF_INET: u32 = 2;
/// `TCP_LISTEN` of the kernel.
const TCP_LISTEN: u32 = 10;

/// Where `struct sock` keeps `skc_ipv6only`: byte 19, bit 5 (`include/net/sock.h`, unchanged from 4.4 to 6.18: 8 bytes of
/// addresses, 4 of hash, 4 of ports, 2 of family, 1 of state, then the bit-fields `reuse:4, reuseport:1, ipv6only:1`).
const IPV6ONLY: (usize, u8) = (19, 0x20);

/// The four words of an IPv6 field, each read alone: the verifier allows no wider access.
macro_rules! words {
    ($($field:tt)+) => {
        [
            read_volatile(addr_of!($($field)+[0])),
            read_volatile(addr_of!($($field)+[1])),
            read_volatile(addr_of!($($field)+[2])),
            read_volatile(addr_of!($($field)+[3])),
        ]
    };
}

/// The cookie of the network namespace that a context belongs to.
#[inline(always)]
pub(crate) fn netns(ctx: &impl EbpfContext) -> u64 {
    // SAFETY: the helper takes the program's own context (sock_addr 5.7, sock_ops 5.15).
    unsafe { bpf_get_netns_cookie(ctx.as_ptr()) }
}

/// The cookie of the socket that a context of the kind `bpf_sock` stands for.
#[inline(always)]
pub(crate) fn cookie(ctx: &SockContext) -> u64 {
    // SAFETY: the helper takes the program's own context (cgroup/sock since 5.8).
    unsafe { bpf_get_socket_cookie(ctx.as_ptr()) }
}

/// Identifier of the calling task's cgroup.
#[inline(always)]
pub(crate) fn current_cgroup() -> u64 {
    // SAFETY: the helper takes no argument (cgroup programs 4.18).
    unsafe { bpf_get_current_cgroup_id() }
}

/// The context of a sock_addr hook.
#[derive(Clone, Copy)]
pub(crate) struct SockAddr(*mut bpf_sock_addr);

impl SockAddr {
    #[inline(always)]
    pub(crate) fn new(ctx: &SockAddrContext) -> Self {
        Self(ctx.sock_addr)
    }

    #[inline(always)]
    pub(crate) fn protocol(self) -> u32 {
        // SAFETY: the kernel hands a valid context; all four bytes of this field may be read.
        unsafe { read_volatile(addr_of!((*self.0).protocol)) }
    }

    /// The IPv4 address and port that the hook may change.
    #[inline(always)]
    pub(crate) fn v4(self) -> Endpoint {
        // SAFETY: as for `protocol`.
        let ip = unsafe { read_volatile(addr_of!((*self.0).user_ip4)) };
        Endpoint::new(Address::from_be32(ip), self.port())
    }

    /// The IPv6 address and port that the hook may change.
    #[inline(always)]
    pub(crate) fn v6(self) -> Endpoint {
        // SAFETY: as for `protocol`, each word alone.
        let words = unsafe { words!((*self.0).user_ip6) };
        Endpoint::new(Address::from_be32x4(words), self.port())
    }

    #[inline(always)]
    fn port(self) -> NetPort {
        // SAFETY: as for `protocol`.
        let port = unsafe { read_volatile(addr_of!((*self.0).user_port)) };
        NetPort(port as u16)
    }

    #[inline(always)]
    pub(crate) fn set_v4(self, to: &Endpoint) {
        // SAFETY: sock_addr hooks may write these fields.
        unsafe { write_volatile(addr_of_mut!((*self.0).user_ip4), to.address.to_be32x4()[3]) };
        self.set_port(to.port);
    }

    #[inline(always)]
    pub(crate) fn set_v6(self, to: &Endpoint) {
        let words = to.address.to_be32x4();
        // SAFETY: as for `set_v4`, each word alone.
        unsafe {
            write_volatile(addr_of_mut!((*self.0).user_ip6[0]), words[0]);
            write_volatile(addr_of_mut!((*self.0).user_ip6[1]), words[1]);
            write_volatile(addr_of_mut!((*self.0).user_ip6[2]), words[2]);
            write_volatile(addr_of_mut!((*self.0).user_ip6[3]), words[3]);
        }
        self.set_port(to.port);
    }

    #[inline(always)]
    fn set_port(self, port: NetPort) {
        // SAFETY: as for `set_v4`.
        unsafe { write_volatile(addr_of_mut!((*self.0).user_port), u32::from(port.0)) };
    }

    /// The socket, which connect and name hooks always have; the verifier wants the check.
    #[inline(always)]
    pub(crate) fn socket(self) -> Option<Sock> {
        // SAFETY: as for `protocol`.
        let sk = unsafe { read_volatile(addr_of!((*self.0).__bindgen_anon_1.sk)) };
        if sk.is_null() { None } else { Some(Sock(sk)) }
    }
}

/// The socket behind a sock_addr context.
#[derive(Clone, Copy)]
pub(crate) struct Sock(*mut bpf_sock);

impl Sock {
    #[inline(always)]
    pub(crate) fn bound_device(self) -> u32 {
        // SAFETY: checked not to be null in `SockAddr::socket`; the verifier translates the access.
        unsafe { read_volatile(addr_of!((*self.0).bound_dev_if)) }
    }

    /// The source address that an IPv6 socket is bound to; unspecified when it is not.
    #[inline(always)]
    pub(crate) fn source_v6(self) -> Address {
        // SAFETY: as for `bound_device`, each word alone.
        let words = unsafe { words!((*self.0).src_ip6) };
        Address::from_be32x4(words)
    }

    /// The IPv4 far end of a connected socket, also of an IPv6 socket that talks IPv4.
    #[inline(always)]
    pub(crate) fn far_v4(self) -> Endpoint {
        // SAFETY: as for `bound_device`.
        let (ip, port) =
            unsafe { (read_volatile(addr_of!((*self.0).dst_ip4)), read_volatile(addr_of!((*self.0).dst_port))) };
        Endpoint::new(Address::from_be32(ip), NetPort(port))
    }

    /// The IPv6 far end of a connected socket.
    #[inline(always)]
    pub(crate) fn far_v6(self) -> Endpoint {
        // SAFETY: as for `bound_device`, each word alone.
        let (words, port) = unsafe { (words!((*self.0).dst_ip6), read_volatile(addr_of!((*self.0).dst_port))) };
        Endpoint::new(Address::from_be32x4(words), NetPort(port))
    }

    /// Whether this is an `IPV6_V6ONLY` socket. No helper and no field of `bpf_sock` tells.
    #[inline(always)]
    pub(crate) fn v6_only(self) -> bool {
        // The verifier refuses arithmetic on socket pointers: the head of the struct is read as a whole.
        // SAFETY: the helper checks the address itself and reports a fault.
        match unsafe { bpf_probe_read_kernel(self.0.cast::<[u8; 20]>()) } {
            Ok(head) => head[IPV6ONLY.0] & IPV6ONLY.1 != 0,
            // Unreadable: in doubt it passes.
            Err(_) => true,
        }
    }
}

/// The context of an sk_lookup hook.
#[derive(Clone, Copy)]
pub(crate) struct Lookup(*mut bpf_sk_lookup);

impl Lookup {
    #[inline(always)]
    pub(crate) fn new(ctx: &SkLookupContext) -> Self {
        Self(ctx.lookup)
    }

    #[inline(always)]
    pub(crate) fn protocol(self) -> u32 {
        // SAFETY: the kernel hands a valid context.
        unsafe { read_volatile(addr_of!((*self.0).protocol)) }
    }

    /// Where the packet comes from and where it goes.
    #[inline(always)]
    pub(crate) fn addresses(self) -> (Address, Endpoint) {
        // SAFETY: as for `protocol`, each word alone. All are read before the family is looked at: see the module's doc.
        let (v4, remote4, remote6, local4, local6, port) = unsafe {
            (
                read_volatile(addr_of!((*self.0).family)) == AF_INET,
                read_volatile(addr_of!((*self.0).remote_ip4)),
                words!((*self.0).remote_ip6),
                read_volatile(addr_of!((*self.0).local_ip4)),
                words!((*self.0).local_ip6),
                read_volatile(addr_of!((*self.0).local_port)),
            )
        };
        let (remote, local) = if v4 {
            (Address::from_be32(remote4), Address::from_be32(local4))
        } else {
            (Address::from_be32x4(remote6), Address::from_be32x4(local6))
        };
        // The kernel gives this port in host byte order.
        (remote, Endpoint::new(local, NetPort::from_host(port as u16)))
    }
}

/// The context of a sock_ops hook.
#[derive(Clone, Copy)]
pub(crate) struct Ops<'a>(pub(crate) &'a SockOpsContext);

macro_rules! ops_field {
    ($(#[$doc:meta])* $name:ident: $type:ty) => {
        $(#[$doc])*
        #[inline(always)]
        pub(crate) fn $name(self) -> $type {
            // SAFETY: the kernel hands a valid context; the verifier translates the access.
            unsafe { read_volatile(addr_of!((*self.0.ops).$name)) }
        }
    };
}

impl Ops<'_> {
    ops_field!(
        /// Smoothed round-trip time, in eighths of a microsecond.
        srtt_us: u32
    );
    ops_field!(total_retrans: u32);
    ops_field!(bytes_acked: u64);
    ops_field!(bytes_received: u64);
    ops_field!(op: u32);
    ops_field!(
        /// Which callbacks this socket has asked for.
        bpf_sock_ops_cb_flags: u32
    );
    ops_field!(
        /// Host byte order, unlike the remote port.
        local_port: u32
    );
    ops_field!(remote_port: u32);
    ops_field!(
        /// The kernel's number of the connection's state.
        state: u32
    );
    ops_field!(snd_una: u32);
    ops_field!(snd_nxt: u32);
    ops_field!(rcv_nxt: u32);
    ops_field!(packets_out: u32);

    /// The socket's cookie.
    #[inline(always)]
    pub(crate) fn cookie(self) -> u64 {
        // SAFETY: the helper takes the program's own context.
        unsafe { bpf_get_socket_cookie(self.0.as_ptr()) }
    }

    /// Asks for further callbacks on this socket, beside those that somebody has asked for already.
    #[inline(always)]
    pub(crate) fn also_call_back(self, flags: u32) {
        // Fails only for flags that the kernel does not know.
        self.0.set_cb_flags((self.bpf_sock_ops_cb_flags() | flags).cast_signed()).ok();
    }

    /// The first argument of a callback: for a change of state, the old state; for the length of options, what is asked.
    #[inline(always)]
    pub(crate) fn first_argument(self) -> u32 {
        // SAFETY: as for the fields above.
        unsafe { read_volatile(addr_of!((*self.0.ops).__bindgen_anon_1.args[0])) }
    }

    /// The second argument of a callback: for a change of state, the new state.
    #[inline(always)]
    pub(crate) fn new_state(self) -> u32 {
        // SAFETY: as for the fields above.
        unsafe { read_volatile(addr_of!((*self.0.ops).__bindgen_anon_1.args[1])) }
    }

    /// What a listening socket is bound to. Where the kernel does not show the socket it is taken for one of both families.
    #[inline(always)]
    pub(crate) fn bound(self) -> Bound {
        // SAFETY: as for the fields above, each word alone. All are read before the family is looked at.
        let (v4, ip4, ip6, sk) = unsafe {
            (
                read_volatile(addr_of!((*self.0.ops).family)) == AF_INET,
                read_volatile(addr_of!((*self.0.ops).local_ip4)),
                words!((*self.0.ops).local_ip6),
                read_volatile(addr_of!((*self.0.ops).__bindgen_anon_2.sk)),
            )
        };
        let to = if v4 { Address::from_be32(ip4) } else { Address::from_be32x4(ip6) };
        Bound { to, v6_only: !v4 && !sk.is_null() && Sock(sk).v6_only() }
    }

    /// The far end of the connection.
    #[inline(always)]
    pub(crate) fn remote(self) -> Endpoint {
        // SAFETY: as for the fields above, each word alone. All are read before the family is looked at.
        let (v4, ip4, ip6) = unsafe {
            (
                read_volatile(addr_of!((*self.0.ops).family)) == AF_INET,
                read_volatile(addr_of!((*self.0.ops).remote_ip4)),
                words!((*self.0.ops).remote_ip6),
            )
        };
        // The verifier's translation puts the two bytes, in network order, into the upper half on little-endian hosts.
        let port = NetPort((self.remote_port() >> 16) as u16);
        Endpoint::new(if v4 { Address::from_be32(ip4) } else { Address::from_be32x4(ip6) }, port)
    }
}

/// The socket of a tracepoint, of which only a helper may look at anything.
#[derive(Clone, Copy)]
pub(crate) struct Traced(*const u8);

impl Traced {
    /// The socket that is a tracepoint's first argument.
    #[inline(always)]
    pub(crate) fn new(ctx: &RawTracePointContext) -> Self {
        Self(ctx.arg(0))
    }

    /// Its cookie, which is `at` so many bytes into it. `None`: nobody has asked for it yet.
    #[inline(always)]
    pub(crate) fn cookie(self, at: usize) -> Option<u64> {
        // SAFETY: the helper checks the address itself and reports a fault.
        unsafe { bpf_probe_read_kernel(self.0.wrapping_add(at).cast::<u64>()) }.ok().filter(|cookie| *cookie != 0)
    }

    /// A word of its `struct tcp_sock`, `at` so many bytes.
    #[inline(always)]
    pub(crate) fn word(self, at: usize) -> Option<u32> {
        // SAFETY: as for `cookie`.
        unsafe { bpf_probe_read_kernel(self.0.wrapping_add(at).cast::<u32>()) }.ok()
    }
}

/// The running thread, whose start and numbers are so many bytes into its `struct task_struct`.
#[inline(always)]
pub(crate) fn thread([start, tid, tgid]: [usize; 3]) -> Option<Thread> {
    // SAFETY: the helper takes no argument.
    let task = unsafe { bpf_get_current_task() } as *const u8;
    // SAFETY: the helper checks the address itself and reports a fault.
    unsafe {
        Some(Thread {
            start: bpf_probe_read_kernel(task.wrapping_add(start).cast::<u64>()).ok()?,
            tid: bpf_probe_read_kernel(task.wrapping_add(tid).cast::<u32>()).ok()?,
            tgid: bpf_probe_read_kernel(task.wrapping_add(tgid).cast::<u32>()).ok()?,
        })
    }
}

/// The context of an sk_skb hook: a segment that a TCP socket received.
#[derive(Clone, Copy)]
pub(crate) struct Segment<'a>(pub(crate) &'a SkBuffContext);

impl Segment<'_> {
    #[inline(always)]
    fn raw(self) -> *mut __sk_buff {
        self.0.skb.skb
    }

    /// The cookie of the socket that received it.
    #[inline(always)]
    pub(crate) fn cookie(self) -> u64 {
        // SAFETY: the helper takes the program's own context.
        unsafe { bpf_get_socket_cookie(self.raw().cast()) }
    }

    /// Its bytes.
    #[inline(always)]
    pub(crate) fn len(self) -> u32 {
        // SAFETY: the kernel hands a valid context.
        unsafe { read_volatile(addr_of!((*self.raw()).len)) }
    }

    /// TCP's sequence number of its first byte, which is `at` so many bytes into the kernel's own structure.
    #[inline(always)]
    pub(crate) fn seq(self, at: usize) -> Option<u32> {
        // An sk_skb program's context is the structure itself; the verifier lets only a helper look at it.
        let place = self.raw().cast::<u8>().wrapping_add(at).cast::<u32>();
        // SAFETY: the helper checks the address itself and reports a fault.
        unsafe { bpf_probe_read_kernel(place) }.ok()
    }

    /// A word of the receiving socket's `struct tcp_sock`, `at` so many bytes.
    #[inline(always)]
    pub(crate) fn source_word(self, at: usize) -> Option<u32> {
        // SAFETY: the kernel hands a valid context.
        let sk = unsafe { read_volatile(addr_of!((*self.raw()).__bindgen_anon_2.sk)) };
        if sk.is_null() { None } else { tcp_word(sk.cast(), at) }
    }

    /// Takes bytes off its front. The kernel takes fewer than 4096 at once.
    #[inline(always)]
    pub(crate) fn trim(self, count: u32) -> bool {
        const AT_ONCE: u32 = 4095;
        /// A quarter of a MiB: more than any segment that a network card or the kernel merges from the network.
        const TIMES: u32 = 64;
        let mut left = count;
        for _ in 0..TIMES {
            if left == 0 {
                return true;
            }
            let part = left.min(AT_ONCE);
            if self.0.adjust_room(-(part.cast_signed()), 0, 0).is_err() {
                return false;
            }
            left -= part;
        }
        left == 0
    }
}

/// Whether there is a socket under that key that listens. One that was aborted stays in the map until it is closed.
#[inline(always)]
pub(crate) fn has_listener(sockets: &'static SockHash<u64>, key: u64) -> bool {
    let map = core::ptr::from_ref(sockets).cast_mut().cast();
    // SAFETY: the map is one of the object's, the key has its size; the socket found is released below.
    let sk = unsafe { bpf_map_lookup_elem(map, addr_of!(key).cast()) };
    if sk.is_null() {
        return false;
    }
    // SAFETY: a socket that is not null; the verifier translates the access.
    let state = unsafe { read_volatile(addr_of!((*sk.cast::<bpf_sock>()).state)) };
    // SAFETY: releases the reference that the lookup took, once.
    unsafe { bpf_sk_release(sk) };
    state == TCP_LISTEN
}

/// A word of the `struct tcp_sock` of a socket in a sock map, `at` so many bytes. None: it is not there.
#[inline(always)]
pub(crate) fn socket_word(sockets: &'static SockHash<u64>, cookie: u64, at: usize) -> Option<u32> {
    let map = core::ptr::from_ref(sockets).cast_mut().cast();
    // SAFETY: the map is one of the object's, the key has its size; the socket found is released below.
    let sk = unsafe { bpf_map_lookup_elem(map, addr_of!(cookie).cast()) };
    if sk.is_null() {
        return None;
    }
    let word = tcp_word(sk, at);
    // SAFETY: releases the reference that the lookup took, once.
    unsafe { bpf_sk_release(sk) };
    word
}

#[inline(always)]
fn tcp_word(sk: *mut core::ffi::c_void, at: usize) -> Option<u32> {
    // SAFETY: a socket that is not null.
    let tcp = unsafe { bpf_skc_to_tcp_sock(sk) };
    if tcp.is_null() {
        return None;
    }
    // SAFETY: the verifier knows the structure's layout and refuses what is no word of it.
    Some(unsafe { read_volatile(tcp.cast::<u8>().wrapping_add(at).cast::<u32>()) })
}
