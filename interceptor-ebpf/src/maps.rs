//! The maps and globals of the object, and typed access to them. The table in `interceptor-common` says who writes what.

use core::arch::asm;

use aya_ebpf::{
    Global,
    bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST},
    helpers::bpf_ktime_get_ns,
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, SockHash},
};
use interceptor_common::{
    Address, Client, ClientKey, Control, DnsKey, Endpoint, Facts, FactsKey, SpliceFlow, Workload,
    counters::{self, Counter},
    names, policy,
    threads::{Call, Inbound, Reading, Request, Thread},
};

use crate::ctx;

/// Set by `--ebpf-log`; constant for the verifier, so that logging costs nothing when it is off.
#[unsafe(no_mangle)]
static DEBUG: Global<u32> = Global::new(0);

/// Where the running kernel keeps what it has no helper for; constants for the verifier. 0 where the agent does not splice.
#[unsafe(no_mangle)]
static WRITE_SEQ: Global<u32> = Global::new(0);
/// See [`WRITE_SEQ`].
#[unsafe(no_mangle)]
static COPIED_SEQ: Global<u32> = Global::new(0);
/// See [`WRITE_SEQ`].
#[unsafe(no_mangle)]
static SKB_SEQ: Global<u32> = Global::new(0);

/// Where the running kernel keeps what tells sockets and threads apart; 0 where it does not say.
#[unsafe(no_mangle)]
static SOCK_COOKIE: Global<u32> = Global::new(0);
/// See [`SOCK_COOKIE`].
#[unsafe(no_mangle)]
static TASK_START: Global<u32> = Global::new(0);
/// See [`SOCK_COOKIE`].
#[unsafe(no_mangle)]
static TASK_PID: Global<u32> = Global::new(0);
/// See [`SOCK_COOKIE`].
#[unsafe(no_mangle)]
static TASK_TGID: Global<u32> = Global::new(0);

#[map]
static CAPTURE: HashMap<Endpoint, u32> = HashMap::with_max_entries(names::CAPTURE_CAPACITY, BPF_F_NO_PREALLOC);
#[map]
static ORIGINALS: HashMap<u32, Endpoint> = HashMap::with_max_entries(names::CAPTURE_CAPACITY, BPF_F_NO_PREALLOC);
#[map]
static WORKLOADS: HashMap<u64, Workload> = HashMap::with_max_entries(names::WORKLOADS_CAPACITY, BPF_F_NO_PREALLOC);
#[map]
static INBOUND: HashMap<Endpoint, u32> = HashMap::with_max_entries(names::INBOUND_CAPACITY, BPF_F_NO_PREALLOC);
#[map]
static LISTENING: HashMap<Endpoint, u64> = HashMap::with_max_entries(names::LISTENING_CAPACITY, BPF_F_NO_PREALLOC);
#[map]
static PEERS: HashMap<Address, u32> = HashMap::with_max_entries(names::PEERS_CAPACITY, BPF_F_NO_PREALLOC);
#[map]
static LISTENERS: SockHash<Address> = SockHash::with_max_entries(names::WORKLOADS_CAPACITY, 0);
#[map]
static OUTBOUND: SockHash<u64> = SockHash::with_max_entries(names::WORKLOADS_CAPACITY, 0);
#[map]
static CLIENTS: HashMap<ClientKey, Client> = HashMap::with_max_entries(names::CLIENTS_CAPACITY, BPF_F_NO_PREALLOC);
#[map]
static FACTS: LruHashMap<FactsKey, Facts> = LruHashMap::with_max_entries(names::FACTS_CAPACITY, 0);
#[map]
static NAMESPACES: LruHashMap<u64, u64> = LruHashMap::with_max_entries(names::NAMESPACES_CAPACITY, 0);
#[map]
static DNS_AGENTS: HashMap<DnsKey, Endpoint> = HashMap::with_max_entries(names::DNS_CAPACITY, BPF_F_NO_PREALLOC);
#[map]
static DNS_SERVERS: HashMap<DnsKey, Endpoint> = HashMap::with_max_entries(names::DNS_CAPACITY, BPF_F_NO_PREALLOC);
#[map]
static SPLICE_TARGETS: SockHash<u64> = SockHash::with_max_entries(names::SPLICE_CAPACITY, 0);
#[map]
static SPLICE_SOURCES: SockHash<u64> = SockHash::with_max_entries(names::SPLICE_CAPACITY, 0);
#[map]
static SPLICE_FLOWS: HashMap<u64, SpliceFlow> = HashMap::with_max_entries(names::SPLICE_CAPACITY, BPF_F_NO_PREALLOC);
#[map]
static REQUESTS: HashMap<u64, Request> = HashMap::with_max_entries(names::REQUESTS_CAPACITY, BPF_F_NO_PREALLOC);
#[map]
static INBOUND_SOCKETS: LruHashMap<u64, Inbound> = LruHashMap::with_max_entries(names::FOLLOWED_CAPACITY, 0);
#[map]
static READINGS: LruHashMap<Thread, Reading> = LruHashMap::with_max_entries(names::FOLLOWED_CAPACITY, 0);
#[map]
static MISTRUSTED: LruHashMap<u32, u32> = LruHashMap::with_max_entries(names::MISTRUSTED_CAPACITY, 0);
#[map]
static CALLS: LruHashMap<FactsKey, Call> = LruHashMap::with_max_entries(names::FOLLOWED_CAPACITY, 0);
#[map]
static CONTROL: Array<Control> = Array::with_max_entries(1, 0);
#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(counters::COUNT, 0);

/// Whether debug messages are wanted.
#[inline(always)]
pub(crate) fn debug() -> bool {
    DEBUG.load() != 0
}

/// Adds one to a counter.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if let Some(slot) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: the slot belongs to this CPU, and hooks do not preempt each other's access to it in a way that tears.
        unsafe { *slot += 1 };
    }
}

/// What the agent tells the hooks.
#[inline(always)]
pub(crate) fn control() -> Option<&'static Control> {
    CONTROL.get(0)
}

/// Whether the calling task is the agent.
#[inline(always)]
pub(crate) fn is_agent() -> bool {
    control().is_some_and(|control| control.is_agent(ctx::current_cgroup()))
}

/// Whether the agent showed itself recently enough.
#[inline(always)]
pub(crate) fn agent_alive() -> bool {
    // SAFETY: the helper takes no argument and only reads a clock.
    let now = unsafe { bpf_ktime_get_ns() };
    control().is_some_and(|control| policy::alive(control, now))
}

/// What the capture map says of a destination.
#[inline(always)]
pub(crate) fn captured(destination: &Endpoint) -> Option<policy::Captured> {
    // SAFETY: BPF_F_NO_PREALLOC: an element that is removed is freed after RCU, never reused under a reader.
    unsafe { CAPTURE.get(destination) }.copied().map(policy::Captured::from_word)
}

/// The original destination behind an index.
#[inline(always)]
pub(crate) fn original(index: u32) -> Option<&'static Endpoint> {
    // SAFETY: as for `captured`.
    unsafe { ORIGINALS.get(index) }
}

/// The workload of a network namespace.
#[inline(always)]
pub(crate) fn workload(netns: u64) -> Option<&'static Workload> {
    // SAFETY: as for `captured`.
    unsafe { WORKLOADS.get(netns) }
}

/// What is intercepted of the connections to a workload's port.
#[inline(always)]
pub(crate) fn inbound(local: &Endpoint) -> Option<policy::Inbound> {
    // SAFETY: as for `captured`.
    unsafe { INBOUND.get(local) }.copied().map(policy::Inbound::from_word)
}

/// Whether a socket listens there of which the hooks know.
#[inline(always)]
pub(crate) fn is_listening(local: &Endpoint) -> bool {
    // SAFETY: as for `captured`.
    unsafe { LISTENING.get(local) }.is_some_and(|sockets| *sockets != 0)
}

/// A socket has begun to listen there.
#[inline(always)]
pub(crate) fn begin_listening(local: &Endpoint) {
    if let Some(sockets) = LISTENING.get_ptr_mut(local) {
        return add(sockets, 1);
    }
    // Of two at once one makes the entry.
    LISTENING.insert(local, 0, u64::from(BPF_NOEXIST)).ok();
    if let Some(sockets) = LISTENING.get_ptr_mut(local) {
        add(sockets, 1);
    } else if let Some(when) = INBOUND.get_ptr_mut(local) {
        // No room: intercepted whether it listens or not, as where the hooks were not there when it began.
        // SAFETY: a live map value, read and written as a whole; the agent writes the same bit.
        unsafe { when.write(when.read() | policy::Inbound::ALWAYS) };
    }
}

/// A socket that listened there does not any more.
#[inline(always)]
pub(crate) fn end_listening(local: &Endpoint) {
    // Not below nothing: the agent may have removed the entry meanwhile, and it is another pod's now.
    if is_listening(local)
        && let Some(sockets) = LISTENING.get_ptr_mut(local)
    {
        add(sockets, -1);
    }
}

/// Adds to a count that other CPUs change at the same time. Rust has no such type for a target without compare-and-swap.
#[inline(always)]
fn add(count: *mut u64, by: i64) {
    // SAFETY: a live map value, aligned like every value.
    unsafe { asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) count, in(reg) by, options(nostack)) };
}

/// Whether an address is that of a captured workload.
#[inline(always)]
pub(crate) fn peer(remote: &Address) -> bool {
    PEERS.get_ptr(remote).is_some()
}

/// The inbound listeners by workload address.
#[inline(always)]
pub(crate) fn listeners() -> &'static SockHash<Address> {
    &LISTENERS
}

/// Whether the agent's outbound listener of a network namespace is open.
#[inline(always)]
pub(crate) fn has_outbound_listener(netns: u64) -> bool {
    ctx::has_listener(&OUTBOUND, netns)
}

/// Whether connections are refused that no agent is there for.
#[inline(always)]
pub(crate) fn fail_closed() -> bool {
    control().is_some_and(|control| control.fail_closed != 0)
}

/// The real client behind the agent's connection to an application.
#[inline(always)]
pub(crate) fn client(key: &ClientKey) -> Option<&'static Client> {
    // SAFETY: as for `captured`.
    unsafe { CLIENTS.get(key) }
}

/// The agent's socket that stands for a DNS server.
#[inline(always)]
pub(crate) fn dns_agent(key: &DnsKey) -> Option<&'static Endpoint> {
    // SAFETY: as for `captured`.
    unsafe { DNS_AGENTS.get(key) }
}

/// The DNS server that the agent's socket stands for.
#[inline(always)]
pub(crate) fn dns_server(key: &DnsKey) -> Option<&'static Endpoint> {
    // SAFETY: as for `captured`.
    unsafe { DNS_SERVERS.get(key) }
}

/// The facts of an intercepted flow.
#[inline(always)]
pub(crate) fn facts(key: &FactsKey) -> Option<*mut Facts> {
    FACTS.get_ptr_mut(key)
}

/// Begins the facts of an intercepted flow.
#[inline(always)]
pub(crate) fn begin_facts(key: &FactsKey, facts: &Facts) {
    // A full map gives up its oldest entry; any other failure only leaves the record without kernel facts.
    FACTS.insert(key, facts, 0).ok();
}

/// Notes in which network namespace a new socket is.
#[inline(always)]
pub(crate) fn set_namespace(socket: u64, netns: u64) {
    // A full map gives up its oldest entry; whoever asks for one that is not there says so.
    NAMESPACES.insert(socket, netns, 0).ok();
}

/// The socket that what arrives at the socket with this cookie goes to.
#[inline(always)]
pub(crate) fn splice_targets() -> &'static SockHash<u64> {
    &SPLICE_TARGETS
}

/// The spliced direction that the socket with this cookie receives.
#[inline(always)]
pub(crate) fn splice_flow(cookie: u64) -> Option<*mut SpliceFlow> {
    SPLICE_FLOWS.get_ptr_mut(cookie)
}

/// Where `struct tcp_sock` keeps `write_seq`.
#[inline(always)]
pub(crate) fn write_seq_at() -> usize {
    WRITE_SEQ.load() as usize
}

/// Where `struct tcp_sock` keeps `copied_seq`.
#[inline(always)]
pub(crate) fn copied_seq_at() -> usize {
    COPIED_SEQ.load() as usize
}

/// Where `struct sk_buff` keeps TCP's sequence number.
#[inline(always)]
pub(crate) fn skb_seq_at() -> usize {
    SKB_SEQ.load() as usize
}

/// The request that the agent has on one of its connections to an application.
#[inline(always)]
pub(crate) fn request(connection: u64) -> Option<&'static Request> {
    // SAFETY: as for `captured`.
    unsafe { REQUESTS.get(connection) }
}

/// What is known of an application's socket.
#[inline(always)]
pub(crate) fn inbound_socket(cookie: u64) -> Option<*mut Inbound> {
    INBOUND_SOCKETS.get_ptr_mut(cookie)
}

/// Begins to follow an application's socket.
#[inline(always)]
pub(crate) fn begin_inbound_socket(cookie: u64, inbound: &Inbound) {
    // A full map gives up its oldest entry; after any other failure nothing is known of the socket.
    INBOUND_SOCKETS.insert(cookie, inbound, 0).ok();
}

/// Forgets an application's socket.
#[inline(always)]
pub(crate) fn forget_inbound_socket(cookie: u64) {
    // One that is not there was never followed, or gave way.
    INBOUND_SOCKETS.remove(cookie).ok();
}

/// What a thread has read.
#[inline(always)]
pub(crate) fn reading(thread: &Thread) -> Option<*mut Reading> {
    READINGS.get_ptr_mut(thread)
}

/// What a thread has read, which may be nothing yet.
#[inline(always)]
pub(crate) fn reading_or_new(thread: &Thread) -> Option<*mut Reading> {
    if let Some(reading) = READINGS.get_ptr_mut(thread) {
        return Some(reading);
    }
    READINGS.insert(thread, Reading::default(), 0).ok()?;
    READINGS.get_ptr_mut(thread)
}

/// Whether a process was seen not to keep a request on one thread.
#[inline(always)]
pub(crate) fn is_mistrusted(thread: &Thread) -> bool {
    MISTRUSTED.get_ptr(thread.tgid).is_some()
}

/// Notes that a process does not keep a request on one thread.
#[inline(always)]
pub(crate) fn mistrust(thread: &Thread) {
    // After a failure the next evidence comes soon.
    MISTRUSTED.insert(thread.tgid, 1, 0).ok();
}

/// What is known of the calls on an application's connection to the agent.
#[inline(always)]
pub(crate) fn call(key: &FactsKey) -> Option<*mut Call> {
    CALLS.get_ptr_mut(key)
}

/// Begins to follow an application's connection to the agent.
#[inline(always)]
pub(crate) fn begin_call(key: &FactsKey, call: &Call) {
    // As for `begin_inbound_socket`.
    CALLS.insert(key, call, 0).ok();
}

/// Where `struct sock` keeps its cookie.
#[inline(always)]
pub(crate) fn sock_cookie_at() -> usize {
    SOCK_COOKIE.load() as usize
}

/// Where `struct task_struct` keeps `start_time`, `pid` and `tgid`.
#[inline(always)]
pub(crate) fn task_at() -> [usize; 3] {
    [TASK_START.load() as usize, TASK_PID.load() as usize, TASK_TGID.load() as usize]
}
