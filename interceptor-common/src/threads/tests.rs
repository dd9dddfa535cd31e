//! The rules as applications would meet them: who reads, answers and calls, in which order.

extern crate std;

use std::collections::HashMap;

use super::*;

const ONE: Thread = Thread { start: 1, tid: 11, tgid: 10 };
const TWO: Thread = Thread { start: 2, tid: 12, tgid: 10 };

/// What the maps would hold. A connection has the number of its socket's cookie, and every request 100 bytes.
#[derive(Default)]
struct World {
    requests: HashMap<u64, Request>,
    sockets: HashMap<u64, Inbound>,
    readings: HashMap<Thread, Reading>,
    mistrusted: bool,
}

impl View for World {
    fn is_under_way(&self, mark: &Mark) -> bool {
        self.requests.get(&mark.connection).is_some_and(|request| request.id == mark.request)
    }
    fn inbound(&self, cookie: u64) -> Option<&Inbound> {
        self.sockets.get(&cookie)
    }
}

impl World {
    /// The agent gives the application a request on that connection, the `nth` on it.
    fn give(&mut self, socket: u64, id: u64, nth: u32) {
        self.requests.insert(socket, Request { id, start: nth * 100, pad: 0 });
        let base = u32::MAX - 50;
        self.sockets.entry(socket).or_insert(Inbound { connection: socket, base, ..Inbound::default() });
    }

    /// The agent has delivered the response.
    fn delivered(&mut self, socket: u64) {
        self.requests.remove(&socket);
    }

    /// A thread reads up to that byte of the connection.
    fn reads(&mut self, thread: Thread, socket: u64, position: u32) {
        let Some(request) = self.requests.get(&socket).copied() else { return };
        let mut inbound = self.sockets[&socket];
        let mut reading = self.readings.get(&thread).copied().unwrap_or_default();
        let copied = inbound.base.wrapping_add(position);
        self.mistrusted |= read(self, (&thread, &mut reading), (socket, &mut inbound), copied, &request);
        self.sockets.insert(socket, inbound);
        self.readings.insert(thread, reading);
    }

    fn answers(&mut self, thread: Thread, socket: u64) {
        let mut inbound = self.sockets[&socket];
        let mut own = self.readings.get(&thread).copied();
        let reader = self.readings.get(&inbound.reader).copied();
        self.mistrusted |= answer(self, (&thread, own.as_mut()), reader.as_ref(), &mut inbound);
        self.sockets.insert(socket, inbound);
        own.map(|own| self.readings.insert(thread, own));
    }

    fn calls(&self, thread: Thread) -> (Origin, u64) {
        let mut made = Call { request: 99, earlier: [99; EARLIER], ..Call::default() };
        call(self, self.readings.get(&thread), self.mistrusted, &mut made);
        (Origin::from_word(made.origin), made.request)
    }
}

#[test]
fn a_call_belongs_to_the_request_that_its_thread_reads_until_it_answers() {
    let mut world = World::default();
    assert_eq!(world.calls(ONE), (Origin::NoRequest, 0));
    world.give(1, 7, 0);
    assert_eq!(world.calls(ONE), (Origin::NoRequest, 0), "not read yet");
    world.reads(ONE, 1, 100);
    assert_eq!(world.calls(ONE), (Origin::Found, 7));
    assert_eq!(world.calls(TWO), (Origin::NoRequest, 0), "another thread");
    world.answers(ONE, 1);
    assert_eq!(world.calls(ONE), (Origin::Answered, 0));
    world.delivered(1);
    assert_eq!(world.calls(ONE), (Origin::NoRequest, 0));
    assert!(!world.mistrusted);
}

#[test]
fn threads_that_each_have_a_request_call_for_their_own() {
    let mut world = World::default();
    world.give(1, 7, 0);
    world.give(2, 8, 0);
    world.reads(ONE, 1, 100);
    world.reads(TWO, 2, 100);
    assert_eq!((world.calls(ONE), world.calls(TWO)), ((Origin::Found, 7), (Origin::Found, 8)));
}

#[test]
fn what_is_left_of_an_earlier_request_is_not_the_next_one() {
    let mut world = World::default();
    world.give(1, 7, 0);
    world.reads(ONE, 1, 60);
    world.answers(ONE, 1);
    world.delivered(1);
    // An early answer: 40 bytes of the first are still there when the second one comes.
    world.give(1, 8, 1);
    world.reads(ONE, 1, 100);
    assert_eq!(world.calls(ONE), (Origin::NoRequest, 0));
    world.reads(TWO, 1, 101);
    assert_eq!((world.calls(ONE), world.calls(TWO)), ((Origin::NoRequest, 0), (Origin::Found, 8)));
}

#[test]
fn a_body_that_is_read_later_keeps_its_request_and_a_continue_is_no_answer() {
    let mut world = World::default();
    world.give(1, 7, 0);
    world.reads(ONE, 1, 40);
    world.answers(ONE, 1);
    world.reads(ONE, 1, 100);
    assert_eq!(world.calls(ONE), (Origin::Found, 7));
}

#[test]
fn a_request_that_two_threads_read_belongs_to_neither() {
    let mut world = World::default();
    world.give(1, 7, 0);
    world.reads(ONE, 1, 40);
    world.reads(TWO, 1, 100);
    assert_eq!((world.calls(ONE).0, world.calls(TWO).0), (Origin::SeveralThreads, Origin::SeveralThreads));
    // The next one on that connection is its reader's alone.
    world.answers(TWO, 1);
    world.delivered(1);
    world.give(1, 8, 1);
    world.reads(TWO, 1, 200);
    assert_eq!(world.calls(TWO), (Origin::Found, 8));
    assert!(!world.mistrusted);
}

#[test]
fn a_thread_that_leaves_a_request_unanswered_for_another_is_not_believed_any_more() {
    let mut world = World::default();
    world.give(1, 7, 0);
    world.give(2, 8, 0);
    world.reads(ONE, 1, 100);
    world.reads(ONE, 2, 100);
    assert_eq!(world.calls(ONE), (Origin::SeveralRequests, 0));
    assert!(!world.mistrusted, "it may only read for others");
    world.answers(ONE, 1);
    assert!(world.mistrusted, "it answers: an event loop, and its process may have more of them");
    world.delivered(1);
    world.delivered(2);
    world.give(3, 9, 0);
    world.reads(ONE, 3, 100);
    world.give(4, 10, 0);
    world.reads(TWO, 4, 100);
    assert_eq!((world.calls(ONE).0, world.calls(TWO).0), (Origin::Process, Origin::Process));
}

#[test]
fn a_thread_that_only_reads_for_others_takes_nothing_from_them() {
    let mut world = World::default();
    // ONE reads what comes on idle connections and hands it over; TWO answers, and reads new connections itself.
    world.give(1, 7, 0);
    world.give(2, 8, 0);
    world.reads(ONE, 1, 100);
    world.reads(ONE, 2, 100);
    world.answers(TWO, 1);
    world.delivered(1);
    assert_eq!(world.calls(TWO).0, Origin::NoRequest);
    world.give(3, 9, 0);
    world.reads(TWO, 3, 100);
    assert_eq!(world.calls(TWO), (Origin::Found, 9));
    assert!(!world.mistrusted);
}

#[test]
fn answers_from_a_thread_that_has_its_own_request_show_that_work_changes_threads() {
    let mut world = World::default();
    world.give(1, 7, 0);
    world.give(2, 8, 0);
    world.reads(ONE, 1, 100);
    world.reads(TWO, 2, 100);
    world.answers(TWO, 1);
    assert!(world.mistrusted);
    assert_eq!(world.calls(TWO).0, Origin::Process);
}

#[test]
fn so_does_handing_over_by_a_thread_that_answers_what_it_reads() {
    let mut world = World::default();
    world.give(1, 7, 0);
    world.reads(ONE, 1, 100);
    world.answers(ONE, 1);
    world.delivered(1);
    world.give(1, 8, 1);
    world.reads(ONE, 1, 200);
    assert!(!world.mistrusted);
    world.answers(TWO, 1);
    assert!(world.mistrusted);
}

#[test]
fn an_answer_still_on_its_way_has_to_arrive_before_the_next_call_is_believed() {
    let mut world = World::default();
    world.give(1, 7, 0);
    world.reads(ONE, 1, 100);
    world.answers(ONE, 1);
    world.give(2, 8, 0);
    world.reads(ONE, 2, 100);
    let mut made = Call::default();
    call(&world, world.readings.get(&ONE), false, &mut made);
    assert_eq!((Origin::from_word(made.origin), made.request), (Origin::Found, 8));
    assert_eq!(made.earlier.iter().filter(|earlier| **earlier != 0).collect::<std::vec::Vec<_>>(), [&7]);
    world.delivered(1);
    call(&world, world.readings.get(&ONE), false, &mut made);
    assert_eq!(made.earlier, [0; EARLIER]);
}

#[test]
fn a_connection_that_the_application_has_closed_is_over_at_once() {
    for gone in [false, true] {
        let mut world = World::default();
        world.give(1, 7, 0);
        world.reads(ONE, 1, 100);
        // Unanswered: its client has left.
        if gone {
            world.sockets.remove(&1);
        } else if let Some(socket) = world.sockets.get_mut(&1) {
            socket.left = 1;
        }
        assert_eq!(world.calls(ONE).0, Origin::NoRequest);
        world.give(2, 8, 0);
        world.reads(ONE, 2, 100);
        assert_eq!(world.calls(ONE), (Origin::Found, 8), "gone: {gone}");
    }
}

#[test]
fn a_thread_with_too_many_answers_under_way_is_not_believed() {
    let mut world = World::default();
    for n in 0..u64::try_from(EARLIER).unwrap() + 2 {
        assert!(world.calls(ONE).0 != Origin::SeveralRequests, "{n}");
        world.give(n, n + 1, 0);
        world.reads(ONE, n, 100);
        world.answers(ONE, n);
    }
    assert_eq!(world.calls(ONE).0, Origin::SeveralRequests);
    assert!(!world.mistrusted);
}

#[test]
fn words_that_nobody_wrote_are_nothing_seen() {
    for origin in [
        Origin::Unseen,
        Origin::Found,
        Origin::NoRequest,
        Origin::Answered,
        Origin::SeveralThreads,
        Origin::SeveralRequests,
        Origin::Process,
    ] {
        assert_eq!(Origin::from_word(origin as u32), origin);
    }
    assert_eq!(Origin::from_word(7), Origin::Unseen);
}
