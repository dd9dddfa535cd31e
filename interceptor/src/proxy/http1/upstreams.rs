//! The upstream connections that one client's connection holds open, by where they lead.

use std::future::Future as _;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::net::budget::Spare;
use crate::proxy::Connection;
use crate::proxy::connect::Upstream;
use crate::route::Direction;

/// Idle upstream connections of one client: one per space that its requests go to. Beyond that the oldest is closed.
const KEEP: usize = 4;

/// Where an upstream connection leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// The original destination, or the application of the pod.
    Original,
    /// An endpoint that the agent chose.
    Endpoint(SocketAddr),
}

/// Idle upstream connections, the latest last.
pub(super) struct Upstreams {
    idle: Vec<Idle>,
    /// The source of a connection that was dialled before anything was known: it has carried nothing yet.
    fresh: Option<SocketAddr>,
    timeout: Duration,
    /// Somebody's credentials belong to the connections: nobody inherits them.
    private: bool,
    /// For the descriptors of those beyond the first.
    spares: Vec<Spare>,
    /// Set only while a connection to another space's endpoint is idle.
    clock: Option<Pin<Box<Sleep>>>,
}

struct Idle {
    key: Key,
    upstream: Upstream,
    since: Instant,
}

impl Upstreams {
    /// With what was dialled already. `timeout` is for connections to other spaces' endpoints.
    pub(super) fn new(dialled: Option<Upstream>, timeout: Duration) -> Self {
        let fresh = dialled.as_ref().map(|upstream| upstream.source);
        let mut upstreams = Self { idle: Vec::new(), fresh, timeout, private: false, spares: Vec::new(), clock: None };
        if let Some(upstream) = dialled {
            upstreams.put(Key::Original, upstream);
        }
        upstreams
    }

    /// An idle connection that leads there.
    pub(super) fn take(&mut self, key: Key) -> Option<Upstream> {
        let at = self.idle.iter().position(|idle| idle.key == key)?;
        Some(self.idle.remove(at).upstream)
    }

    /// Whether a connection has carried a request before.
    pub(super) fn has_served(&mut self, upstream: &Upstream) -> bool {
        if self.fresh == Some(upstream.source) {
            self.fresh = None;
            return false;
        }
        true
    }

    /// A connection to there that another client of the workload has left.
    pub(super) fn inherit(&mut self, connection: &Connection, key: Key) -> Option<Upstream> {
        if self.private || connection.direction == Direction::Inbound {
            return None;
        }
        let address = match key {
            Key::Original => connection.original,
            Key::Endpoint(address) => address,
        };
        let inherited = connection.context.inherited.take(connection.workload.cookie, address)?;
        self.make_room(connection);
        Some(inherited)
    }

    /// Sees to it that there is a descriptor for one more connection beside the idle ones; where there is none to spare, the
    /// oldest of them is closed.
    pub(super) fn make_room(&mut self, connection: &Connection) {
        while self.spares.len() < self.idle.len() {
            match connection.context.budget.spare(1) {
                Some(spare) => self.spares.push(spare),
                None => drop(self.idle.remove(0)),
            }
        }
    }

    /// Nobody else goes on with these connections: what was said on them counts for who said it.
    pub(super) fn keep_to_ourselves(&mut self) {
        self.private = true;
    }

    /// Leaves the idle connections to the workload's next clients, as theirs has ended.
    pub(super) fn leave(&mut self, connection: &Connection) {
        if self.private || connection.direction == Direction::Inbound {
            return;
        }
        for Idle { upstream, .. } in self.idle.drain(..) {
            // What has carried nothing was never the server's to judge.
            if self.fresh != Some(upstream.source)
                && let Some(spare) = connection.context.budget.spare(1)
            {
                connection.context.inherited.leave(connection.workload.cookie, upstream, spare);
            }
        }
    }

    /// Keeps a connection for the next request.
    pub(super) fn put(&mut self, key: Key, upstream: Upstream) {
        if self.idle.len() == KEEP {
            self.idle.remove(0);
        }
        let since = Instant::now();
        if key != Key::Original && self.clock.is_none() {
            self.clock = Some(Box::pin(sleep_until(since + self.timeout)));
        }
        self.idle.push(Idle { key, upstream, since });
    }

    /// Drops idle connections that their server has closed, or that were idle for too long. True when the client's own
    /// connection should follow: the server that it was talking to last, at its original destination, has left.
    pub(super) fn poll_closed(&mut self, cx: &mut Context<'_>) -> bool {
        self.poll_clock(cx);
        let last = self.idle.len().saturating_sub(1);
        let mut index = 0;
        let mut follow = false;
        self.idle.retain_mut(|idle| {
            // Bytes without a request are as good as an end: nobody knows what they answer.
            let closed = idle.upstream.side.poll_fill(cx).is_ready();
            follow |= closed && index == last && idle.key == Key::Original;
            index += 1;
            !closed
        });
        follow
    }

    fn poll_clock(&mut self, cx: &mut Context<'_>) {
        while let Some(clock) = &mut self.clock
            && clock.as_mut().poll(cx).is_ready()
        {
            let now = Instant::now();
            self.idle.retain(|idle| idle.key == Key::Original || idle.since + self.timeout > now);
            let oldest = self.idle.iter().filter(|idle| idle.key != Key::Original).map(|idle| idle.since).min();
            match oldest {
                Some(since) => clock.as_mut().reset(since + self.timeout),
                None => self.clock = None,
            }
        }
    }
}
