//! Read buffers, borrowed from the worker while bytes are under way: an idle connection holds none.

use std::cell::RefCell;
use std::rc::Rc;

use super::budget::{Account, Held};

/// The size of a pooled buffer: a request head with its cookies fits, and a body moves in few calls.
pub const BUFFER_SIZE: usize = 16 * 1024;

/// Buffers that are kept for the next connection; beyond that they are freed.
const KEEP: usize = 256;

/// A worker's spare buffers.
#[derive(Debug, Clone, Default)]
pub struct BufferPool {
    spare: Rc<RefCell<Vec<Box<[u8]>>>>,
}

impl BufferPool {
    fn take(&self) -> Box<[u8]> {
        let spare = self.spare.borrow_mut().pop();
        spare.unwrap_or_else(|| vec![0; BUFFER_SIZE].into_boxed_slice())
    }

    fn give(&self, buffer: Box<[u8]>) {
        let mut spare = self.spare.borrow_mut();
        if buffer.len() == BUFFER_SIZE && spare.len() < KEEP {
            spare.push(buffer);
        }
    }
}

/// Bytes that were read and not yet passed on.
#[derive(Debug)]
pub struct Buffer {
    pool: BufferPool,
    storage: Option<Box<[u8]>>,
    start: usize,
    end: usize,
    /// What it is larger than a pooled one.
    grown: Option<Held>,
}

impl Buffer {
    /// An empty buffer, which holds no memory.
    pub fn new(pool: &BufferPool) -> Self {
        Self { pool: pool.clone(), storage: None, start: 0, end: 0, grown: None }
    }

    /// What was read and not consumed.
    pub fn data(&self) -> &[u8] {
        self.storage.as_deref().and_then(|bytes| bytes.get(self.start..self.end)).unwrap_or_default()
    }

    /// How much was read and not consumed.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Drops bytes from the front. The memory goes back to the pool with the last one.
    pub fn consume(&mut self, count: usize) {
        self.start = self.end.min(self.start + count);
        if self.is_empty() {
            self.release();
        }
    }

    /// Gives the memory back if there is nothing in it.
    pub fn release(&mut self) {
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
            self.grown = None;
            if let Some(storage) = self.storage.take() {
                self.pool.give(storage);
            }
        }
    }

    /// Room for more bytes; empty when the buffer is full (see [`Buffer::grow`]).
    pub fn space(&mut self) -> &mut [u8] {
        let storage = self.storage.get_or_insert_with(|| self.pool.take());
        if self.end == storage.len() && self.start > 0 {
            storage.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        storage.get_mut(self.end..).unwrap_or_default()
    }

    /// Counts bytes that were put into [`Buffer::space`].
    pub fn filled(&mut self, count: usize) {
        let len = self.storage.as_ref().map_or(0, |bytes| bytes.len());
        self.end = len.min(self.end + count);
    }

    /// Whether not one more byte fits.
    pub fn is_full(&self) -> bool {
        self.storage.as_ref().is_some_and(|bytes| self.len() == bytes.len())
    }

    /// Makes a full buffer larger, for a head that does not fit; false where the workload holds too much already.
    #[must_use]
    pub fn grow(&mut self, limit: usize, account: &Rc<Account>) -> bool {
        let Some(storage) = self.storage.take() else { return true };
        let size = (storage.len() * 2).min(limit).max(storage.len());
        let more = size - BUFFER_SIZE.min(size);
        let grown = match &mut self.grown {
            Some(grown) => grown.set(more),
            grown => {
                *grown = account.hold(more);
                grown.is_some()
            }
        };
        if !grown {
            self.storage = Some(storage);
            return false;
        }
        let mut larger = vec![0; size].into_boxed_slice();
        let len = self.len();
        if let (Some(to), Some(from)) = (larger.get_mut(..len), storage.get(self.start..self.end)) {
            to.copy_from_slice(from);
        }
        (self.start, self.end) = (0, len);
        self.pool.give(storage);
        self.storage = Some(larger);
        true
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(storage) = self.storage.take() {
            self.pool.give(storage);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::budget::Budget;
    use super::*;

    fn put(buffer: &mut Buffer, bytes: &[u8]) {
        buffer.space()[..bytes.len()].copy_from_slice(bytes);
        buffer.filled(bytes.len());
    }

    #[test]
    fn an_empty_buffer_gives_its_memory_back() {
        let pool = BufferPool::default();
        let mut buffer = Buffer::new(&pool);
        put(&mut buffer, b"hello");
        assert_eq!(buffer.data(), b"hello");
        buffer.consume(2);
        assert_eq!(buffer.data(), b"llo");
        assert!(pool.spare.borrow().is_empty());
        buffer.consume(3);
        assert_eq!(pool.spare.borrow().len(), 1);
        assert!(buffer.data().is_empty());
    }

    #[test]
    fn a_full_buffer_makes_room_and_grows_to_the_limit() {
        let pool = BufferPool::default();
        let mut buffer = Buffer::new(&pool);
        put(&mut buffer, &[7; BUFFER_SIZE]);
        assert!(buffer.is_full() && buffer.space().is_empty());
        buffer.consume(10);
        assert_eq!(buffer.space().len(), 10);
        buffer.filled(10);
        let account = Rc::new(Budget::new(20, 0)).account(1);
        assert!(buffer.grow(BUFFER_SIZE + 5, &account));
        assert_eq!(buffer.space().len(), 5);
        assert_eq!((buffer.len(), account.room()), (BUFFER_SIZE, 15));
        buffer.filled(5);
        assert!(!buffer.grow(2 * BUFFER_SIZE, &account), "more than the workload may hold");
        assert_eq!(buffer.len(), BUFFER_SIZE + 5, "what is there stays");
        buffer.consume(BUFFER_SIZE + 5);
        assert_eq!(account.room(), 20);
    }
}
