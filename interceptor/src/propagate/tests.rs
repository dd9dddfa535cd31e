//! What a workload's memory answers, and when it does not.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::headers::{Reader, TraceIds};

fn ids(values: &[&str]) -> TraceIds {
    let reader = Reader::new(&crate::config::Routing::default());
    let field = |value: &&'static str| (&b"x-request-id"[..], value.as_bytes());
    // Each is a field of its own, as no request has several of one name.
    let leaked: Vec<&'static str> = values.iter().map(|value| &*String::leak((*value).to_owned())).collect();
    leaked.iter().flat_map(|value| reader.read([field(value)]).ids.iter().collect::<Vec<_>>()).collect()
}

fn space(name: &str) -> Arc<str> {
    Arc::from(name)
}

fn settings() -> Propagate {
    Propagate { grace: Duration::from_secs(5), ..Propagate::default() }
}

fn known(name: &str, from: SpaceFrom) -> Recalled {
    Recalled::Space(space(name), from)
}

/// Runs with a clock that stands still until it is moved.
fn play(test: impl AsyncFnOnce()) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(test());
}

async fn pass(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

#[test]
fn an_id_leads_to_the_space_of_the_request_that_brought_it_while_it_is_there_and_for_a_grace() {
    play(async || {
        let memory = Memory::new(PropagateMode::Trace);
        assert_eq!(memory.recall(&ids(&["a"])), Recalled::Unknown, "nothing has come");
        let entered = memory.enter(Some(&space("user")), ids(&["a", "b"]), &settings());
        pass(1000).await;
        for one in [ids(&["a"]), ids(&["b"]), ids(&["x", "b"])] {
            assert_eq!(memory.recall(&one), known("user", SpaceFrom::Trace), "as long as it takes");
        }
        assert_eq!(memory.recall(&ids(&["x"])), Recalled::Unknown);
        assert_eq!(memory.recall(&ids(&[])), Recalled::Unknown);
        drop(entered);
        pass(4).await;
        assert_eq!(memory.recall(&ids(&["a"])), known("user", SpaceFrom::Trace), "within the grace");
        pass(1).await;
        assert_eq!((memory.recall(&ids(&["a"])), memory.traces()), (Recalled::Unknown, 0), "after it");
    });
}

#[test]
fn a_request_that_comes_in_the_grace_prolongs_it() {
    play(async || {
        let memory = Memory::new(PropagateMode::Trace);
        let enter = || memory.enter(Some(&space("user")), ids(&["a"]), &settings());
        drop(enter());
        pass(4).await;
        let second = enter();
        pass(4).await;
        assert_eq!(memory.recall(&ids(&["a"])), known("user", SpaceFrom::Trace));
        drop(second);
        pass(4).await;
        assert_eq!(memory.recall(&ids(&["a"])), known("user", SpaceFrom::Trace));
        pass(1).await;
        assert_eq!(memory.recall(&ids(&["a"])), Recalled::Unknown);
    });
}

#[test]
fn an_id_of_two_spaces_is_ambiguous_until_it_is_forgotten() {
    play(async || {
        let memory = Memory::new(PropagateMode::Trace);
        let one = memory.enter(Some(&space("user")), ids(&["a"]), &settings());
        drop(memory.enter(Some(&space("other")), ids(&["a"]), &settings()));
        assert_eq!(memory.recall(&ids(&["a"])), Recalled::Ambiguous(SpaceFrom::Trace));
        pass(60).await;
        assert_eq!(memory.recall(&ids(&["a"])), Recalled::Ambiguous(SpaceFrom::Trace), "one is still there");
        drop(one);
        pass(5).await;
        let _new = memory.enter(Some(&space("other")), ids(&["a"]), &settings());
        assert_eq!(memory.recall(&ids(&["a"])), known("other", SpaceFrom::Trace), "a new beginning");
        let _plain = memory.enter(None, ids(&["a"]), &settings());
        assert_eq!(memory.recall(&ids(&["a"])), Recalled::Ambiguous(SpaceFrom::Trace), "none is another one");
    });
}

#[test]
fn ids_that_disagree_are_ambiguous_and_one_without_a_space_says_so() {
    play(async || {
        let memory = Memory::new(PropagateMode::SingleFlight);
        let _user = memory.enter(Some(&space("user")), ids(&["u"]), &settings());
        assert_eq!(memory.recall(&ids(&["unknown"])), known("user", SpaceFrom::Flight));
        let _other = memory.enter(Some(&space("other")), ids(&["o"]), &settings());
        let _plain = memory.enter(None, ids(&["p"]), &settings());
        assert_eq!(memory.recall(&ids(&["u", "o"])), Recalled::Ambiguous(SpaceFrom::Trace));
        assert_eq!(memory.recall(&ids(&["u", "p"])), Recalled::Ambiguous(SpaceFrom::Trace));
        assert_eq!(memory.recall(&ids(&["p"])), Recalled::Unknown, "it belongs to a request without one");
        assert_eq!(memory.recall(&ids(&["u"])), known("user", SpaceFrom::Trace), "an id tells more than the flight");
    });
}

#[test]
fn what_is_remembered_is_bounded_and_what_is_in_flight_stays() {
    play(async || {
        let memory = Memory::new(PropagateMode::Trace);
        let few = Propagate { max_traces: 2, ..settings() };
        let enter = |id: &str| memory.enter(Some(&space("user")), ids(&[id]), &few);
        let first = enter("a");
        drop(enter("b"));
        let third = enter("c");
        assert_eq!(memory.recall(&ids(&["b"])), Recalled::Unknown, "the one that had ended made room");
        let fourth = enter("d");
        assert!(fourth.found_no_room() && !third.found_no_room());
        assert_eq!((memory.recall(&ids(&["d"])), memory.traces()), (Recalled::Unknown, 2));
        drop(fourth);
        for id in ["a", "c"] {
            assert_eq!(memory.recall(&ids(&[id])), known("user", SpaceFrom::Trace), "{id}");
        }
        drop((first, third));
        for round in 0..1000 {
            drop(enter(&format!("r{round}")));
            drop(enter(&format!("r{}", round / 2)));
        }
        assert_eq!(memory.traces(), 2);
        pass(5).await;
        assert_eq!(memory.recall(&ids(&["r999"])), Recalled::Unknown);
        assert_eq!(memory.traces(), 0, "all is forgotten");
    });
}

#[test]
fn a_single_flight_answers_only_while_all_requests_have_one_space() {
    play(async || {
        let memory = Memory::new(PropagateMode::SingleFlight);
        let enter = |name: Option<&str>| memory.enter(name.map(space).as_ref(), ids(&[]), &settings());
        let recall = || memory.recall(&ids(&[]));
        assert_eq!(recall(), Recalled::Unknown);
        let (one, two) = (enter(Some("user")), enter(Some("user")));
        assert_eq!(recall(), known("user", SpaceFrom::Flight));
        let other = enter(Some("other"));
        assert_eq!(recall(), Recalled::Ambiguous(SpaceFrom::Flight));
        drop(one);
        assert_eq!(recall(), Recalled::Ambiguous(SpaceFrom::Flight));
        drop(other);
        assert_eq!(recall(), known("user", SpaceFrom::Flight));
        let plain = enter(None);
        assert_eq!(recall(), Recalled::Ambiguous(SpaceFrom::Flight), "it could belong to that one");
        drop(two);
        assert_eq!(recall(), Recalled::Unknown, "only such without a space");
        drop(plain);
        assert_eq!(recall(), Recalled::Unknown, "no grace: nothing is in flight");
    });
}

#[test]
fn the_mode_says_what_counts_and_can_change_under_requests() {
    play(async || {
        let off = Memory::new(PropagateMode::Off);
        let entered = off.enter(Some(&space("user")), ids(&["a"]), &settings());
        assert_eq!((off.recall(&ids(&["a"])), off.traces()), (Recalled::Unknown, 0));
        off.set_mode(PropagateMode::SingleFlight);
        drop(entered);
        let entered = off.enter(Some(&space("user")), ids(&["a"]), &settings());
        off.set_mode(PropagateMode::Trace);
        assert_eq!(off.recall(&ids(&[])), Recalled::Unknown, "trace asks for an id");
        drop(entered);
        off.set_mode(PropagateMode::SingleFlight);
        assert_eq!(off.recall(&ids(&[])), Recalled::Unknown, "what came is gone");
    });
}

#[test]
fn a_request_is_expected_only_where_nobody_else_tells_of_it() {
    play(async || {
        let (trace, all) = (Memory::new(PropagateMode::Trace), Memory::new(PropagateMode::SingleFlight));
        let mut entered = Entered::default();
        for memory in [&trace, &all] {
            entered.expect(memory, Some(&space("user")), ids(&["a"]), &settings());
        }
        assert_eq!(trace.recall(&ids(&["a"])), known("user", SpaceFrom::Trace));
        assert_eq!(all.recall(&ids(&["a"])), Recalled::Unknown, "it will see the request itself");
        assert_eq!(trace.recall(&ids(&["b"])), Recalled::Unknown);
    });
}

#[test]
fn memories_are_apart() {
    play(async || {
        let (one, other) = (Memory::new(PropagateMode::Trace), Memory::new(PropagateMode::Trace));
        let _entered = one.enter(Some(&space("user")), ids(&["a"]), &settings());
        assert_eq!(other.recall(&ids(&["a"])), Recalled::Unknown);
    });
}
