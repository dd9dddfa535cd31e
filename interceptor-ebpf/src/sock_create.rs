//! sock_create: in which network namespace a socket of the agent's was made, for kernels before 5.14, which have no
//! `SO_NETNS_COOKIE` to tell it. Attached to the agent's own cgroup, and only while the agent asks.

use aya_ebpf::{macros::cgroup_sock, programs::SockContext};

use crate::{ctx, maps};

/// sock_create; never refuses a socket.
#[cgroup_sock(sock_create)]
pub(crate) fn on_sock_create(ctx: SockContext) -> i32 {
    maps::set_namespace(ctx::cookie(&ctx), ctx::netns(&ctx));
    1
}
