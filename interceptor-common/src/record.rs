//! Map keys and values other than addresses. Fixed-width integers only, padding explicit: every bit pattern is valid.

use crate::addr::{Address, Endpoint, NetPort};

/// What the hooks know of a captured workload. Key: the cookie of its network namespace.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Its first IPv4 address; unspecified when it has none.
    pub v4: Address,
    /// Its first IPv6 address; unspecified when it has none.
    pub v6: Address,
    /// 1 where it lives in a root space, else 0.
    pub in_root: u32,
    /// 1 where calls of its threads are traced back to requests, else 0.
    pub threads: u32,
}

/// Names the agent's connection to an application: its source in the workload's network namespace.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientKey {
    /// Cookie of the network namespace (`SO_NETNS_COOKIE`).
    pub netns: u64,
    /// The agent's source address and port.
    pub source: Endpoint,
    /// Explicit padding.
    pub pad: u32,
}

impl ClientKey {
    /// A key with its padding zeroed.
    #[inline(always)]
    pub const fn new(netns: u64, source: Endpoint) -> Self {
        Self { netns, source, pad: 0 }
    }
}

/// Who is behind the agent's connection to an application.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The real client.
    pub client: Endpoint,
    /// Explicit padding.
    pub pad: u32,
    /// The agent's number of the connection where the application's threads are followed, else 0.
    pub connection: u64,
}

impl Client {
    /// A client with its padding zeroed.
    #[inline(always)]
    pub const fn new(client: Endpoint, connection: u64) -> Self {
        Self { client, pad: 0, connection }
    }
}

/// A DNS server, or the agent's socket that stands for it, as one network namespace sees them.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DnsKey {
    /// Cookie of the network namespace (`SO_NETNS_COOKIE`).
    pub netns: u64,
    /// The server, or the agent's socket.
    pub at: Endpoint,
    /// Explicit padding.
    pub pad: u32,
}

impl DnsKey {
    /// A key with its padding zeroed.
    #[inline(always)]
    pub const fn new(netns: u64, at: Endpoint) -> Self {
        Self { netns, at, pad: 0 }
    }
}

/// What the agent tells the hooks.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// `CLOCK_MONOTONIC`, nanoseconds, when the agent last showed that it lives.
    pub heartbeat_ns: u64,
    /// How old the heartbeat may be before all traffic passes, nanoseconds.
    pub timeout_ns: u64,
    /// Identifiers of the agents' own cgroups, whose connections are never redirected: this agent's first, then those of
    /// its predecessors, which may still drain; 0 = none.
    pub agent_cgroups: [u64; 4],
    /// The outbound listener's port.
    pub outbound_port: NetPort,
    /// 1 where the agent sits below a cgroup that it captures, so that the hooks see its connections; otherwise 0.
    pub agent_inside: u16,
    /// 1 where new connections are refused while no agent answers (`capture.fail: closed`); otherwise they pass.
    pub fail_closed: u16,
    /// Explicit padding.
    pub pad: u16,
}

impl Control {
    /// Whether a cgroup is that of an agent.
    #[inline(always)]
    pub fn is_agent(&self, cgroup: u64) -> bool {
        let [one, two, three, four] = self.agent_cgroups;
        cgroup != 0 && (cgroup == one || cgroup == two || cgroup == three || cgroup == four)
    }

    /// The agents' cgroups when `own` takes its place before them; one that is there already moves to the front.
    pub fn agents_with(&self, own: u64) -> [u64; 4] {
        let mut all = [own, 0, 0, 0];
        let others = self.agent_cgroups.into_iter().filter(|other| *other != own && *other != 0);
        for (slot, other) in all.iter_mut().skip(1).zip(others) {
            *slot = other;
        }
        all
    }
}

/// Names the application's socket of an intercepted flow.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FactsKey {
    /// Cookie of the network namespace.
    pub netns: u64,
    /// The agent's side of that connection: `127.X.Y.Z:15001` (outbound) or the source it chose (inbound).
    pub agent: Endpoint,
    /// The application's port.
    pub port: NetPort,
    /// Explicit padding.
    pub pad: u16,
}

/// What the kernel knows of the application's socket when it closes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// When it was established, `CLOCK_MONOTONIC`, nanoseconds.
    pub established_ns: u64,
    /// When it closed; 0 while it is open.
    pub closed_ns: u64,
    /// Bytes that the application sent and the agent acknowledged.
    pub bytes_acked: u64,
    /// Bytes that the application's socket received.
    pub bytes_received: u64,
    /// Smoothed round-trip time, microseconds.
    pub srtt_us: u32,
    /// Retransmitted segments.
    pub retransmits: u32,
}

#[cfg(feature = "user")]
mod pod {
    //! SAFETY for every impl here: `repr(C)`, integers and byte arrays only, no implicit padding (asserted in `layout`),
    //! so any bit pattern is a valid value and every byte is initialised.

    use super::{Address, Client, ClientKey, Control, DnsKey, Endpoint, Facts, FactsKey, Workload};
    use crate::SpliceFlow;
    use crate::threads::{Call, Request};

    // SAFETY: see the module.
    unsafe impl aya::Pod for Address {}
    // SAFETY: see the module.
    unsafe impl aya::Pod for Endpoint {}
    // SAFETY: see the module.
    unsafe impl aya::Pod for Workload {}
    // SAFETY: see the module.
    unsafe impl aya::Pod for ClientKey {}
    // SAFETY: see the module.
    unsafe impl aya::Pod for Client {}
    // SAFETY: see the module.
    unsafe impl aya::Pod for DnsKey {}
    // SAFETY: see the module.
    unsafe impl aya::Pod for Control {}
    // SAFETY: see the module.
    unsafe impl aya::Pod for FactsKey {}
    // SAFETY: see the module.
    unsafe impl aya::Pod for Facts {}
    // SAFETY: see the module.
    unsafe impl aya::Pod for SpliceFlow {}
    // SAFETY: see the module.
    unsafe impl aya::Pod for Request {}
    // SAFETY: see the module.
    unsafe impl aya::Pod for Call {}
}
