//! cgroup/getpeername and getsockname: the application sees the addresses that it would see without us.
//!
//! Outbound, the peer `127.X.Y.Z:15001` is shown as the original destination and the loopback source as the pod's own
//! address; the agent's DNS socket is shown as the server it stands for. Inbound, the agent's connection is shown as the real client (also by accept()). Reads maps, writes none.

use aya_ebpf::{macros::cgroup_sock_addr, programs::SockAddrContext};
use interceptor_common::{Address, ClientKey, DnsKey, Endpoint, policy};

use crate::{
    ctx::{self, SockAddr},
    maps,
};

/// Tells the kernel to return the (perhaps changed) address; these hooks may return nothing else.
const PROCEED: i32 = 1;

/// cgroup/getpeername4.
#[cgroup_sock_addr(getpeername4)]
pub(crate) fn on_getpeername4(ctx: SockAddrContext) -> i32 {
    let addr = SockAddr::new(&ctx);
    if let Some(peer) = real_peer(&ctx, &addr.v4())
        && peer.address.is_v4()
    {
        addr.set_v4(peer);
    }
    PROCEED
}

/// cgroup/getpeername6.
#[cgroup_sock_addr(getpeername6)]
pub(crate) fn on_getpeername6(ctx: SockAddrContext) -> i32 {
    let addr = SockAddr::new(&ctx);
    if let Some(peer) = real_peer(&ctx, &addr.v6()) {
        addr.set_v6(peer);
    }
    PROCEED
}

#[inline(always)]
fn real_peer(ctx: &SockAddrContext, seen: &Endpoint) -> Option<&'static Endpoint> {
    if let Some(index) = policy::redirected_index(seen, maps::control()?.outbound_port) {
        return maps::original(index);
    }
    let netns = ctx::netns(ctx);
    if seen.address.is_loopback()
        && let Some(server) = maps::dns_server(&DnsKey::new(netns, *seen))
    {
        return Some(server);
    }
    maps::client(&ClientKey::new(netns, *seen)).map(|client| &client.client)
}

/// cgroup/getsockname4.
#[cgroup_sock_addr(getsockname4)]
pub(crate) fn on_getsockname4(ctx: SockAddrContext) -> i32 {
    let addr = SockAddr::new(&ctx);
    if let Some(own) = real_source(&ctx, addr)
        && own.is_v4()
    {
        addr.set_v4(&Endpoint::new(own, addr.v4().port));
    }
    PROCEED
}

/// cgroup/getsockname6.
#[cgroup_sock_addr(getsockname6)]
pub(crate) fn on_getsockname6(ctx: SockAddrContext) -> i32 {
    let addr = SockAddr::new(&ctx);
    if let Some(own) = real_source(&ctx, addr) {
        addr.set_v6(&Endpoint::new(own, addr.v6().port));
    }
    PROCEED
}

/// The pod's own address, in the family of the original destination, for a socket that was redirected.
#[inline(always)]
fn real_source(ctx: &SockAddrContext, addr: SockAddr) -> Option<Address> {
    let original = original(ctx, addr)?;
    let workload = maps::workload(ctx::netns(ctx))?;
    let own = if original.address.is_v4() { workload.v4 } else { workload.v6 };
    if own.is_unspecified() { None } else { Some(own) }
}

/// Where a socket that was redirected wanted to go.
#[inline(always)]
fn original(ctx: &SockAddrContext, addr: SockAddr) -> Option<&'static Endpoint> {
    let socket = addr.socket()?;
    let far = socket.far_v4();
    if let Some(index) = policy::redirected_index(&far, maps::control()?.outbound_port) {
        return maps::original(index);
    }
    let netns = ctx::netns(ctx);
    // An IPv6 socket that is connected to IPv6 holds something else where its IPv4 far end would stand.
    maps::dns_server(&DnsKey::new(netns, far)).or_else(|| maps::dns_server(&DnsKey::new(netns, socket.far_v6())))
}
