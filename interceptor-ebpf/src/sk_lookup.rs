//! sk_lookup: a new inbound connection to a captured port goes to the agent's listener in that network namespace.
//!
//! One loaded program is linked to every workload's namespace. It cannot ask which one it runs for, so the listeners sit
//! in one sockhash by the packet's destination address. Established connections never come here.

use aya_ebpf::{
    bindings::sk_action::{SK_DROP, SK_PASS},
    macros::sk_lookup,
    programs::SkLookupContext,
};
use aya_log_ebpf::debug;
use interceptor_common::{
    Address, Endpoint,
    counters::Counter,
    policy::{self, Inbound, LookupView},
};

use crate::{ctx::Lookup, maps};

/// `-ENOENT`: no listener under that address.
const NO_LISTENER: i32 = -2;

struct View {
    remote: Address,
    local: Endpoint,
}

impl LookupView for View {
    #[inline(always)]
    fn remote(&self) -> Address {
        self.remote
    }
    #[inline(always)]
    fn local(&self) -> Endpoint {
        self.local
    }
    #[inline(always)]
    fn captured(&self, local: &Endpoint) -> Option<Inbound> {
        maps::inbound(local)
    }
    #[inline(always)]
    fn is_listening(&self, local: &Endpoint) -> bool {
        maps::is_listening(local)
    }
    #[inline(always)]
    fn is_peer(&self, remote: &Address) -> bool {
        maps::peer(remote)
    }
    #[inline(always)]
    fn agent_alive(&self) -> bool {
        maps::agent_alive()
    }
}

/// sk_lookup. Where nothing was assigned, the kernel looks the socket up as ever; only where `capture.fail` is `closed` and
/// no agent answers it finds none.
#[sk_lookup]
pub(crate) fn on_sk_lookup(ctx: SkLookupContext) -> u32 {
    let lookup = Lookup::new(&ctx);
    if lookup.protocol() != policy::TCP {
        return SK_PASS;
    }
    let (remote, local) = lookup.addresses();
    let view = View { remote, local };
    let verdict = policy::lookup(&view).and_then(|()| {
        maps::listeners().redirect_sk_lookup(&ctx, view.local.address, 0).map_err(|errno| {
            if errno == NO_LISTENER { Counter::InboundNoListener } else { Counter::InboundAssignFailed }
        })
    });
    let reason = verdict.err().unwrap_or(Counter::InboundRedirected);
    let refused = if maps::fail_closed() { policy::refused(reason) } else { None };
    let counter = refused.unwrap_or(reason);
    maps::count(counter);
    if maps::debug() {
        debug!(&ctx, "inbound: counter {} port {}", counter as u32, view.local.port.to_host());
    }
    if refused.is_some() { SK_DROP } else { SK_PASS }
}
