//! Where records meet: workers publish, the admin socket reads the recent ones and follows the new ones.
//!
//! One ring holds the latest records; readers copy a few pointers at a time out of it, so a worker waits for nothing but
//! that. Followers have a position in the ring and no queue of their own: one that is too slow finds that its position
//! has been overwritten, and is told how many records it lost. Must not serialise, and must not call out under the lock.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{Filter, Record};

/// Records that are looked at in one go under the lock.
const BATCH: usize = 256;

/// The latest flow records.
#[derive(Debug)]
pub struct Hub {
    capacity: usize,
    ring: Mutex<Ring>,
    wake: Notify,
    followers: AtomicUsize,
    lost: AtomicU64,
    connections: AtomicU64,
    requests: AtomicU64,
}

#[derive(Debug)]
struct Ring {
    records: VecDeque<Arc<Record>>,
    /// Records ever published: the sequence number of the next one.
    published: u64,
}

impl Ring {
    /// The sequence number of the oldest record that is still there.
    fn oldest(&self) -> u64 {
        self.published - self.records.len() as u64
    }

    /// Up to [`BATCH`] records from `from` on, but none at or after `until`.
    fn copy(&self, from: u64, until: u64) -> Vec<Arc<Record>> {
        let skip = usize::try_from(from.saturating_sub(self.oldest())).unwrap_or(usize::MAX);
        let want = usize::try_from(until.saturating_sub(from)).unwrap_or(usize::MAX).min(BATCH);
        self.records.iter().skip(skip).take(want).cloned().collect()
    }
}

impl Hub {
    /// A hub that keeps that many records, at least one.
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.max(1);
        Self {
            capacity,
            ring: Mutex::new(Ring { records: VecDeque::with_capacity(capacity), published: 0 }),
            wake: Notify::new(),
            followers: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
            connections: AtomicU64::new(1),
            requests: AtomicU64::new(1),
        }
    }

    /// An identifier for a new connection.
    pub fn next_connection_id(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    /// An identifier for a new request.
    pub fn next_request_id(&self) -> u64 {
        self.requests.fetch_add(1, Ordering::Relaxed)
    }

    /// Adds a record; the oldest makes room for it.
    pub fn publish(&self, record: Record) {
        let record = Arc::new(record);
        let mut ring = self.ring();
        // Taken out first: a full ring never grows, and the old record is freed after the lock is.
        let dropped = if ring.records.len() >= self.capacity { ring.records.pop_front() } else { None };
        ring.records.push_back(record);
        ring.published += 1;
        drop(ring);
        drop(dropped);
        // A follower counts itself before it first takes the lock, so one that missed this record is seen here.
        if self.followers.load(Ordering::Relaxed) > 0 {
            self.wake.notify_waiters();
        }
    }

    /// The latest records that match, oldest first, at most `last`.
    pub fn recent(&self, filter: &Filter, last: usize) -> Vec<Arc<Record>> {
        let mut found = Vec::new();
        self.backwards(filter, last, |_, record| found.push(record));
        found.reverse();
        found
    }

    /// Follows what is published from now on, after the latest `last` records that are there already.
    pub fn follow(self: &Arc<Self>, filter: Filter, last: usize) -> Follower {
        self.followers.fetch_add(1, Ordering::Relaxed);
        let mut next = self.published();
        self.backwards(&filter, last, |sequence, _| next = sequence);
        Follower { hub: Arc::clone(self), filter, next, ready: VecDeque::new() }
    }

    /// Records ever published.
    pub fn published(&self) -> u64 {
        self.ring().published
    }

    /// Records that are kept now.
    pub fn kept(&self) -> usize {
        self.ring().records.len()
    }

    /// Records that are kept at most.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Records that followers missed, in all.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Followers there are now.
    pub fn followers(&self) -> usize {
        self.followers.load(Ordering::Relaxed)
    }

    /// Shows up to `last` matching records, the newest first, with their sequence numbers.
    fn backwards(&self, filter: &Filter, last: usize, mut found: impl FnMut(u64, Arc<Record>)) {
        let mut left = last;
        let mut until = self.published();
        while left > 0 {
            let (from, batch) = {
                let ring = self.ring();
                let from = until.saturating_sub(BATCH as u64).max(ring.oldest());
                (from, ring.copy(from, until))
            };
            if from >= until {
                return;
            }
            let newest_first = (from..until).rev().zip(batch.into_iter().rev());
            for (sequence, record) in newest_first.filter(|(_, record)| filter.matches(record)).take(left) {
                found(sequence, record);
                left -= 1;
            }
            until = from;
        }
    }

    /// The lock holds no state that a panic could leave half done.
    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads records as they are published. Dropping it ends that.
#[derive(Debug)]
pub struct Follower {
    hub: Arc<Hub>,
    filter: Filter,
    /// The sequence number of the next record to look at.
    next: u64,
    /// Matching records that were copied out already.
    ready: VecDeque<Arc<Record>>,
}

/// What a follower sees.
#[derive(Debug, Clone)]
pub enum Followed {
    /// A record that matches.
    Record(Arc<Record>),
    /// So many records (matching or not) were overwritten before this follower came to them.
    Lost(u64),
}

impl Follower {
    /// The next thing to see; waits for it. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Followed {
        loop {
            if let Some(followed) = self.try_next() {
                return followed;
            }
            let hub = Arc::clone(&self.hub);
            let mut woken = std::pin::pin!(hub.wake.notified());
            // Enlisted before the second look: what is published in between wakes it.
            woken.as_mut().enable();
            if let Some(followed) = self.try_next() {
                return followed;
            }
            woken.await;
        }
    }

    /// The next thing to see, if it is there.
    pub fn try_next(&mut self) -> Option<Followed> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                return Some(Followed::Record(record));
            }
            let batch = {
                let ring = self.hub.ring();
                let oldest = ring.oldest();
                if self.next < oldest {
                    let lost = oldest - self.next;
                    self.next = oldest;
                    self.hub.lost.fetch_add(lost, Ordering::Relaxed);
                    return Some(Followed::Lost(lost));
                }
                ring.copy(self.next, ring.published)
            };
            if batch.is_empty() {
                return None;
            }
            self.next += batch.len() as u64;
            self.ready.extend(batch.into_iter().filter(|record| self.filter.matches(record)));
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.hub.followers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
