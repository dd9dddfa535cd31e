//! The upstream connections that one client's connection holds open, by where they lead.

use std::net::SocketAddr;
use std::task::{Context, Poll};

use crate::proxy::connect::Upstream;

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
    idle: Vec<(Key, Upstream)>,
    /// The source of a connection that was dialled before anything was known: it has carried nothing yet.
    fresh: Option<SocketAddr>,
}

impl Upstreams {
    pub(super) fn new(dialled: Option<Upstream>) -> Self {
        let fresh = dialled.as_ref().map(|upstream| upstream.source);
        Self { idle: dialled.map(|upstream| (Key::Original, upstream)).into_iter().collect(), fresh }
    }

    /// An idle connection that leads there.
    pub(super) fn take(&mut self, key: Key) -> Option<Upstream> {
        let at = self.idle.iter().position(|(k, _)| *k == key)?;
        Some(self.idle.remove(at).1)
    }

    /// Whether a connection has carried a request before.
    pub(super) fn has_served(&mut self, upstream: &Upstream) -> bool {
        if self.fresh == Some(upstream.source) {
            self.fresh = None;
            return false;
        }
        true
    }

    /// Keeps a connection for the next request.
    pub(super) fn put(&mut self, key: Key, upstream: Upstream) {
        if self.idle.len() == KEEP {
            self.idle.remove(0);
        }
        self.idle.push((key, upstream));
    }

    /// Drops idle connections that their server has closed. True when the client's own connection should follow: the
    /// server that it was talking to last, at its original destination, has left.
    pub(super) fn poll_closed(&mut self, cx: &mut Context<'_>) -> bool {
        let last = self.idle.len().saturating_sub(1);
        let mut index = 0;
        let mut follow = false;
        self.idle.retain_mut(|(key, upstream)| {
            // Bytes without a request are as good as an end: nobody knows what they answer.
            let closed = matches!(upstream.side.poll_fill(cx), Poll::Ready(_));
            follow |= closed && index == last && *key == Key::Original;
            index += 1;
            !closed
        });
        follow
    }
}
