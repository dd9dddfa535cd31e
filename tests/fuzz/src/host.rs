//! Target `host`: routing over a fixed snapshot takes any bytes as Host and route header (rules R1 to R5).

use std::net::SocketAddr;
use std::sync::OnceLock;

use interceptor::config::{Config, EXAMPLE};
use interceptor::route::{Chain, Decision, Direction, Query, Reason, SpaceFrom, Target, decide};
use interceptor::snapshot::Snapshot;

const SUFFIX: &[u8] = b".fedcba09.eus.azds.io";

/// Flags, the length of the route header, the header, the Host.
pub fn host(bytes: &[u8]) {
    static SNAPSHOT: OnceLock<Option<Snapshot>> = OnceLock::new();
    let snapshot = SNAPSHOT.get_or_init(|| {
        let config = Config::parse(EXAMPLE, "example").ok()?.config;
        Some(Snapshot::build(&config.topology, &config.routing, 1))
    });
    let Some(snapshot) = snapshot else {
        assert_eq!(EXAMPLE, "a configuration");
        return;
    };
    let [flags, header_len, rest @ ..] = bytes else { return };
    let (header, host) = rest.split_at_checked(usize::from(*header_len)).unwrap_or((rest, &[]));
    let destinations: [SocketAddr; 4] = [
        ([10, 96, 0, 11], 80).into(),
        ([10, 96, 0, 12], 80).into(),
        ([10, 244, 0, 21], 8081).into(),
        ([192, 0, 2, 1], 80).into(),
    ];
    let query = Query {
        direction: if flags & 1 == 0 { Direction::Outbound } else { Direction::Inbound },
        workload: if flags & 2 == 0 { "serviceA-azureuser" } else { "nobody" },
        destination: destinations[usize::from(flags >> 2 & 3)],
        header: (flags & 16 == 0).then_some(header),
        host: (flags & 32 == 0).then_some(host),
        recalled: None,
        turn: usize::from(flags >> 6),
    };
    let decision = decide(snapshot, &query);
    assert_eq!(said(&decide(snapshot, &query)), said(&decision), "the same question, another answer");
    check(snapshot, &query, &decision);
}

/// What a decision says, for comparing.
fn said<'s>(decision: &Decision<'s>) -> (Option<SocketAddr>, Option<&'s str>, SpaceFrom, bool, Reason, Chain) {
    let address = match decision.target {
        Target::Original => None,
        Target::Endpoint { address, .. } => Some(address),
    };
    let space = decision.space_name().map(AsRef::as_ref);
    (address, space, decision.space_from, decision.inject, decision.reason, decision.chain())
}

fn check(snapshot: &Snapshot, query: &Query<'_>, decision: &Decision<'_>) {
    let space = decision.space_name().map(AsRef::as_ref);
    assert!(space.is_none_or(|name| snapshot.space_named(name).is_some()), "a space of nobody's: {space:?}");
    // R2: whatever the header holds, it stands, and nothing is added beside it.
    if query.header.is_some() {
        assert!(!decision.inject && decision.space_from == SpaceFrom::Header);
    }
    assert!(!decision.inject || space.is_some(), "a header line without a space");
    if decision.space_from == SpaceFrom::Host {
        let host = query.host.unwrap_or_default().to_ascii_lowercase();
        assert!(host.windows(SUFFIX.len()).any(|part| part == SUFFIX), "a space out of a foreign host");
    }
    if let Target::Endpoint { address, service } = &decision.target {
        let found = snapshot.services().find(|s| s.id == **service);
        let ready = found.is_some_and(|s| s.ports.iter().any(|port| port.ready().any(|ready| ready == *address)));
        assert!(ready && snapshot.destination(query.destination).is_some(), "sent to {address}, a stranger");
        assert!(decision.chain().iter().any(|step| step.space == service.space), "a space outside the chain");
    }
}
