//! DNS of workloads in derived spaces: cgroup/sendmsg4 and 6 send unconnected queries to the agent's socket that stands for
//! the server, cgroup/recvmsg4 and 6 show its answers as the server's. connect4/6 ask [`decide`] for connected ones.
//!
//! The agent has a socket a workload and server on the pod's loopback; two maps say which. IPv6 servers have an IPv6 one, as
//! the kernel takes no IPv4 address from sendmsg6. Keeps no state of single queries.

use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};
use aya_log_ebpf::debug;
use interceptor_common::{
    DnsKey, Endpoint,
    counters::Counter,
    dns::{self, DnsView},
};

use crate::{
    ctx::{self, SockAddr},
    maps,
};

/// Tells the kernel to go on with the (perhaps changed) address. Nothing here ever refuses.
const PROCEED: i32 = 1;

struct View<'a> {
    ctx: &'a SockAddrContext,
    addr: SockAddr,
    destination: Endpoint,
}

impl DnsView for View<'_> {
    #[inline(always)]
    fn protocol(&self) -> u32 {
        self.addr.protocol()
    }
    #[inline(always)]
    fn destination(&self) -> Endpoint {
        self.destination
    }
    #[inline(always)]
    fn stand_in(&self, server: &Endpoint) -> Option<Endpoint> {
        maps::dns_agent(&DnsKey::new(ctx::netns(self.ctx), *server)).copied()
    }
    #[inline(always)]
    fn is_agent(&self) -> bool {
        maps::is_agent()
    }
    #[inline(always)]
    fn agent_alive(&self) -> bool {
        maps::agent_alive()
    }
    #[inline(always)]
    fn bound_to_device(&self) -> bool {
        self.addr.socket().is_some_and(|sk| sk.bound_device() != 0)
    }
}

/// Where a connect() or sendmsg() to a DNS server goes: elsewhere, or where it was meant to. `None`: not ours to decide.
#[inline(always)]
pub(crate) fn decide(ctx: &SockAddrContext, addr: SockAddr, destination: Endpoint) -> Option<Option<Endpoint>> {
    let (counter, to) = match dns::redirect(&View { ctx, addr, destination })? {
        Ok(stand_in) => (Counter::DnsRedirected, Some(stand_in)),
        Err(reason) => (reason, None),
    };
    maps::count(counter);
    if maps::debug() {
        debug!(ctx, "dns: counter {}", counter as u32);
    }
    Some(to)
}

/// cgroup/sendmsg4; also sees what an IPv6 socket sends to `::ffff:a.b.c.d`.
#[cgroup_sock_addr(sendmsg4)]
pub(crate) fn on_sendmsg4(ctx: SockAddrContext) -> i32 {
    let addr = SockAddr::new(&ctx);
    if let Some(Some(to)) = decide(&ctx, addr, addr.v4()) {
        addr.set_v4(&to);
    }
    PROCEED
}

/// cgroup/sendmsg6.
#[cgroup_sock_addr(sendmsg6)]
pub(crate) fn on_sendmsg6(ctx: SockAddrContext) -> i32 {
    let addr = SockAddr::new(&ctx);
    if let Some(Some(to)) = decide(&ctx, addr, addr.v6()) {
        addr.set_v6(&to);
    }
    PROCEED
}

/// cgroup/recvmsg4.
#[cgroup_sock_addr(recvmsg4)]
pub(crate) fn on_recvmsg4(ctx: SockAddrContext) -> i32 {
    let addr = SockAddr::new(&ctx);
    if let Some(server) = server(&ctx, &addr.v4())
        && server.address.is_v4()
    {
        addr.set_v4(server);
    }
    PROCEED
}

/// cgroup/recvmsg6; also sees what comes to an IPv6 socket over IPv4, as `::ffff:a.b.c.d`.
#[cgroup_sock_addr(recvmsg6)]
pub(crate) fn on_recvmsg6(ctx: SockAddrContext) -> i32 {
    let addr = SockAddr::new(&ctx);
    if let Some(server) = server(&ctx, &addr.v6()) {
        addr.set_v6(server);
    }
    PROCEED
}

/// The server behind a datagram's source, if that is the agent's.
#[inline(always)]
fn server(ctx: &SockAddrContext, source: &Endpoint) -> Option<&'static Endpoint> {
    if !source.address.is_loopback() {
        return None;
    }
    maps::dns_server(&DnsKey::new(ctx::netns(ctx), *source))
}
