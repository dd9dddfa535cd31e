//! What the hooks count. One list: the kernel indexes by it, `/metrics` and `status` name by it.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident = $index:literal, $direction:literal, $reason:literal;)*) => {
        /// A counter of the hooks.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter {
            $($(#[$doc])* $name = $index,)*
        }

        /// Every counter with the direction and the reason that `/metrics` shows, by index.
        pub const ALL: &[(Counter, &str, &str)] = &[$((Counter::$name, $direction, $reason),)*];
    };
}

counters! {
    /// connect() to a captured destination was redirected to the agent.
    OutboundRedirected = 0, "outbound", "redirected";
    /// connect() from a network namespace that is no workload of ours.
    OutboundNotWorkload = 1, "outbound", "not_workload";
    /// connect() to a destination in no space tree (rule R11).
    OutboundNotCaptured = 2, "outbound", "not_captured";
    /// The agent's heartbeat is too old: fail-open.
    OutboundAgentStale = 3, "outbound", "agent_stale";
    /// The socket is bound to a device, which loopback is not.
    OutboundBoundDevice = 4, "outbound", "bound_device";
    /// An IPv6 socket that is bound to an IPv6 source, which cannot reach an IPv4 loopback address.
    OutboundBoundSource = 5, "outbound", "bound_source";
    /// An IPV6_V6ONLY socket, likewise.
    OutboundV6Only = 6, "outbound", "v6_only";
    /// A protocol other than TCP over connect() (UDP, MPTCP).
    OutboundNotTcp = 7, "outbound", "not_tcp";
    /// A new inbound connection was steered to the agent.
    InboundRedirected = 8, "inbound", "redirected";
    /// Its port belongs to no service of a space tree.
    InboundNotCaptured = 9, "inbound", "not_captured";
    /// It comes from the pod itself or from loopback.
    InboundLocal = 10, "inbound", "local";
    /// It comes from a captured workload: its agent has routed it (rule R7).
    InboundPeer = 11, "inbound", "peer";
    /// The agent's heartbeat is too old: fail-open.
    InboundAgentStale = 12, "inbound", "agent_stale";
    /// No listener of the agent is there: fail-open.
    InboundNoListener = 13, "inbound", "no_listener";
    /// The kernel refused to hand the connection to the listener: fail-open.
    InboundAssignFailed = 14, "inbound", "assign_failed";
    /// connect() of the agent itself, which took itself to be outside the captured cgroup: a bug that the hook renders
    /// harmless.
    OutboundSelf = 15, "outbound", "self_capture";
    /// A pod of a root space called a service with a single copy: routing it could change nothing (`capture.services`).
    OutboundOnlyCopy = 16, "outbound", "only_copy";
    /// connect() of the agent itself, which as a pod sits below the captured cgroup.
    OutboundAgent = 17, "outbound", "agent";
    /// A DNS query (or TCP connection) of a workload in a derived space was redirected to the agent. A socket that is
    /// connected counts once.
    DnsRedirected = 18, "dns", "redirected";
    /// The agent's heartbeat is too old: fail-open.
    DnsAgentStale = 19, "dns", "agent_stale";
    /// The socket is bound to a device, which loopback is not.
    DnsBoundDevice = 20, "dns", "bound_device";
    /// A query of the agent itself, which must reach the server.
    DnsSelf = 21, "dns", "self_capture";
    /// The application listens on that port no more, or not yet: the kernel refuses the connection as it would without us.
    InboundNotListening = 22, "inbound", "not_listening";
    /// The agent's listener in that network namespace is gone: fail-open.
    OutboundNoListener = 23, "outbound", "no_listener";
    /// The agent hangs, or its listener is gone, and `capture.fail` is `closed`: connect() was refused.
    OutboundRefused = 24, "outbound", "refused";
    /// Likewise: an incoming connection found no listener.
    InboundRefused = 25, "inbound", "refused";
}

/// How many counters there are.
pub const COUNT: u32 = 26;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_dense_and_in_order() {
        assert_eq!(ALL.len(), COUNT as usize);
        for (index, (counter, _, _)) in ALL.iter().enumerate() {
            assert_eq!(*counter as usize, index);
        }
    }
}
