//! Upstream connections whose client has left, kept for a moment for the next client of the same workload.
//!
//! Programs that open a connection per request would otherwise pay for two handshakes each time. `http1` leaves
//! connections here when a client ends between requests, and takes one only for a request that can be repeated: the
//! server may be leaving at this moment. Of one worker, without locks. Never across workloads, never inbound (the real
//! client's address belongs to the connection), never a connection that carries somebody's credentials.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::time::Instant;

use crate::net::budget::Spare;
use crate::proxy::connect::Upstream;

/// How long a connection waits for its next client. Shorter than the keep-alive of common servers (gunicorn: 2 s), so
/// that they rarely leave first, and short for servers to which an idle connection is a busy process.
const WAIT: Duration = Duration::from_secs(1);

/// Connections that wait for clients at one place; more callers than that at a time dial.
const WAITING: usize = 64;

/// Clients that a connection serves before it is closed: what balances connections over endpoints (kube-proxy, the CNI)
/// keeps its say.
const CLIENTS: u32 = 32;

/// Waiting connections by where they lead.
#[derive(Default)]
pub struct Inherited {
    waiting: RefCell<HashMap<Place, Vec<Waiting>>>,
}

/// The workload, by the cookie of its namespace, and the address that was dialled.
type Place = (u64, SocketAddr);

struct Waiting {
    upstream: Upstream,
    since: Instant,
    /// For its descriptor, as it is no client's.
    _spare: Spare,
}

impl Inherited {
    /// Leaves a connection that carries nothing at the moment. It is closed where enough wait already.
    pub(super) fn leave(&self, workload: u64, mut upstream: Upstream, spare: Spare) {
        upstream.clients += 1;
        if upstream.clients >= CLIENTS {
            return;
        }
        let mut all = self.waiting.borrow_mut();
        let here = all.entry((workload, upstream.address)).or_default();
        if here.len() < WAITING {
            here.push(Waiting { upstream, since: Instant::now(), _spare: spare });
        }
    }

    /// The connection to that address that was left last and that its server has not closed, as far as is known.
    pub(super) fn take(&self, workload: u64, address: SocketAddr) -> Option<Upstream> {
        let mut all = self.waiting.borrow_mut();
        let here = all.get_mut(&(workload, address))?;
        let mut cx = Context::from_waker(Waker::noop());
        while let Some(Waiting { mut upstream, .. }) = here.pop() {
            // Bytes that nobody asked for are as good as an end.
            if upstream.side.poll_fill(&mut cx).is_pending() {
                return Some(upstream);
            }
        }
        None
    }

    /// Closes what has waited for long enough by `now`. Called by the worker a few times a second.
    pub fn expire(&self, now: Instant) {
        let mut all = self.waiting.borrow_mut();
        if all.is_empty() {
            return;
        }
        all.retain(|_, here| {
            here.retain(|waiting| now.duration_since(waiting.since) < WAIT);
            !here.is_empty()
        });
    }
}
