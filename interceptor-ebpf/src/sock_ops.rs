//! sock_ops: what the kernel knows of an application's socket in an intercepted flow, for the flow record, and on which
//! ports applications listen, for sk_lookup.
//!
//! Runs for every TCP socket of the captured cgroup when it is established, and goes on only for those whose far end is
//! the agent. The agent reads the facts when it ends the flow. Optional: without it records lack their kernel part, and
//! ports are intercepted whether their application listens or not.

use aya_ebpf::{
    bindings::{
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_STATE_CB,
        BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_LISTEN_CB,
    },
    helpers::bpf_ktime_get_ns,
    macros::sock_ops,
    programs::SockOpsContext,
};
use interceptor_common::{ClientKey, Endpoint, Facts, FactsKey, NetPort, policy};

use crate::{
    ctx::{self, Ops},
    maps,
};

/// `TCP_CLOSE` of the kernel's states.
const TCP_CLOSE: u32 = 7;
/// `TCP_LISTEN` of the kernel's states.
const TCP_LISTEN: u32 = 10;

/// What lets the programs of others on the same cgroup have their say; 0 would override it.
pub(crate) const PROCEED: u32 = 1;

/// sock_ops.
#[sock_ops]
pub(crate) fn on_sock_ops(ctx: SockOpsContext) -> u32 {
    let ops = Ops(&ctx);
    match ops.op() {
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB | BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => established(&ctx, ops),
        BPF_SOCK_OPS_TCP_LISTEN_CB => {
            for_each_listening(&ctx, ops, maps::begin_listening);
            // So that its end is told.
            ops.also_call_back(BPF_SOCK_OPS_STATE_CB_FLAG);
        }
        BPF_SOCK_OPS_STATE_CB if ops.first_argument() == TCP_LISTEN => {
            for_each_listening(&ctx, ops, maps::end_listening);
        }
        BPF_SOCK_OPS_STATE_CB => changed(&ctx, ops),
        _ => {}
    }
    PROCEED
}

/// How the agent names the flow of the application's socket.
#[inline(always)]
pub(crate) fn key(ctx: &SockOpsContext, ops: Ops<'_>) -> FactsKey {
    FactsKey { netns: ctx::netns(ctx), agent: ops.remote(), port: NetPort::from_host(ops.local_port() as u16), pad: 0 }
}

/// The addresses of the workload, with its port, on which a listening socket is reached.
#[inline(always)]
fn for_each_listening(ctx: &SockOpsContext, ops: Ops<'_>, then: impl Fn(&Endpoint)) {
    let Some(workload) = maps::workload(ctx::netns(ctx)) else { return };
    let (bound, port) = (ops.bound(), NetPort::from_host(ops.local_port() as u16));
    for address in [workload.v4, workload.v6] {
        if !address.is_unspecified() && bound.takes(&address) {
            then(&Endpoint::new(address, port));
        }
    }
}

#[inline(always)]
fn established(ctx: &SockOpsContext, ops: Ops<'_>) {
    let key = key(ctx, ops);
    let Some(control) = maps::control() else { return };
    let outbound = policy::redirected_index(&key.agent, control.outbound_port).is_some();
    if !outbound && maps::client(&ClientKey::new(key.netns, key.agent)).is_none() {
        // Inherited from the socket that listens: nothing more is to be told of this one.
        let flags = ops.bpf_sock_ops_cb_flags();
        if flags & BPF_SOCK_OPS_STATE_CB_FLAG != 0 {
            ctx.set_cb_flags((flags & !BPF_SOCK_OPS_STATE_CB_FLAG).cast_signed()).ok();
        }
        return;
    }
    // SAFETY: the helper only reads a clock.
    let facts = Facts { established_ns: unsafe { bpf_ktime_get_ns() }, ..Facts::default() };
    maps::begin_facts(&key, &facts);
    // Where that fails no change of state is told and the facts stay as they are.
    ops.also_call_back(BPF_SOCK_OPS_STATE_CB_FLAG);
}

#[inline(always)]
fn changed(ctx: &SockOpsContext, ops: Ops<'_>) {
    let key = key(ctx, ops);
    let Some(facts) = maps::facts(&key) else { return };
    // SAFETY: the pointer is a live map value; only this socket's callbacks write it, under the socket's lock.
    let facts = unsafe { &mut *facts };
    facts.bytes_acked = ops.bytes_acked();
    facts.bytes_received = ops.bytes_received();
    facts.srtt_us = ops.srtt_us() >> 3;
    facts.retransmits = ops.total_retrans();
    if ops.new_state() == TCP_CLOSE {
        // SAFETY: the helper only reads a clock.
        facts.closed_ns = unsafe { bpf_ktime_get_ns() };
    }
}
