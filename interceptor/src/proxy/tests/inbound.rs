//! Connections to the captured pod itself: its application sees the real client, and other spaces' requests go on.

use super::*;
use crate::flow::TargetKind;
use crate::route::Direction;
use interceptor_common::Facts;

#[test]
fn the_application_is_told_who_the_client_is_for_as_long_as_the_connection_lives() {
    for first in [GET, "PING\r\n"] {
        play(async move {
            let application = Server::new().await;
            let world = World::new(application.address, Setup { caller: Some("default"), ..Setup::default() }).await;
            world.kernel.facts.set(Some(Facts {
                srtt_us: 7,
                established_ns: 1000,
                closed_ns: 6000,
                ..Facts::default()
            }));
            let mut session = world.called(first).await;
            let mut server = application.accept().await;
            server.expect(first).await;
            let client = session.client.0.local_addr().unwrap();
            assert_eq!(*world.kernel.clients.borrow(), [client.into()]);
            server.send(OK).await;
            session.client.expect(OK).await;
            session.client.end().await;
            server.ended().await;
            drop(server);
            let records = session.over().await;
            assert!(world.kernel.clients.borrow().is_empty());
            assert_eq!(records.connection.direction, Direction::Inbound);
            let target = records.connection.target.or_else(|| records.requests[0].target.clone()).unwrap();
            assert_eq!((target.kind, target.address), (TargetKind::Application, application.address));
            // What the kernel knows is found by the connection to the application, which HTTP may have several of.
            let facts = records.connection.kernel.map(|facts| (facts.srtt_us, facts.open_us));
            assert_eq!(facts, (first != GET).then_some((7, Some(5))));
        });
    }
}

#[test]
fn without_room_to_say_it_the_request_is_served_all_the_same_and_counted() {
    play(async {
        let application = Server::new().await;
        let world = World::new(application.address, Setup::default()).await;
        world.kernel.is_full.set(true);
        let mut session = world.called(GET).await;
        let mut server = application.accept().await;
        server.expect(GET).await;
        server.send(OK).await;
        session.client.expect(OK).await;
        assert_eq!(session.over().await.request(), (Some(200), "forwarded", "no_space_named"));
        let metrics = world.context.metrics.encode();
        assert!(metrics.lines().any(|line| line.contains("real_client") && line.ends_with(" 1")), "{metrics}");
    });
}

#[test]
fn a_request_of_another_space_goes_on_to_its_copy() {
    play(async {
        let (application, copy) = (Server::new().await, Server::new().await);
        let setup = Setup { copies: vec![("user", copy.address)], caller: Some("default"), ..Setup::default() };
        let world = World::new(application.address, setup).await;
        let mut session = world.called(get_in("user")).await;
        let mut server = copy.accept().await;
        server.expect(get_in("user")).await;
        assert!(world.kernel.clients.borrow().is_empty(), "another pod sees the agent's own address");
        server.send(OK).await;
        session.client.expect(OK).await;
        assert_eq!(session.over().await.request(), (Some(200), "redirected", "routed"));
    });
}

#[test]
fn outbound_the_kernels_facts_are_found_by_the_destination() {
    play(async {
        let origin = Server::new().await;
        let world = World::new(origin.address, Setup::default()).await;
        world.kernel.facts.set(Some(Facts { retransmits: 3, ..Facts::default() }));
        let mut session = world.call(GET).await;
        let mut server = origin.accept().await;
        server.expect(GET).await;
        server.send(OK).await;
        session.client.expect(OK).await;
        assert_eq!(session.over().await.connection.kernel.unwrap().retransmits, 3);
    });
}
