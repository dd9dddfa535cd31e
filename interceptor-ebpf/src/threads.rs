//! `propagate: thread`: in the threads of applications, which request was read and which call is begun. The raw tracepoint
//! tcp_rcv_space_adjust runs in the thread that has read; sock_ops in the one that begins to send, before anything is sent.
//!
//! Loaded and attached only while a workload asks for it. Reads of other sockets end at the first test: theirs have no
//! cookie, or none that is in the map. sock_ops asks for callbacks of the agent's connections only.

use aya_ebpf::{
    bindings::{
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_HDR_OPT_LEN_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB,
        BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG,
    },
    macros::{raw_tracepoint, sock_ops},
    programs::{RawTracePointContext, SockOpsContext},
};
use interceptor_common::{
    ClientKey, policy,
    threads::{self, Call, Inbound, Mark, Origin, Reading, Thread},
};

use crate::{
    ctx::{self, Ops, Traced},
    maps,
    sock_ops::{PROCEED, key},
};

/// `BPF_WRITE_HDR_TCP_CURRENT_MSS`: asked before there is a segment.
const NO_SEGMENT: u32 = 1;
/// `TCP_ESTABLISHED`, `TCP_CLOSE` and `TCP_CLOSE_WAIT` of the kernel's states.
const ESTABLISHED: u32 = 1;
const CLOSE: u32 = 7;
const CLOSE_WAIT: u32 = 8;

struct View;

impl threads::View for View {
    #[inline(always)]
    fn is_under_way(&self, mark: &Mark) -> bool {
        maps::request(mark.connection).is_some_and(|request| request.id == mark.request)
    }
    #[inline(always)]
    fn inbound(&self, cookie: u64) -> Option<&Inbound> {
        // SAFETY: a live map value, of words that are read each alone.
        maps::inbound_socket(cookie).map(|inbound| unsafe { &*inbound })
    }
}

/// The raw tracepoint tcp_rcv_space_adjust: the running thread has read from a TCP socket, whose lock it holds.
#[raw_tracepoint(tracepoint = "tcp_rcv_space_adjust")]
pub(crate) fn on_thread_reads(ctx: RawTracePointContext) -> i32 {
    noted_read(Traced::new(&ctx));
    0
}

#[inline(always)]
fn noted_read(socket: Traced) -> Option<()> {
    let cookie = socket.cookie(maps::sock_cookie_at())?;
    // SAFETY: a live map value; written under the socket's lock only.
    let inbound = unsafe { &mut *maps::inbound_socket(cookie)? };
    let request = maps::request(inbound.connection)?;
    let copied = socket.word(maps::copied_seq_at())?;
    let thread = ctx::thread(maps::task_at())?;
    // SAFETY: a live map value; written by its own thread only.
    let reading = unsafe { &mut *maps::reading_or_new(&thread)? };
    if threads::read(&View, (&thread, reading), (cookie, inbound), copied, request) {
        maps::mistrust(&thread);
    }
    Some(())
}

/// sock_ops.
#[sock_ops]
pub(crate) fn on_thread_sends(ctx: SockOpsContext) -> u32 {
    let ops = Ops(&ctx);
    match ops.op() {
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => accepted(&ctx, ops),
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => connected(&ctx, ops),
        BPF_SOCK_OPS_HDR_OPT_LEN_CB => begins_to_send(&ctx, ops),
        BPF_SOCK_OPS_STATE_CB => changed(ops),
        _ => {}
    }
    PROCEED
}

/// An application's socket that the agent has connected to.
#[inline(always)]
fn accepted(ctx: &SockOpsContext, ops: Ops<'_>) {
    let Some(client) = maps::client(&ClientKey::new(ctx::netns(ctx), ops.remote())) else { return };
    if client.connection == 0 {
        return;
    }
    let inbound = Inbound { connection: client.connection, base: ops.rcv_nxt(), ..Inbound::default() };
    maps::begin_inbound_socket(ops.cookie(), &inbound);
    ops.also_call_back(BPF_SOCK_OPS_STATE_CB_FLAG | BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG);
}

/// An application's socket that was redirected to the agent.
#[inline(always)]
fn connected(ctx: &SockOpsContext, ops: Ops<'_>) {
    let key = key(ctx, ops);
    let Some(control) = maps::control() else { return };
    if policy::redirected_index(&key.agent, control.outbound_port).is_none() {
        return;
    }
    if maps::workload(key.netns).is_some_and(|workload| workload.threads != 0) {
        maps::begin_call(&key, &Call { base: ops.snd_nxt(), ..Call::default() });
        ops.also_call_back(BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG);
    }
}

/// The kernel asks how long the options will be. It does so in sendmsg(), under the socket's lock and before it takes the
/// bytes; elsewhere only while something is on its way or waits to be sent, which is left out here.
#[inline(always)]
fn begins_to_send(ctx: &SockOpsContext, ops: Ops<'_>) {
    if ops.first_argument() != NO_SEGMENT || ops.packets_out() != 0 || ops.snd_una() != ops.snd_nxt() {
        return;
    }
    // close() asks, too, for its FIN.
    if !matches!(ops.state(), ESTABLISHED | CLOSE_WAIT) {
        return;
    }
    let key = key(ctx, ops);
    let Some(control) = maps::control() else { return };
    if policy::redirected_index(&key.agent, control.outbound_port).is_none() {
        answers(ops);
        return;
    }
    let Some(call) = maps::call(&key) else { return };
    // SAFETY: a live map value; written under the socket's lock only.
    let call = unsafe { &mut *call };
    // More of what it began to send before it received anything.
    if call.origin != Origin::Unseen as u32 && call.received == ops.rcv_nxt() {
        return;
    }
    call.at = ops.snd_nxt().wrapping_sub(call.base);
    call.received = ops.rcv_nxt();
    let thread = ctx::thread(maps::task_at());
    let mistrusted = thread.as_ref().is_some_and(maps::is_mistrusted);
    threads::call(&View, thread.as_ref().and_then(read_by), mistrusted, call);
}

#[inline(always)]
fn answers(ops: Ops<'_>) {
    let Some(inbound) = maps::inbound_socket(ops.cookie()) else { return };
    // SAFETY: a live map value; written under the socket's lock only.
    let inbound = unsafe { &mut *inbound };
    if inbound.answered != 0 || inbound.request == 0 {
        return;
    }
    let Some(thread) = ctx::thread(maps::task_at()) else { return };
    // SAFETY: a live map value; written by its own thread only.
    let own = maps::reading(&thread).map(|own| unsafe { &mut *own });
    let reader = inbound.reader;
    let reader = if reader == thread { None } else { read_by(&reader) };
    if threads::answer(&View, (&thread, own), reader, inbound) {
        maps::mistrust(&thread);
    }
}

#[inline(always)]
fn read_by(thread: &Thread) -> Option<&'static Reading> {
    // SAFETY: a live map value, of words that are read each alone.
    maps::reading(thread).map(|reading| unsafe { &*reading })
}

#[inline(always)]
fn changed(ops: Ops<'_>) {
    let cookie = ops.cookie();
    let Some(inbound) = maps::inbound_socket(cookie) else { return };
    match ops.new_state() {
        CLOSE => maps::forget_inbound_socket(cookie),
        ESTABLISHED | CLOSE_WAIT => {}
        // SAFETY: a live map value; written under the socket's lock only.
        _ => unsafe { (*inbound).left = 1 },
    }
}
