//! What every connection of one worker shares.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::drain::Drain;
use super::http1::Inherited;
use super::refuse::Refusals;
use super::shortage::Shortage;
use crate::captured::Destinations;
use crate::config::Proxy;
use crate::flow::{Hub, Record};
use crate::kernel::KernelSide;
use crate::metrics::Metrics;
use crate::net::budget::Budget;
use crate::net::buffer::BufferPool;
use crate::propagate::Neighbours;
use crate::room::Room;
use crate::snapshot::Snapshot;

/// What every connection of one worker shares. Lives on the worker's thread.
pub struct Context {
    /// What requests are routed by.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Where records go.
    pub hub: Arc<Hub>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Original destinations by index.
    pub destinations: Arc<Destinations>,
    /// Places for connections, of all workers.
    pub room: Arc<Room>,
    /// What is held for peers that do not keep up.
    pub budget: Rc<Budget>,
    /// What is remembered of connections that found no place.
    pub refusals: Refusals,
    /// Bounds and deadlines.
    pub settings: Proxy,
    /// What the kernel's hooks are told of connections, and tell.
    pub kernel: RefCell<Box<dyn KernelSide>>,
    /// Spare buffers.
    pub buffers: BufferPool,
    /// Spreads requests over endpoints.
    pub turn: Cell<usize>,
    /// Destinations that spoke HTTP before.
    pub http: RefCell<HashSet<SocketAddr>>,
    /// True once the agent is ending: connections are to end when their streams have.
    pub stopping: watch::Receiver<bool>,
    /// The memories of this node's workloads by address.
    pub neighbours: Arc<Neighbours>,
    /// Upstream connections that wait for their next client.
    pub inherited: Inherited,
    /// Whether the agent is about to end.
    pub drain: Drain,
    /// Whether sockets cannot be made at the moment.
    pub shortage: Shortage,
}

/// Destinations that are remembered as HTTP; beyond that the memory starts anew.
const REMEMBER: usize = 16_384;

impl Context {
    /// The next turn in spreading requests over endpoints.
    pub fn next_turn(&self) -> usize {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        turn
    }

    /// Whether that destination spoke HTTP before.
    pub fn speaks_http(&self, destination: SocketAddr) -> bool {
        self.http.borrow().contains(&destination)
    }

    /// Remembers that a destination speaks HTTP, so that it is not dialled before the client has spoken.
    pub fn learn_http(&self, destination: SocketAddr) {
        let mut http = self.http.borrow_mut();
        if http.len() >= REMEMBER {
            http.clear();
        }
        http.insert(destination);
    }

    /// Counts a record and hands it to the hub.
    pub fn publish(&self, record: Record) {
        self.metrics.observe(&record);
        self.hub.publish(record);
    }
}
