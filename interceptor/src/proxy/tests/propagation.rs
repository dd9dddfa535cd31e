//! Header formats, and requests that find their space again: whole connections of a workload in its own process.

use super::*;
use crate::config::{Carrier, PropagateMode, Routing};
use crate::flow::Note;
use crate::headers::Reader;
use crate::propagate::Neighbours;
use crate::route::SpaceFrom;

const TRACE: &str = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
const SAME_TRACE: &str = "b3: 4bf92f3577b34da6a3ce929d0e0e4736-1111111111111111-1\r\n";
const OTHER_TRACE: &str = "traceparent: 00-11111111111111111111111111111111-00f067aa0ba902b7-01\r\n";

/// Where a request's space was found, and what is noted of it.
type Found = (SpaceFrom, Option<Note>);

/// What it is about, the mode, what came in, what goes out and is added to it, and what is known of that.
type Row<'r> = (&'r str, PropagateMode, &'r [&'r str], (&'r str, &'r str), Found);

fn get(fields: &str) -> String {
    format!("GET /path HTTP/1.1\r\nHost: b\r\n{fields}\r\n")
}

fn carriers(list: &[&str]) -> Vec<Carrier> {
    list.iter().map(|text| Carrier::parse(text).unwrap()).collect()
}

fn rules(read: &[&str], inject: Option<&[&str]>) -> Option<Routing> {
    Some(Routing { route_headers: carriers(read), inject: inject.map(carriers), ..world::routing() })
}

/// Sends a request and checks what the server gets of it; the server then answers.
async fn exchange(session: &mut Session, server: &mut Peer, sent: &str, got: &str) {
    session.client.send(sent).await;
    answered(session, server, got).await;
}

async fn answered(session: &mut Session, server: &mut Peer, got: &str) {
    server.expect(got).await;
    server.send(OK).await;
    session.client.expect(OK).await;
}

#[test]
fn every_carrier_leads_to_its_space_and_goes_out_as_it_came() {
    let read = ["azds-route-as", "baggage/sd-routing-key", "tracestate/space", "x-mine"];
    for (fields, name) in [
        ("baggage: a=1, sd-routing-key=us%65r;x=y\r\n", "baggage/sd-routing-key"),
        ("baggage: a=1\r\nBaggage: sd-routing-key=user\r\n", "baggage/sd-routing-key"),
        ("tracestate: o=1,space=user\r\n", "tracestate/space"),
        ("X-Mine: user\r\n", "x-mine"),
    ] {
        play(async move {
            let (origin, copy) = (Server::new().await, Server::new().await);
            let setup = Setup { copies: vec![("user", copy.address)], routing: rules(&read, None), ..Setup::default() };
            let mut session = World::new(origin.address, setup).await.call(get(fields)).await;
            let mut server = copy.accept().await;
            answered(&mut session, &mut server, &get(fields)).await;
            let records = session.over().await;
            let request = &records.requests[0];
            let header = request.route_header.as_ref().unwrap();
            assert_eq!((&*header.name, &*header.value), (name, "user"), "{fields}");
            assert_eq!((request.space_from, request.injected), (SpaceFrom::Header, false));
            assert_eq!(request.notes.iter().count(), 0);
        });
    }
}

#[test]
fn carriers_that_differ_are_noted_and_the_first_configured_one_counts() {
    play(async {
        let (origin, copy) = (Server::new().await, Server::new().await);
        let routing = rules(&["azds-route-as", "baggage/k"], None);
        let setup = Setup { copies: vec![("user", copy.address)], routing, ..Setup::default() };
        let sent = get("baggage: k=default\r\nazds-route-as: user\r\n");
        let mut session = World::new(origin.address, setup).await.call(&sent).await;
        let mut server = copy.accept().await;
        answered(&mut session, &mut server, &sent).await;
        let records = session.over().await;
        assert_eq!(records.requests[0].notes.iter().collect::<Vec<_>>(), [Note::DifferingHeaders]);
    });
}

#[test]
fn a_member_is_merged_into_baggage_that_is_there() {
    let both: &[&str] = &["azds-route-as", "baggage/k"];
    for (inject, sent, got) in [
        (&["baggage/k"][..], "baggage: a=1;p, b=2\r\nX: y\r\n", "baggage: a=1;p, b=2,k=user\r\nX: y\r\n"),
        (&["baggage/k"], "X: y\r\n", "X: y\r\nbaggage: k=user\r\n"),
        (&["baggage/k"], "baggage: a=1 \r\nBAGGAGE:b=2\r\n", "baggage: a=1 \r\nBAGGAGE:b=2,k=user\r\n"),
        (both, "baggage: a=1\r\n", "baggage: a=1,k=user\r\nazds-route-as: user\r\n"),
        (both, "baggage:\r\n", "baggage:\r\nazds-route-as: user\r\nbaggage: k=user\r\n"),
    ] {
        play(async move {
            let (origin, copy) = (Server::new().await, Server::new().await);
            let setup = Setup {
                copies: vec![("user", copy.address)],
                caller: Some("user"),
                routing: rules(both, Some(inject)),
                ..Setup::default()
            };
            let mut session = World::new(origin.address, setup).await.call(get(sent)).await;
            let mut server = copy.accept().await;
            answered(&mut session, &mut server, &get(got)).await;
            // Once more on a connection that has been used: it is held to be sent again if that one is stale.
            exchange(&mut session, &mut server, &get(sent), &get(got)).await;
            let records = session.over().await;
            assert!(records.requests[0].injected);
            assert_eq!(records.requests[0].bytes_in, get(sent).len() as u64, "what the agent adds is not the caller's");
        });
    }
}

#[test]
fn baggage_that_is_full_stays_as_it_is_and_the_record_says_so() {
    play(async {
        let (origin, copy) = (Server::new().await, Server::new().await);
        let setup = Setup {
            copies: vec![("user", copy.address)],
            caller: Some("user"),
            routing: rules(&["baggage/k"], None),
            ..Setup::default()
        };
        let sent = get(&format!("baggage: {}\r\n", vec!["a=b"; 64].join(",")));
        let mut session = World::new(origin.address, setup).await.call(&sent).await;
        let mut server = copy.accept().await;
        answered(&mut session, &mut server, &sent).await;
        let records = session.over().await;
        assert_eq!(records.requests[0].notes.iter().collect::<Vec<_>>(), [Note::BaggageFull]);
        assert_eq!(records.requests[0].verdict.as_str(), "redirected", "it is routed all the same");
    });
}

/// A pod of `default` whose application gets a request with fields `came` and, before it answers, sends one with `goes`:
/// the request that the called service gets, and its record. There are spaces `one` and `two` below `default`.
async fn called_then_calls(world: &World, origin: &Server, came: &[&str], goes: &str) -> (String, RequestRecord) {
    let mut under_way = Vec::new();
    for came in came {
        let incoming = world.called(get(came)).await;
        let mut application = origin.accept().await;
        application.expect(get(came)).await;
        under_way.push((incoming, application));
    }
    let (got, record) = calls(world, origin, goes).await;
    for (mut incoming, mut application) in under_way {
        application.send(OK).await;
        incoming.client.expect(OK).await;
        incoming.over().await;
    }
    (got, record)
}

async fn calls(world: &World, origin: &Server, goes: &str) -> (String, RequestRecord) {
    let mut session = world.call(get(goes)).await;
    let mut server = origin.accept().await;
    let got = server.head().await;
    server.send(OK).await;
    session.client.expect(OK).await;
    (got, session.over().await.requests.remove(0))
}

async fn pod(origin: &Server, mode: Option<PropagateMode>, routing: Option<Routing>) -> World {
    let bare = vec!["one", "two"];
    World::new(origin.address, Setup { bare, caller: Some("default"), mode, routing, ..Setup::default() }).await
}

const ONE: &str = "azds-route-as: one\r\n";
const TWO: &str = "azds-route-as: two\r\n";
const OWN: &str = "azds-route-as: default\r\n";

#[test]
fn a_request_with_a_known_trace_id_gets_the_space_that_came_with_it() {
    use PropagateMode::{Off, Trace};
    let (with_one, with_two) = (format!("{TRACE}{ONE}"), format!("{TRACE}{TWO}"));
    let host = "Host: one.s.default.b.eus.azds.io\r\n";
    let (plain, ambiguous) = (SpaceFrom::Caller, Some(Note::AmbiguousTrace));
    let rows: [Row<'_>; 8] = [
        ("the same header", Trace, &[&with_one], (TRACE, ONE), (SpaceFrom::Trace, None)),
        ("another header with the same id", Trace, &[&with_one], (SAME_TRACE, ONE), (SpaceFrom::Trace, None)),
        ("another id", Trace, &[&with_one], (OTHER_TRACE, OWN), (plain, None)),
        ("no id", Trace, &[&with_one], ("X: y\r\n", OWN), (plain, None)),
        ("two spaces with one id", Trace, &[&with_one, &with_two], (TRACE, OWN), (plain, ambiguous)),
        ("one of no space", Trace, &[&with_one, TRACE], (TRACE, OWN), (plain, ambiguous)),
        ("off", Off, &[&with_one], (TRACE, OWN), (plain, None)),
        ("a space of its own", Trace, &[&with_one], (&with_two, ""), (SpaceFrom::Header, None)),
    ];
    for (what, mode, came, (goes, added), expected) in rows {
        play(async move {
            let origin = Server::new().await;
            let world = pod(&origin, Some(mode), None).await;
            let (got, record) = called_then_calls(&world, &origin, came, goes).await;
            assert_eq!(got, get(&format!("{goes}{added}")), "{what}");
            assert_eq!((record.space_from, record.notes.iter().next()), expected, "{what}");
        });
    }
    play(async move {
        let origin = Server::new().await;
        let world = pod(&origin, None, None).await;
        let came = format!("GET / HTTP/1.1\r\n{host}{TRACE}\r\n");
        let mut incoming = world.called(&came).await;
        let mut application = origin.accept().await;
        application.expect(came.replacen("\r\n\r\n", &format!("\r\n{ONE}\r\n"), 1)).await;
        assert_eq!(
            calls(&world, &origin, TRACE).await.0,
            get(&format!("{TRACE}{ONE}")),
            "a space of the Host counts, too"
        );
        application.send(OK).await;
        incoming.client.expect(OK).await;
        // After its answer: for as long as the grace.
        assert_eq!(calls(&world, &origin, TRACE).await.1.space_from, SpaceFrom::Trace);
        incoming.over().await;
    });
}

#[test]
fn a_trace_is_known_to_its_own_pod_only() {
    play(async {
        let origin = Server::new().await;
        let mut world = pod(&origin, None, None).await;
        let mut incoming = world.called(get(&format!("{TRACE}{ONE}"))).await;
        let mut application = origin.accept().await;
        application.expect(get(&format!("{TRACE}{ONE}"))).await;
        let own = world.workload.clone();
        world.become_another_workload();
        assert_eq!(calls(&world, &origin, TRACE).await.1.space_from, SpaceFrom::Caller, "another pod");
        world.workload = own;
        assert_eq!(calls(&world, &origin, TRACE).await.1.space_from, SpaceFrom::Trace);
        application.send(OK).await;
        incoming.client.expect(OK).await;
    });
}

#[test]
fn with_no_grace_a_trace_is_forgotten_with_its_last_answer() {
    play(async {
        let origin = Server::new().await;
        let mut routing = world::routing();
        routing.propagate.grace = std::time::Duration::ZERO;
        let world = pod(&origin, None, Some(routing)).await;
        let (got, _) = called_then_calls(&world, &origin, &[&format!("{TRACE}{ONE}")], TRACE).await;
        assert_eq!(got, get(&format!("{TRACE}{ONE}")));
        assert_eq!(calls(&world, &origin, TRACE).await.1.space_from, SpaceFrom::Caller);
    });
}

#[test]
fn a_trace_that_finds_no_room_is_noted() {
    play(async {
        let origin = Server::new().await;
        let mut routing = world::routing();
        routing.propagate.max_traces = 1;
        let world = pod(&origin, None, Some(routing)).await;
        let came = [format!("{TRACE}{ONE}"), format!("{OTHER_TRACE}{ONE}")];
        let came: Vec<&str> = came.iter().map(String::as_str).collect();
        let (_, record) = called_then_calls(&world, &origin, &came, OTHER_TRACE).await;
        assert_eq!(record.space_from, SpaceFrom::Caller);
        let inbound = world.context.hub.recent(&crate::flow::Filter::default(), usize::MAX);
        let noted = inbound.iter().filter(|record| match &***record {
            Record::Request(record) => record.notes.iter().any(|note| note == Note::NotRemembered),
            Record::Connection(_) => false,
        });
        assert_eq!(noted.count(), 1);
    });
}

#[test]
fn a_single_flight_gives_its_space_to_requests_that_carry_nothing() {
    use PropagateMode::{SingleFlight, Trace};
    let (plain, ambiguous) = (SpaceFrom::Caller, Some(Note::AmbiguousFlight));
    let rows: [(&str, PropagateMode, &[&str], &str, Found); 6] = [
        ("one", SingleFlight, &[ONE], ONE, (SpaceFrom::Flight, None)),
        ("two of one space", SingleFlight, &[ONE, ONE], ONE, (SpaceFrom::Flight, None)),
        ("two of two spaces", SingleFlight, &[ONE, TWO], OWN, (plain, ambiguous)),
        ("one of none", SingleFlight, &[ONE, ""], OWN, (plain, ambiguous)),
        ("none", SingleFlight, &[], OWN, (plain, None)),
        ("not asked for", Trace, &[ONE], OWN, (plain, None)),
    ];
    for (what, mode, came, added, expected) in rows {
        play(async move {
            let origin = Server::new().await;
            let world = pod(&origin, Some(mode), None).await;
            let (got, record) = called_then_calls(&world, &origin, came, "").await;
            assert_eq!(got, get(added), "{what}");
            assert_eq!((record.space_from, record.notes.iter().next()), expected, "{what}");
            assert_eq!(calls(&world, &origin, "").await.1.space_from, plain, "{what}: nothing is in flight any more");
        });
    }
}

#[test]
fn an_upgraded_connection_stays_in_flight_with_its_space_and_an_opaque_one_with_none() {
    play(async {
        let origin = Server::new().await;
        let world = pod(&origin, Some(PropagateMode::SingleFlight), None).await;
        let upgrade = get(&format!("Connection: upgrade\r\nUpgrade: websocket\r\n{ONE}"));
        let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        let mut incoming = world.called(&upgrade).await;
        let mut application = origin.accept().await;
        application.expect(&upgrade).await;
        application.send(switched).await;
        incoming.client.expect(switched).await;
        assert_eq!(calls(&world, &origin, "").await.1.space_from, SpaceFrom::Flight);
        let opaque = world.called("\u{16}\u{3}\u{1}no HTTP").await;
        let mut unseen = origin.accept().await;
        unseen.expect("\u{16}\u{3}\u{1}no HTTP").await;
        let record = calls(&world, &origin, "").await.1;
        assert_eq!(record.notes.iter().next(), Some(Note::AmbiguousFlight), "what it carries nobody knows");
        drop(unseen);
        opaque.over().await;
        assert_eq!(calls(&world, &origin, "").await.1.space_from, SpaceFrom::Flight);
        drop(application);
        incoming.over().await;
        assert_eq!(calls(&world, &origin, "").await.1.space_from, SpaceFrom::Caller);
    });
}

#[test]
fn a_request_that_this_agent_sends_to_a_pod_of_the_node_is_known_there() {
    play(async {
        let (origin, copy) = (Server::new().await, Server::new().await);
        let setup = Setup { copies: vec![("user", copy.address)], ..Setup::default() };
        let world = World::new(origin.address, setup).await;
        let there = crate::propagate::Memory::new(PropagateMode::Trace);
        let set = |neighbours: &Neighbours| neighbours.set([(copy.address.ip(), there.clone())].into_iter());
        set(&world.context.neighbours);
        let sent = get(&format!("{TRACE}azds-route-as: user\r\n"));
        let mut session = world.call(&sent).await;
        let mut server = copy.accept().await;
        server.expect(&sent).await;
        let reader = Reader::new(&world::routing());
        let (name, value) = TRACE.trim_end().split_once(": ").unwrap();
        let ids = reader.read([(name.as_bytes(), value.as_bytes())]).ids;
        assert_eq!(there.recall(&ids).space(), Some(("user", SpaceFrom::Trace)));
        server.send(OK).await;
        session.client.expect(OK).await;
    });
}

#[test]
fn callers_from_outside_lose_what_carries_a_space_if_that_is_asked_for() {
    let read = ["azds-route-as", "baggage/k"];
    let fields = "baggage: a=b, k=one\r\nX: y\r\nAzds-Route-As: one\r\n";
    let host =
        |name: &str, fields: &str| format!("POST / HTTP/1.1\r\nHost: {name}\r\nContent-Length: 3\r\n{fields}\r\nabc");
    for (strip, name, got) in [
        (true, "b", "baggage: a=b\r\nX: y\r\n"),
        (true, "two.s.default.b.eus.azds.io", "baggage: a=b\r\nX: y\r\nazds-route-as: two\r\n"),
        (false, "b", fields),
    ] {
        play(async move {
            let origin = Server::new().await;
            let routing = Routing { strip_from_outside: strip, ..rules(&read, None).unwrap() };
            let world = pod(&origin, None, Some(routing)).await;
            let mut session = world.called_by_outside(host(name, fields)).await;
            let mut application = origin.accept().await;
            answered(&mut session, &mut application, &host(name, got)).await;
            let record = session.over().await.requests.remove(0);
            assert_eq!(record.notes.iter().any(|note| note == Note::HeaderStripped), strip);
            assert_eq!(&*record.route_header.unwrap().value, "one", "the record shows what came");
            // A captured workload is no outsider.
            let mut session = world.called(host(name, fields)).await;
            let mut application = origin.accept().await;
            answered(&mut session, &mut application, &host(name, fields)).await;
            session.over().await;
        });
    }
}
