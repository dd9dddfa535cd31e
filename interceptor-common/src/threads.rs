//! `propagate: thread`: which request of the agent's a thread of an application works on, as far as the kernel can tell.
//!
//! Pure, like [`policy`](crate::policy): the hooks ask it, userspace tests it. A thread works on the request that it read
//! last, until it begins to answer; a call that it begins meanwhile belongs to that request. Everything that could make
//! this a guess is told apart: a request that several threads read, a thread that leaves a request unanswered to read
//! another one (an event loop), a process that answers requests elsewhere than it read them (work that changes threads).

/// Requests that a thread began to answer and whose answer the agent had not seen whole, remembered at once. A thread
/// with more is not trusted any more.
pub const EARLIER: usize = 8;

/// [`Reading::mixes`]: it left a request unanswered and open to read another.
pub const MIXES: u32 = 1;
/// [`Reading::mixes`]: more than [`EARLIER`] answers were under way.
pub const CROWDED: u32 = 2;

/// A thread. Its start tells it from one that had the same number before.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Thread {
    /// `start_time` of its `task_struct`, nanoseconds.
    pub start: u64,
    /// Its number, in the first PID namespace.
    pub tid: u32,
    /// Its process's number.
    pub tgid: u32,
}

/// A request that the agent has given to an application and whose response it has not delivered. Key: the connection.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Its number in flow records, never 0.
    pub id: u64,
    /// What the agent had written to that connection before, bytes, modulo 2³².
    pub start: u32,
    /// Explicit padding.
    pub pad: u32,
}

/// An application's socket whose far end is the agent. Key: its cookie.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inbound {
    /// The agent's number of the connection.
    pub connection: u64,
    /// The last request that was read from it; 0: none.
    pub request: u64,
    /// The thread that read that request's first bytes.
    pub reader: Thread,
    /// The sequence number of the first byte that the agent writes.
    pub base: u32,
    /// 1: something was sent on it since it was last read.
    pub answered: u32,
    /// 1: more than one thread has read of that request.
    pub several: u32,
    /// 1: the application has ended its direction.
    pub left: u32,
}

/// A request as a thread's record names it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The agent's number of the connection.
    pub connection: u64,
    /// The request; 0: none.
    pub request: u64,
}

/// What a thread has read. Key: the thread.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The request that it read last.
    pub last: Mark,
    /// The cookie of the socket that it was read from.
    pub cookie: u64,
    /// 1: it has answered a request that it had read itself.
    pub answers: u32,
    /// [`MIXES`], [`CROWDED`] or 0.
    pub mixes: u32,
    /// Requests that it began to answer before it read the last one and that were still under way then.
    pub earlier: [Mark; EARLIER],
}

/// What the kernel says of a request on an application's connection to the agent. Key:
/// [`FactsKey`](crate::FactsKey).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The sequence number of the first byte that the application sends.
    pub base: u32,
    /// Where what was sent last begins, bytes from the connection's beginning, modulo 2³².
    pub at: u32,
    /// The sequence number up to which the application had received by then.
    pub received: u32,
    /// [`Origin`] of what begins at `at`.
    pub origin: u32,
    /// The request that it was made for, where the origin is [`Origin::Found`].
    pub request: u64,
    /// Requests that must be over for that to be so.
    pub earlier: [u64; EARLIER],
}

/// Where a call comes from.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nothing was sent.
    Unseen = 0,
    /// The request that the calling thread reads and has not begun to answer.
    Found = 1,
    /// The thread has no request under way: it works for itself, or for another thread.
    NoRequest = 2,
    /// It has begun to answer its request, so that it may be about something else.
    Answered = 3,
    /// Another thread has read of that request, too.
    SeveralThreads = 4,
    /// The thread leaves requests unanswered to read others: an event loop.
    SeveralRequests = 5,
    /// Its process does not keep a request on one thread.
    Process = 6,
}

impl Origin {
    /// From a map's word; what is not known counts as nothing seen.
    pub const fn from_word(word: u32) -> Self {
        match word {
            1 => Self::Found,
            2 => Self::NoRequest,
            3 => Self::Answered,
            4 => Self::SeveralThreads,
            5 => Self::SeveralRequests,
            6 => Self::Process,
            _ => Self::Unseen,
        }
    }
}

/// What the maps hold.
pub trait View {
    /// Whether that request is still the agent's on that connection.
    fn is_under_way(&self, mark: &Mark) -> bool;
    /// What is known of a socket; `None` once it is closed.
    fn inbound(&self, cookie: u64) -> Option<&Inbound>;
}

/// Notes that a thread has read from an application's socket, up to the sequence number `copied`, while the agent has a
/// `request` on that connection. True: its process does not keep requests on threads.
#[inline(always)]
pub fn read(
    view: &impl View,
    (thread, reading): (&Thread, &mut Reading),
    (cookie, inbound): (u64, &mut Inbound),
    copied: u32,
    request: &Request,
) -> bool {
    let position = copied.wrapping_sub(inbound.base);
    // What is left of an earlier request: the agent may not have begun to write this one.
    if position.wrapping_sub(request.start).cast_signed() <= 0 {
        return false;
    }
    if inbound.request != request.id {
        inbound.request = request.id;
        inbound.reader = *thread;
        inbound.several = 0;
    } else if inbound.reader != *thread {
        inbound.several = 1;
    }
    inbound.answered = 0;
    if reading.last.request != request.id {
        leave(view, reading);
        reading.last = Mark { connection: inbound.connection, request: request.id };
        reading.cookie = cookie;
    }
    reading.answers != 0 && reading.mixes & MIXES != 0
}

/// A thread turns from the request that it read last to another one.
#[inline(always)]
fn leave(view: &impl View, reading: &mut Reading) {
    let last = reading.last;
    if last.request == 0 || !view.is_under_way(&last) {
        return;
    }
    match view.inbound(reading.cookie) {
        // Closed, or of no further interest to the application: over, whatever the agent has still to deliver.
        None => {}
        Some(inbound) if inbound.left != 0 || inbound.request != last.request => {}
        Some(inbound) if inbound.answered == 0 => reading.mixes |= MIXES,
        Some(_) => remember(view, reading, last),
    }
}

#[inline(always)]
fn remember(view: &impl View, reading: &mut Reading, mark: Mark) {
    for earlier in &mut reading.earlier {
        if earlier.request == 0 || !view.is_under_way(earlier) {
            *earlier = mark;
            return;
        }
    }
    reading.mixes |= CROWDED;
}

/// Notes that a thread begins to send on an application's socket that was read since something was last sent. `own` is
/// what it has read, `reader` what the socket's reader has. True: its process does not keep requests on threads.
#[inline(always)]
pub fn answer(
    view: &impl View,
    (thread, own): (&Thread, Option<&mut Reading>),
    reader: Option<&Reading>,
    inbound: &mut Inbound,
) -> bool {
    if inbound.answered != 0 || inbound.request == 0 {
        return false;
    }
    if inbound.reader == *thread {
        inbound.answered = 1;
        let Some(own) = own else { return false };
        own.answers = 1;
        return own.mixes & MIXES != 0;
    }
    let unanswered = own.is_some_and(|own| {
        own.last.request != 0
            && own.last.request != inbound.request
            && view.is_under_way(&own.last)
            && view.inbound(own.cookie).is_some_and(|other| is_open(other, own.last.request) && other.answered == 0)
    });
    inbound.answered = 1;
    // Some servers have a thread that only reads and others that only answer: nothing is taken from a thread there that
    // works on a request. But a thread that answers what it reads does not hand over, unless work changes threads.
    let hands_over = inbound.several == 0 && reader.is_some_and(|reader| reader.answers != 0);
    unanswered || hands_over
}

/// Where what a thread begins to send to the agent comes from, into `call`. `mistrusted`: its process does not keep
/// requests on threads.
#[inline(always)]
pub fn call(view: &impl View, reading: Option<&Reading>, mistrusted: bool, call: &mut Call) {
    let origin = origin(view, reading, mistrusted);
    call.origin = origin as u32;
    call.request = 0;
    if let (Origin::Found, Some(reading)) = (origin, reading) {
        call.request = reading.last.request;
        for (to, mark) in call.earlier.iter_mut().zip(&reading.earlier) {
            *to = if mark.request != 0 && view.is_under_way(mark) { mark.request } else { 0 };
        }
    }
}

#[inline(always)]
fn origin(view: &impl View, reading: Option<&Reading>, mistrusted: bool) -> Origin {
    let Some(reading) = reading else { return Origin::NoRequest };
    if reading.last.request == 0 || !view.is_under_way(&reading.last) {
        return Origin::NoRequest;
    }
    if mistrusted {
        return Origin::Process;
    }
    if reading.mixes != 0 {
        return Origin::SeveralRequests;
    }
    match view.inbound(reading.cookie) {
        Some(inbound) if is_open(inbound, reading.last.request) => match (inbound.several, inbound.answered) {
            (0, 0) => Origin::Found,
            (0, _) => Origin::Answered,
            _ => Origin::SeveralThreads,
        },
        _ => Origin::NoRequest,
    }
}

#[inline(always)]
fn is_open(inbound: &Inbound, request: u64) -> bool {
    inbound.request == request && inbound.left == 0
}

#[cfg(test)]
mod tests;
