//! The hooks' decisions, pure: which connect() and which incoming SYN goes to the agent.
//!
//! `interceptor-ebpf` calls these with views over its maps and context; unit tests call them with plain values. No map,
//! context or helper may appear here. Whatever is in doubt passes (fail-open), with the counter that says why.

use crate::addr::{Address, Endpoint, NetPort};
use crate::counters::Counter;
use crate::record::Control;

/// The lowest destination index. 127.0.0.0/24 stays free: it holds 127.0.0.1 and what resolvers and the like use.
pub const FIRST_INDEX: u32 = 0x00_0100;
/// The highest destination index; above it lies 127.255.255.255, which is a broadcast address.
pub const LAST_INDEX: u32 = 0xff_feff;

/// `IPPROTO_TCP`.
pub const TCP: u32 = 6;

/// The loopback address that carries a destination's index: `127.X.Y.Z`.
#[inline(always)]
pub const fn loopback(index: u32) -> Address {
    let [_, x, y, z] = index.to_be_bytes();
    Address::v4([127, x, y, z])
}

/// The index that a loopback address carries, if it carries one.
#[inline(always)]
pub const fn index_of(address: Address) -> Option<u32> {
    if !address.is_v4() {
        return None;
    }
    let [a, x, y, z] = address.v4_octets();
    let index = u32::from_be_bytes([0, x, y, z]);
    if a == 127 && index >= FIRST_INDEX && index <= LAST_INDEX { Some(index) } else { None }
}

/// The index of a redirected connection's far end, which is the agent's outbound listener.
#[inline(always)]
pub fn redirected_index(far: &Endpoint, outbound_port: NetPort) -> Option<u32> {
    if far.port != outbound_port {
        return None;
    }
    index_of(far.address)
}

/// Whether the agent showed itself recently enough to be given traffic.
#[inline(always)]
pub fn alive(control: &Control, now_ns: u64) -> bool {
    control.heartbeat_ns != 0 && now_ns.saturating_sub(control.heartbeat_ns) <= control.timeout_ns
}

/// What is counted where connections that an agent should have had are refused instead (`capture.fail: closed`): only for
/// want of an agent, never for what the agent cannot take over in any case.
#[inline(always)]
pub const fn refused(reason: Counter) -> Option<Counter> {
    match reason {
        Counter::OutboundAgentStale | Counter::OutboundNoListener => Some(Counter::OutboundRefused),
        Counter::InboundAgentStale | Counter::InboundNoListener | Counter::InboundAssignFailed => {
            Some(Counter::InboundRefused)
        }
        _ => None,
    }
}

/// What the capture map says of a destination, packed into the map's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Captured {
    /// The destination's index.
    pub index: u32,
    /// Whether calls of pods in root spaces pass: they are no reason to look at a service with a single copy.
    pub passes_root: bool,
}

/// Above every index.
const PASSES_ROOT: u32 = 1 << 31;

impl Captured {
    /// The map's word.
    pub const fn to_word(self) -> u32 {
        if self.passes_root { self.index | PASSES_ROOT } else { self.index }
    }

    /// What the map's word says.
    #[inline(always)]
    pub const fn from_word(word: u32) -> Self {
        Self { index: word & !PASSES_ROOT, passes_root: word & PASSES_ROOT != 0 }
    }
}

/// What the connect hooks can ask about the world around one connect().
pub trait ConnectView {
    /// The IP protocol of the socket.
    fn protocol(&self) -> u32;
    /// The address that the application asked for.
    fn destination(&self) -> Endpoint;
    /// What the capture map says of the destination.
    fn captured(&self, destination: &Endpoint) -> Option<Captured>;
    /// Whether the socket's network namespace is that of a workload.
    fn is_workload(&self) -> bool;
    /// Whether that workload lives in a root space. Asked only where the destination makes a difference of it.
    fn is_in_root(&self) -> bool;
    /// Whether the caller is the agent itself.
    fn is_agent(&self) -> bool;
    /// Whether the agent knows that it sits below the captured cgroup.
    fn agent_inside(&self) -> bool;
    /// Whether the agent is [`alive`].
    fn agent_alive(&self) -> bool;
    /// Whether the agent's listener in that network namespace is open.
    fn has_listener(&self) -> bool;
    /// Whether the socket is bound to a device.
    fn bound_to_device(&self) -> bool;
    /// Whether this is an IPv6 socket that is bound to a native IPv6 address.
    fn bound_to_v6_source(&self) -> bool;
    /// Whether this is an `IPV6_V6ONLY` socket.
    fn v6_only(&self) -> bool;
}

/// Decides one connect(): the index to redirect to, or the reason to let it pass.
///
/// The capture map is asked first: a destination in no space tree (rule R11) costs one lookup.
///
/// # Errors
/// The counter of the reason why the connection passes.
#[inline(always)]
pub fn connect(view: &impl ConnectView) -> Result<u32, Counter> {
    if view.protocol() != TCP {
        return Err(Counter::OutboundNotTcp);
    }
    let destination = view.destination();
    let Some(captured) = view.captured(&destination) else {
        return Err(Counter::OutboundNotCaptured);
    };
    if !view.is_workload() {
        return Err(Counter::OutboundNotWorkload);
    }
    if captured.passes_root && view.is_in_root() {
        return Err(Counter::OutboundOnlyCopy);
    }
    if view.is_agent() {
        return Err(if view.agent_inside() { Counter::OutboundAgent } else { Counter::OutboundSelf });
    }
    if !view.agent_alive() {
        return Err(Counter::OutboundAgentStale);
    }
    if view.bound_to_device() {
        return Err(Counter::OutboundBoundDevice);
    }
    if view.bound_to_v6_source() {
        return Err(Counter::OutboundBoundSource);
    }
    if view.v6_only() {
        return Err(Counter::OutboundV6Only);
    }
    // Last: it costs more than the rest together.
    if !view.has_listener() {
        return Err(Counter::OutboundNoListener);
    }
    Ok(captured.index)
}

/// Whose connections to an inbound port are intercepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callers {
    /// Those of captured workloads pass, as they have been routed already.
    Outside,
    /// Those of captured workloads, too: all requests into the workload have to be seen.
    All,
}

/// When connections to an inbound port are intercepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// While the hooks know of a socket that listens there.
    Listening,
    /// Always: a socket listens of which the hooks do not know, as it began before they were there.
    Always,
}

/// What is intercepted of the connections to an inbound port; the word of the map of such ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inbound {
    /// Whose.
    pub callers: Callers,
    /// When.
    pub when: When,
}

impl Inbound {
    /// The word's bit that says [`When::Always`].
    pub const ALWAYS: u32 = 1;
    const ALL: u32 = 2;

    /// The map's word.
    pub const fn to_word(self) -> u32 {
        let when = match self.when {
            When::Listening => 0,
            When::Always => Self::ALWAYS,
        };
        match self.callers {
            Callers::Outside => when,
            Callers::All => when | Self::ALL,
        }
    }

    /// What the map's word says.
    #[inline(always)]
    pub const fn from_word(word: u32) -> Self {
        Self {
            callers: if word & Self::ALL == 0 { Callers::Outside } else { Callers::All },
            when: if word & Self::ALWAYS == 0 { When::Listening } else { When::Always },
        }
    }
}

/// Which addresses of its pod a socket listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// What it is bound to; unspecified for all addresses, those of IPv4 where it is 0.0.0.0.
    pub to: Address,
    /// Whether it is an IPv6 socket that takes no IPv4.
    pub v6_only: bool,
}

impl Bound {
    /// Whether connections to this address of the pod are for it.
    #[inline(always)]
    pub fn takes(&self, address: &Address) -> bool {
        if self.to.is_unspecified() {
            return if address.is_v4() { self.to.is_v4() || !self.v6_only } else { !self.to.is_v4() };
        }
        self.to == *address
    }
}

/// What the sk_lookup hook can ask about the world around one SYN.
pub trait LookupView {
    /// The packet's source.
    fn remote(&self) -> Address;
    /// The packet's destination.
    fn local(&self) -> Endpoint;
    /// What is intercepted of connections to that destination.
    fn captured(&self, local: &Endpoint) -> Option<Inbound>;
    /// Whether the hooks know of a socket that listens there. Asked only where it makes a difference.
    fn is_listening(&self, local: &Endpoint) -> bool;
    /// Whether the source is a captured workload.
    fn is_peer(&self, remote: &Address) -> bool;
    /// Whether the agent is [`alive`].
    fn agent_alive(&self) -> bool;
}

/// Decides one incoming TCP connection: steer it to the agent, or the reason to let it pass.
///
/// # Errors
/// The counter of the reason why the connection passes.
#[inline(always)]
pub fn lookup(view: &impl LookupView) -> Result<(), Counter> {
    let local = view.local();
    let Some(captured) = view.captured(&local) else {
        return Err(Counter::InboundNotCaptured);
    };
    let remote = view.remote();
    if remote == local.address || remote.is_loopback() {
        return Err(Counter::InboundLocal);
    }
    if captured.callers == Callers::Outside && view.is_peer(&remote) {
        return Err(Counter::InboundPeer);
    }
    if !view.agent_alive() {
        return Err(Counter::InboundAgentStale);
    }
    // The agent's listener would take what the application does not.
    if captured.when == When::Listening && !view.is_listening(&local) {
        return Err(Counter::InboundNotListening);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    /// A connect() that is redirected; each test spoils one thing.
    struct Call {
        protocol: u32,
        captured: Option<Captured>,
        workload: bool,
        in_root: bool,
        agent: bool,
        inside: bool,
        alive: bool,
        listener: bool,
        device: bool,
        source: bool,
        v6_only: bool,
    }

    const GOOD: Call = Call {
        protocol: TCP,
        captured: Some(Captured { index: 0x1234, passes_root: false }),
        workload: true,
        in_root: false,
        agent: false,
        inside: false,
        alive: true,
        listener: true,
        device: false,
        source: false,
        v6_only: false,
    };

    impl ConnectView for Call {
        fn protocol(&self) -> u32 {
            self.protocol
        }
        fn destination(&self) -> Endpoint {
            Endpoint::new(Address::v4([10, 96, 0, 1]), NetPort::from_host(80))
        }
        fn captured(&self, destination: &Endpoint) -> Option<Captured> {
            assert_eq!(destination.port.to_host(), 80);
            self.captured
        }
        fn is_workload(&self) -> bool {
            self.workload
        }
        fn is_in_root(&self) -> bool {
            self.in_root
        }
        fn is_agent(&self) -> bool {
            self.agent
        }
        fn agent_inside(&self) -> bool {
            self.inside
        }
        fn agent_alive(&self) -> bool {
            self.alive
        }
        fn has_listener(&self) -> bool {
            self.listener
        }
        fn bound_to_device(&self) -> bool {
            self.device
        }
        fn bound_to_v6_source(&self) -> bool {
            self.source
        }
        fn v6_only(&self) -> bool {
            self.v6_only
        }
    }

    #[test]
    fn a_captured_destination_of_a_workload_is_redirected() {
        assert_eq!(connect(&GOOD), Ok(0x1234));
        // Where the agent sits says nothing of other callers.
        assert_eq!(connect(&Call { inside: true, ..GOOD }), Ok(0x1234));
    }

    #[test]
    fn only_a_root_spaces_pod_passes_to_a_service_with_a_single_copy() {
        let single = Some(Captured { index: 0x1234, passes_root: true });
        for (captured, in_root, decided) in [
            (single, true, Err(Counter::OutboundOnlyCopy)),
            (single, false, Ok(0x1234)),
            (GOOD.captured, true, Ok(0x1234)),
        ] {
            assert_eq!(connect(&Call { captured, in_root, ..GOOD }), decided);
        }
        assert_eq!(
            connect(&Call { captured: single, in_root: true, workload: false, ..GOOD }),
            Err(Counter::OutboundNotWorkload)
        );
    }

    #[test]
    fn a_word_of_the_capture_map_survives_the_trip() {
        for index in [FIRST_INDEX, LAST_INDEX] {
            for passes_root in [false, true] {
                let captured = Captured { index, passes_root };
                assert_eq!(Captured::from_word(captured.to_word()), captured);
            }
        }
        assert_eq!(Captured { index: LAST_INDEX, passes_root: false }.to_word(), LAST_INDEX);
    }

    #[test]
    fn whatever_is_in_doubt_passes_and_is_counted_by_reason() {
        for (call, reason) in [
            (Call { protocol: 17, ..GOOD }, Counter::OutboundNotTcp),
            (Call { protocol: 262, ..GOOD }, Counter::OutboundNotTcp),
            (Call { captured: None, workload: false, ..GOOD }, Counter::OutboundNotCaptured),
            (Call { workload: false, ..GOOD }, Counter::OutboundNotWorkload),
            (Call { agent: true, ..GOOD }, Counter::OutboundSelf),
            (Call { agent: true, inside: true, ..GOOD }, Counter::OutboundAgent),
            (Call { agent: true, inside: true, alive: false, ..GOOD }, Counter::OutboundAgent),
            (Call { alive: false, ..GOOD }, Counter::OutboundAgentStale),
            (Call { device: true, ..GOOD }, Counter::OutboundBoundDevice),
            (Call { source: true, ..GOOD }, Counter::OutboundBoundSource),
            (Call { v6_only: true, ..GOOD }, Counter::OutboundV6Only),
            (Call { listener: false, ..GOOD }, Counter::OutboundNoListener),
        ] {
            assert_eq!(connect(&call), Err(reason));
        }
    }

    #[derive(Clone, Copy)]
    struct Syn {
        remote: Address,
        captured: Option<Inbound>,
        listening: bool,
        peer: bool,
        alive: bool,
    }

    const INBOUND: Inbound = Inbound { callers: Callers::Outside, when: When::Listening };

    const SYN: Syn =
        Syn { remote: Address::v4([192, 0, 2, 9]), captured: Some(INBOUND), listening: true, peer: false, alive: true };

    impl LookupView for Syn {
        fn remote(&self) -> Address {
            self.remote
        }
        fn local(&self) -> Endpoint {
            Endpoint::new(Address::v4([10, 0, 0, 2]), NetPort::from_host(8080))
        }
        fn captured(&self, _local: &Endpoint) -> Option<Inbound> {
            self.captured
        }
        fn is_listening(&self, _local: &Endpoint) -> bool {
            self.listening
        }
        fn is_peer(&self, _remote: &Address) -> bool {
            self.peer
        }
        fn agent_alive(&self) -> bool {
            self.alive
        }
    }

    #[test]
    fn a_peers_connection_is_steered_where_all_have_to_be_seen_and_nothing_else_changes() {
        let all = Syn { captured: Some(Inbound { callers: Callers::All, ..INBOUND }), ..SYN };
        assert_eq!(lookup(&Syn { peer: true, ..all }), Ok(()));
        assert_eq!(lookup(&all), Ok(()));
        let local = Syn { remote: Address::v4([10, 0, 0, 2]), ..all };
        assert_eq!(lookup(&local), Err(Counter::InboundLocal), "the agent's own connection to the application");
        assert_eq!(lookup(&Syn { peer: true, alive: false, ..all }), Err(Counter::InboundAgentStale));
    }

    #[test]
    fn an_uncaptured_callers_connection_is_steered_and_every_other_passes() {
        assert_eq!(lookup(&SYN), Ok(()));
        for (syn, reason) in [
            (Syn { captured: None, ..SYN }, Counter::InboundNotCaptured),
            (Syn { captured: None, listening: false, ..SYN }, Counter::InboundNotCaptured),
            (Syn { listening: false, ..SYN }, Counter::InboundNotListening),
            (Syn { listening: false, peer: true, ..SYN }, Counter::InboundPeer),
            (Syn { remote: Address::v4([10, 0, 0, 2]), ..SYN }, Counter::InboundLocal),
            (Syn { remote: Address::v4([127, 0, 0, 1]), ..SYN }, Counter::InboundLocal),
            (Syn { remote: Address([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), ..SYN }, Counter::InboundLocal),
            (Syn { peer: true, ..SYN }, Counter::InboundPeer),
            (Syn { alive: false, ..SYN }, Counter::InboundAgentStale),
        ] {
            assert_eq!(lookup(&syn), Err(reason));
        }
    }

    #[test]
    fn a_port_whose_listener_is_unknown_to_the_hooks_is_always_intercepted() {
        for listening in [false, true] {
            let always = Some(Inbound { when: When::Always, ..INBOUND });
            assert_eq!(lookup(&Syn { captured: always, listening, ..SYN }), Ok(()));
        }
        for (callers, when) in [
            (Callers::Outside, When::Listening),
            (Callers::Outside, When::Always),
            (Callers::All, When::Listening),
            (Callers::All, When::Always),
        ] {
            let inbound = Inbound { callers, when };
            assert_eq!(Inbound::from_word(inbound.to_word()), inbound);
        }
    }

    #[test]
    fn a_socket_takes_connections_to_what_it_is_bound_to() {
        let any = Address([0; 16]);
        let (v4, other, v6) = (Address::v4([10, 0, 0, 2]), Address::v4([127, 0, 0, 1]), Address([0xfd; 16]));
        let bound = |to, v6_only| Bound { to, v6_only };
        for (socket, takes_v4, takes_v6) in [
            (bound(Address::v4([0; 4]), false), true, false),
            // `::` for both families, and for its own.
            (bound(any, false), true, true),
            (bound(any, true), false, true),
            (bound(v4, false), true, false),
            (bound(v6, false), false, true),
            (bound(v6, true), false, true),
            (bound(other, false), false, false),
        ] {
            assert_eq!((socket.takes(&v4), socket.takes(&v6)), (takes_v4, takes_v6), "{socket:?}");
        }
    }

    #[test]
    fn an_index_survives_the_trip_through_the_loopback_address() {
        for index in [FIRST_INDEX, 0x12_3456, LAST_INDEX] {
            assert_eq!(index_of(loopback(index)), Some(index));
        }
        for out in [0, 1, FIRST_INDEX - 1, LAST_INDEX + 1, 0xff_ffff] {
            assert_eq!(index_of(loopback(out)), None, "{out:#x}");
        }
        assert_eq!(index_of(Address::v4([10, 1, 2, 3])), None);
    }

    #[test]
    fn only_the_agents_port_carries_an_index() {
        let port = NetPort::from_host(15001);
        assert_eq!(redirected_index(&Endpoint::new(loopback(0x777), port), port), Some(0x777));
        assert_eq!(redirected_index(&Endpoint::new(loopback(0x777), NetPort::from_host(80)), port), None);
    }

    #[test]
    fn only_for_want_of_an_agent_is_anything_ever_refused() {
        use Counter::{InboundAgentStale, InboundAssignFailed, InboundNoListener, InboundRefused};
        use Counter::{OutboundAgentStale, OutboundNoListener, OutboundRefused};
        let found: std::vec::Vec<_> =
            crate::counters::ALL.iter().filter_map(|(reason, ..)| Some((*reason, refused(*reason)?))).collect();
        let wanted = [
            (OutboundAgentStale, OutboundRefused),
            (InboundAgentStale, InboundRefused),
            (InboundNoListener, InboundRefused),
            (InboundAssignFailed, InboundRefused),
            (OutboundNoListener, OutboundRefused),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn predecessors_stay_known_as_agents_and_the_oldest_is_forgotten() {
        let mut control = Control::default();
        assert!(!control.is_agent(0), "no cgroup is no agent's");
        for (own, all) in [
            (7, [7, 0, 0, 0]),
            (8, [8, 7, 0, 0]),
            (7, [7, 8, 0, 0]),
            (9, [9, 7, 8, 0]),
            (4, [4, 9, 7, 8]),
            (5, [5, 4, 9, 7]),
        ] {
            control.agent_cgroups = control.agents_with(own);
            assert_eq!(control.agent_cgroups, all);
            assert!(all.iter().filter(|agent| **agent != 0).all(|agent| control.is_agent(*agent)));
        }
        assert!(!control.is_agent(8) && !control.is_agent(0));
    }

    #[test]
    fn a_heartbeat_ages() {
        let control = Control { heartbeat_ns: 1_000, timeout_ns: 500, ..Control::default() };
        assert!(alive(&control, 1_500));
        assert!(alive(&control, 900), "a clock read before the heartbeat was written");
        assert!(!alive(&control, 1_501));
        assert!(!alive(&Control::default(), 0), "no agent has ever been there");
    }
}
