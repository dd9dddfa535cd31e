//! The hooks' decision about DNS, pure: which query goes to the agent instead of to the server it was meant for.
//!
//! `interceptor-ebpf` calls this from connect4/6 (TCP and connected UDP) and sendmsg4/6 (unconnected UDP); unit tests call it
//! with plain values. Only workloads of derived spaces have entries in the map that [`DnsView::stand_in`] asks, one for each
//! of their servers, so whatever is not there passes. As in [`policy`](crate::policy) what is in doubt passes, counted.

use crate::addr::Endpoint;
use crate::counters::Counter;
use crate::policy::TCP;

/// `IPPROTO_UDP`.
pub const UDP: u32 = 17;
/// The port of DNS servers.
pub const PORT: u16 = 53;

/// What the hooks can ask about the world around one connect() or sendmsg().
pub trait DnsView {
    /// The IP protocol of the socket.
    fn protocol(&self) -> u32;
    /// The address that the application asked for.
    fn destination(&self) -> Endpoint;
    /// The agent's socket that stands for that server in the application's network namespace.
    fn stand_in(&self, server: &Endpoint) -> Option<Endpoint>;
    /// Whether the caller is the agent itself.
    fn is_agent(&self) -> bool;
    /// Whether the agent is [`alive`](crate::policy::alive).
    fn agent_alive(&self) -> bool;
    /// Whether the socket is bound to a device.
    fn bound_to_device(&self) -> bool;
}

/// Decides one connect() or sendmsg(): where it goes instead. `None`: it is no DNS of a workload in a derived space.
///
/// The port is looked at first: everything else costs one comparison.
///
/// # Errors
/// The counter of the reason why a query that could have been redirected passes.
#[inline(always)]
pub fn redirect(view: &impl DnsView) -> Option<Result<Endpoint, Counter>> {
    let server = view.destination();
    let protocol = view.protocol();
    if server.port.to_host() != PORT || (protocol != UDP && protocol != TCP) {
        return None;
    }
    let stand_in = view.stand_in(&server)?;
    Some(if view.is_agent() {
        Err(Counter::DnsSelf)
    } else if !view.agent_alive() {
        Err(Counter::DnsAgentStale)
    } else if view.bound_to_device() {
        Err(Counter::DnsBoundDevice)
    } else {
        Ok(stand_in)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{Address, NetPort};

    const STAND_IN: Endpoint = Endpoint::new(Address::v4([127, 0, 0, 1]), NetPort::from_host(40_000));

    /// A query that is redirected; each test spoils one thing.
    struct Query {
        protocol: u32,
        port: u16,
        stand_in: Option<Endpoint>,
        agent: bool,
        alive: bool,
        device: bool,
    }

    const GOOD: Query =
        Query { protocol: UDP, port: PORT, stand_in: Some(STAND_IN), agent: false, alive: true, device: false };

    impl DnsView for Query {
        fn protocol(&self) -> u32 {
            self.protocol
        }
        fn destination(&self) -> Endpoint {
            Endpoint::new(Address::v4([10, 96, 0, 10]), NetPort::from_host(self.port))
        }
        fn stand_in(&self, server: &Endpoint) -> Option<Endpoint> {
            assert_eq!(*server, self.destination());
            self.stand_in
        }
        fn is_agent(&self) -> bool {
            self.agent
        }
        fn agent_alive(&self) -> bool {
            self.alive
        }
        fn bound_to_device(&self) -> bool {
            self.device
        }
    }

    #[test]
    fn a_query_to_a_server_of_the_workload_is_redirected() {
        assert_eq!(redirect(&GOOD), Some(Ok(STAND_IN)));
        assert_eq!(redirect(&Query { protocol: TCP, ..GOOD }), Some(Ok(STAND_IN)));
    }

    #[test]
    fn what_is_no_dns_of_a_derived_space_is_none_of_this() {
        for query in [
            Query { port: 54, ..GOOD },
            Query { port: 0x3500, ..GOOD },
            Query { protocol: 1, ..GOOD },
            Query { protocol: 262, ..GOOD },
            Query { stand_in: None, alive: false, ..GOOD },
        ] {
            assert_eq!(redirect(&query), None);
        }
    }

    #[test]
    fn a_query_in_doubt_passes_and_is_counted_by_reason() {
        for (query, reason) in [
            (Query { agent: true, ..GOOD }, Counter::DnsSelf),
            (Query { alive: false, ..GOOD }, Counter::DnsAgentStale),
            (Query { device: true, ..GOOD }, Counter::DnsBoundDevice),
        ] {
            assert_eq!(redirect(&query), Some(Err(reason)));
        }
    }
}
