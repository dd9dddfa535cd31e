//! sk_skb/stream_verdict: what a spliced socket of the agent's receives goes to its peer socket inside the kernel.
//!
//! Runs for every segment under the receiving socket's lock. Only sockets that the agent enrolled are ever in the map, none
//! of an application. Whatever is in doubt goes to the agent (SK_PASS), never away. Optional: without it splice(2) moves
//! the bytes.

use aya_ebpf::{bindings::sk_action::SK_PASS, macros::stream_verdict, programs::SkBuffContext};
use interceptor_common::{SpliceFlow, SpliceState, splice::Order};

use crate::{
    ctx::{self, Segment},
    maps,
};

/// sk_skb/stream_verdict.
#[stream_verdict]
pub(crate) fn on_splice(ctx: SkBuffContext) -> u32 {
    let segment = Segment(&ctx);
    let len = segment.len();
    // A FIN alone: nothing to hand on, and the kernel takes the sending of nothing for a failure.
    if len == 0 {
        return SK_PASS;
    }
    let cookie = segment.cookie();
    let Some(flow) = maps::splice_flow(cookie) else { return SK_PASS };
    // SAFETY: the pointer is a live map value; only this program writes it, under the receiving socket's lock.
    let flow = unsafe { &mut *flow };
    if !in_order(segment, flow, cookie, len) {
        flow.break_off();
    }
    if flow.state() != SpliceState::Running || !keeps_up(flow, cookie) {
        return SK_PASS;
    }
    let len = segment.len();
    if maps::splice_targets().redirect_skb(&ctx, cookie, 0) == i64::from(SK_PASS) {
        flow.add(len);
    } else {
        // The other socket is gone; the kernel's own word for that would drop the segment.
        flow.leave();
    }
    SK_PASS
}

/// Begins with the first segment, and takes out of each what came before. False: the order cannot be vouched for.
#[inline(always)]
fn in_order(segment: Segment<'_>, flow: &mut SpliceFlow, cookie: u64, len: u32) -> bool {
    if flow.state() == SpliceState::New {
        let Some(copied) = segment.source_word(maps::copied_seq_at()) else { return false };
        let write = ctx::socket_word(maps::splice_targets(), cookie, maps::write_seq_at());
        flow.begin(copied, write.unwrap_or_default());
        if write.is_none() {
            flow.leave();
        }
    }
    let Some(seq) = segment.seq(maps::skb_seq_at()) else { return false };
    match flow.order(seq, len) {
        Order::After(0) => true,
        Order::After(old) => segment.trim(old),
        Order::Lost => false,
    }
}

/// Whether the receiver can be given more. If not, or if it is gone, the flow is left.
#[inline(always)]
fn keeps_up(flow: &mut SpliceFlow, cookie: u64) -> bool {
    if !flow.wants_look() {
        return true;
    }
    let write = ctx::socket_word(maps::splice_targets(), cookie, maps::write_seq_at());
    let keeps_up = write.is_some_and(|write| flow.look(write));
    if !keeps_up {
        flow.leave();
    }
    keeps_up
}
