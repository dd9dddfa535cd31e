//! A link between two places whose every packet takes its time, overtakes others or is lost, as the test says.
//!
//! What `tc netem` does, for kernels without it: two TUN devices, and a thread that carries packets from one to the other.
//! Random numbers are the same in every run.

use std::collections::BinaryHeap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::place::Place;
use crate::tun::Tun;

/// How often the thread looks for packets: how precise a delay is.
const LOOK: Duration = Duration::from_micros(300);

/// What becomes of packets, each way.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quality {
    /// How long each takes at least.
    pub delay: Duration,
    /// How much longer at most; packets overtake each other where it varies.
    pub jitter: Duration,
    /// Of a thousand so many are lost.
    pub lost: u64,
}

/// What has become of packets, both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// Those that arrived.
    pub arrived: u64,
    /// Those that were lost.
    pub lost: u64,
    /// Those that arrived before one that had been sent earlier the same way.
    pub overtook: u64,
}

/// A link; dropping it takes both devices away.
#[derive(Debug)]
pub struct Link {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    over: AtomicBool,
    arrived: AtomicU64,
    lost: AtomicU64,
    overtook: AtomicU64,
}

impl Link {
    /// Puts the device `name` into both places, with `ends` of one net of 24 bits.
    pub fn between(
        one: &Place,
        other: &Place,
        name: &str,
        ends: (Ipv4Addr, Ipv4Addr),
        quality: Quality,
    ) -> Result<Link> {
        let (one, other) = (one.tun(name, &format!("{}/24", ends.0))?, other.tun(name, &format!("{}/24", ends.1))?);
        let shared = Arc::<Shared>::default();
        let carrier = Carrier { shared: Arc::clone(&shared), quality, random: 0x9e37_79b9_7f4a_7c15, sent: 0 };
        let thread = thread::Builder::new().name("link".to_owned()).spawn(move || carrier.run(one, other));
        Ok(Link { shared, thread: Some(thread.context("starting the thread of a link")?) })
    }

    /// What has become of packets so far.
    pub fn carried(&self) -> Carried {
        let Shared { arrived, lost, overtook, .. } = &*self.shared;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Carried { arrived: count(arrived), lost: count(lost), overtook: count(overtook) }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// A packet under way; the greatest is the next to arrive.
#[derive(Debug, PartialEq, Eq)]
struct Packet {
    due: Instant,
    number: u64,
    bytes: Vec<u8>,
}

impl Ord for Packet {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.due, other.number).cmp(&(self.due, self.number))
    }
}

impl PartialOrd for Packet {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The thread that carries.
struct Carrier {
    shared: Arc<Shared>,
    quality: Quality,
    random: u64,
    sent: u64,
}

/// One direction of the link.
struct Direction {
    from: usize,
    to: usize,
    under_way: BinaryHeap<Packet>,
}

impl Carrier {
    fn run(mut self, one: Tun, other: Tun) {
        let mut ends = [one, other];
        let way = |from, to| Direction { from, to, under_way: BinaryHeap::new() };
        let mut ways = [way(0, 1), way(1, 0)];
        while !self.shared.over.load(Ordering::Relaxed) {
            for way in &mut ways {
                // A device that is gone ends with its place; so does the test.
                while let Ok(Some(bytes)) = ends[way.from].waiting() {
                    way.under_way.extend(self.take(bytes));
                }
                while way.under_way.peek().is_some_and(|packet| packet.due <= Instant::now()) {
                    if let Some(packet) = way.under_way.pop() {
                        ends[way.to].send(&packet.bytes).ok();
                        self.shared.arrived.fetch_add(1, Ordering::Relaxed);
                        let overtook = u64::from(way.under_way.iter().any(|late| late.number < packet.number));
                        self.shared.overtook.fetch_add(overtook, Ordering::Relaxed);
                    }
                }
            }
            thread::sleep(LOOK);
        }
    }

    /// The packet with its time, if it is not lost.
    fn take(&mut self, bytes: Vec<u8>) -> Option<Packet> {
        if self.below(1000) < self.quality.lost {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let jitter = u64::try_from(self.quality.jitter.as_micros()).unwrap_or(u64::MAX);
        let wait = self.quality.delay + Duration::from_micros(self.below(jitter.saturating_add(1)));
        self.sent += 1;
        Some(Packet { due: Instant::now() + wait, number: self.sent, bytes })
    }

    /// A random number below that (xorshift64*).
    fn below(&mut self, end: u64) -> u64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end.max(1)
    }
}
