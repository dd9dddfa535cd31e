//! cgroup/connect4 and connect6: a TCP connect() to a captured destination goes to the agent's listener in the same
//! network namespace; one to a DNS server, TCP or UDP, is [`dns`]'s affair. Attached to the cgroup above all workloads. Keeps no state: the loopback address carries the index.

use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};
use aya_log_ebpf::debug;
use interceptor_common::{
    Endpoint,
    counters::Counter,
    policy::{self, Captured, ConnectView},
};

use crate::{
    ctx::{self, SockAddr},
    dns, maps,
};

/// Tells the kernel to go on with the (perhaps changed) address.
const PROCEED: i32 = 1;
/// Fails the connect() with EPERM. Only where `capture.fail` is `closed` and no agent answers.
const REFUSE: i32 = 0;

/// What becomes of a connect().
enum Verdict {
    Redirect(Endpoint),
    Pass,
    Refuse,
}

struct View<'a> {
    ctx: &'a SockAddrContext,
    addr: SockAddr,
    destination: Endpoint,
    native_v6: bool,
}

impl ConnectView for View<'_> {
    #[inline(always)]
    fn protocol(&self) -> u32 {
        self.addr.protocol()
    }
    #[inline(always)]
    fn destination(&self) -> Endpoint {
        self.destination
    }
    #[inline(always)]
    fn captured(&self, destination: &Endpoint) -> Option<Captured> {
        maps::captured(destination)
    }
    #[inline(always)]
    fn is_workload(&self) -> bool {
        maps::workload(ctx::netns(self.ctx)).is_some()
    }
    #[inline(always)]
    fn is_in_root(&self) -> bool {
        maps::workload(ctx::netns(self.ctx)).is_some_and(|workload| workload.in_root != 0)
    }
    #[inline(always)]
    fn is_agent(&self) -> bool {
        maps::is_agent()
    }
    #[inline(always)]
    fn agent_inside(&self) -> bool {
        maps::control().is_some_and(|control| control.agent_inside != 0)
    }
    #[inline(always)]
    fn agent_alive(&self) -> bool {
        maps::agent_alive()
    }
    #[inline(always)]
    fn has_listener(&self) -> bool {
        maps::has_outbound_listener(ctx::netns(self.ctx))
    }
    #[inline(always)]
    fn bound_to_device(&self) -> bool {
        self.addr.socket().is_some_and(|sk| sk.bound_device() != 0)
    }
    #[inline(always)]
    fn bound_to_v6_source(&self) -> bool {
        self.native_v6
            && self.addr.socket().is_some_and(|sk| {
                let source = sk.source_v6();
                !source.is_unspecified() && !source.is_v4()
            })
    }
    #[inline(always)]
    fn v6_only(&self) -> bool {
        self.native_v6 && self.addr.socket().is_some_and(|sk| sk.v6_only())
    }
}

/// cgroup/connect4.
#[cgroup_sock_addr(connect4)]
pub(crate) fn on_connect4(ctx: SockAddrContext) -> i32 {
    let addr = SockAddr::new(&ctx);
    let view = View { ctx: &ctx, addr, destination: addr.v4(), native_v6: false };
    match decide(&view) {
        Verdict::Redirect(to) => addr.set_v4(&to),
        Verdict::Pass => {}
        Verdict::Refuse => return REFUSE,
    }
    PROCEED
}

/// cgroup/connect6; also sees `::ffff:a.b.c.d`, which dual-stack applications use for IPv4.
#[cgroup_sock_addr(connect6)]
pub(crate) fn on_connect6(ctx: SockAddrContext) -> i32 {
    let addr = SockAddr::new(&ctx);
    let destination = addr.v6();
    let view = View { ctx: &ctx, addr, destination, native_v6: !destination.address.is_v4() };
    match decide(&view) {
        Verdict::Redirect(to) => addr.set_v6(&to),
        Verdict::Pass => {}
        Verdict::Refuse => return REFUSE,
    }
    PROCEED
}

#[inline(always)]
fn decide(view: &View<'_>) -> Verdict {
    if let Some(decided) = dns::decide(view.ctx, view.addr, view.destination) {
        return decided.map_or(Verdict::Pass, Verdict::Redirect);
    }
    let Some(control) = maps::control() else { return Verdict::Pass };
    match policy::connect(view) {
        Ok(index) => {
            maps::count(Counter::OutboundRedirected);
            if maps::debug() {
                debug!(view.ctx, "connect redirected: index {} port {}", index, view.destination.port.to_host());
            }
            Verdict::Redirect(Endpoint::new(policy::loopback(index), control.outbound_port))
        }
        Err(reason) => {
            let refused = if control.fail_closed != 0 { policy::refused(reason) } else { None };
            maps::count(refused.unwrap_or(reason));
            if maps::debug() {
                debug!(view.ctx, "connect passed: reason {} port {}", reason as u32, view.destination.port.to_host());
            }
            if refused.is_some() { Verdict::Refuse } else { Verdict::Pass }
        }
    }
}
