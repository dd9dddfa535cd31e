//! `propagate: thread` without a kernel: what the hooks are told of requests, and what becomes of what they say of calls.

use std::time::Duration;

use interceptor_common::threads::{Call, EARLIER, Origin};
use tokio::time::sleep;

use super::*;
use crate::config::PropagateMode;
use crate::flow::{Note, RequestRecord};
use crate::route::SpaceFrom;

/// The request that the hooks name, and one that its thread had before.
const REQUEST: u64 = 42;
const BEFORE: u64 = 41;

fn found() -> Call {
    Call { origin: Origin::Found as u32, request: REQUEST, ..Call::default() }
}

/// What becomes of a call of which the hooks say this, while `REQUEST` of the space `user` is under way. `meanwhile` runs
/// beside it.
fn called(call: Option<Call>, meanwhile: impl AsyncFnOnce(&World) + 'static) -> RequestRecord {
    let (tx, rx) = std::sync::mpsc::channel();
    play(async move {
        let (origin, copy) = (Server::new().await, Server::new().await);
        let mode = Some(PropagateMode::Thread);
        let setup = Setup { copies: vec![("user", copy.address)], mode, ..Setup::default() };
        let world = World::new(origin.address, setup).await;
        world.follow_threads();
        world.workload.threads.begin(REQUEST, Some("user".into()));
        world.workload.threads.begin(BEFORE, None);
        world.kernel.call.set(call);
        let mut session = world.call(GET).await;
        meanwhile(&world).await;
        let mut server = tokio::select! {
            server = origin.accept() => server,
            server = copy.accept() => server,
        };
        server.head().await;
        server.send(OK).await;
        session.client.expect(OK).await;
        tx.send(session.over().await.requests.remove(0)).unwrap();
    });
    rx.recv().unwrap()
}

#[test]
fn a_call_goes_where_the_request_belongs_that_the_hooks_name() {
    let record = called(Some(found()), async |_| {});
    assert_eq!((record.space.as_deref(), record.space_from), (Some("user"), SpaceFrom::Thread));
    assert!(record.injected && record.notes.iter().next().is_none());
}

#[test]
fn what_the_hooks_cannot_tell_changes_nothing_and_is_noted_where_it_could_mislead() {
    let with = |origin| Some(Call { origin: origin as u32, ..found() });
    for (call, ambiguous) in [
        (None, false),
        (with(Origin::Unseen), false),
        (with(Origin::NoRequest), false),
        (with(Origin::Answered), true),
        (with(Origin::SeveralThreads), true),
        (with(Origin::SeveralRequests), true),
        (with(Origin::Process), true),
        // Of an earlier call on this connection.
        (Some(Call { at: 1, ..found() }), false),
        // It has ended meanwhile.
        (Some(Call { request: 7, ..found() }), false),
    ] {
        let record = called(call, async |_| {});
        assert_eq!((record.space, record.injected), (None, false), "{call:?}");
        assert_eq!(record.notes.iter().eq([Note::AmbiguousThread]), ambiguous, "{call:?}");
    }
}

#[test]
fn an_answer_that_is_still_on_its_way_is_waited_for_but_not_for_long() {
    let earlier = std::array::from_fn(|n| if n == EARLIER - 1 { BEFORE } else { 0 });
    let call = Some(Call { earlier, ..found() });
    for ends in [true, false] {
        let record = called(call, async move |world: &World| {
            sleep(Duration::from_millis(20)).await;
            if ends {
                world.workload.threads.end(BEFORE);
            }
        });
        assert_eq!(record.space.is_some(), ends);
        assert_eq!(record.notes.iter().eq([Note::AmbiguousThread]), !ends);
    }
}

#[test]
fn the_hooks_know_each_request_into_the_application_by_its_place_in_the_stream() {
    for followed in [true, false] {
        play(async move {
            let application = Server::new().await;
            let setup = Setup { caller: Some("default"), mode: Some(PropagateMode::Thread), ..Setup::default() };
            let world = World::new(application.address, setup).await;
            if followed {
                world.follow_threads();
            }
            let mut session = world.called(get_in("default")).await;
            let mut server = application.accept().await;
            server.expect(get_in("default")).await;
            let under_way = world.kernel.requests.borrow().clone();
            server.send(OK).await;
            session.client.expect(OK).await;
            session.client.send(GET).await;
            server.expect(GET).await;
            server.send(OK).await;
            session.client.expect(OK).await;
            let records = session.over().await.requests;
            if !followed {
                return assert_eq!(*world.kernel.requests.borrow(), []);
            }
            let [(number, Some(first))] = under_way[..] else { panic!("{under_way:?}") };
            assert!(number != 0 && records.iter().any(|record| record.id == first.id && record.space.is_some()));
            assert_eq!(first.start, 0);
            let all = world.kernel.requests.borrow().clone();
            let [_, (_, None), (same, Some(second)), (_, None)] = all[..] else { panic!("{all:?}") };
            assert_eq!((same, usize::try_from(second.start)), (number, Ok(get_in("default").len())));
            assert_eq!(world.workload.threads.space(first.id), None);
        });
    }
}
