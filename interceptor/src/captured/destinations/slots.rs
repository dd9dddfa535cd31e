//! Addresses by number, read without a lock while one thread writes.
//!
//! Used by [`Destinations`](super::Destinations) alone. Chunks are made as they are needed and never move. A slot is
//! written again only when all are used; its sequence number tells a reader that looked in between to look once more.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use interceptor_common::{Address, Endpoint, NetPort};

/// Slots a chunk has.
const CHUNK: u32 = 1024;

/// All slots; those whose chunk was not needed yet take no room.
#[derive(Debug)]
pub(super) struct Slots {
    chunks: Box<[OnceLock<Box<[Slot]>>]>,
    capacity: u32,
}

/// A sequence lock around one address: odd while it is written, 0 before it was written at all.
#[derive(Debug, Default)]
struct Slot {
    sequence: AtomicU32,
    port: AtomicU32,
    address: [AtomicU64; 2],
}

impl Slots {
    pub(super) fn new(capacity: u32) -> Self {
        Self { chunks: (0..capacity.div_ceil(CHUNK)).map(|_| OnceLock::new()).collect(), capacity }
    }

    pub(super) fn capacity(&self) -> u32 {
        self.capacity
    }

    /// What a slot holds.
    pub(super) fn get(&self, number: u32) -> Option<Endpoint> {
        self.chunks.get((number / CHUNK) as usize)?.get()?.get((number % CHUNK) as usize)?.read()
    }

    /// Writes a slot. One thread at a time.
    pub(super) fn set(&self, number: u32, endpoint: Endpoint) {
        let Some(chunk) = self.chunks.get((number / CHUNK) as usize) else { return };
        let chunk = chunk.get_or_init(|| (0..CHUNK).map(|_| Slot::default()).collect());
        if let Some(slot) = chunk.get((number % CHUNK) as usize) {
            slot.write(endpoint);
        }
    }
}

impl Slot {
    fn read(&self) -> Option<Endpoint> {
        loop {
            let before = self.sequence.load(Ordering::Acquire);
            if before == 0 {
                return None;
            }
            let port = self.port.load(Ordering::Relaxed);
            let [high, low] = [0, 1].map(|half| self.address[half].load(Ordering::Relaxed));
            // The loads above come before the one below.
            fence(Ordering::Acquire);
            if before.is_multiple_of(2) && self.sequence.load(Ordering::Relaxed) == before {
                let address = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
                let port = NetPort::from_host(u16::try_from(port).unwrap_or_default());
                return Some(Endpoint::new(Address(address), port));
            }
            std::hint::spin_loop();
        }
    }

    fn write(&self, endpoint: Endpoint) {
        let before = self.sequence.load(Ordering::Relaxed);
        self.sequence.store(before.wrapping_add(1), Ordering::Relaxed);
        // Nothing of what follows is seen before the odd number is.
        fence(Ordering::Release);
        self.port.store(endpoint.port.to_host().into(), Ordering::Relaxed);
        let (high, low) = endpoint.address.0.split_at(8);
        for (half, bytes) in self.address.iter().zip([high, low]) {
            half.store(bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)), Ordering::Relaxed);
        }
        // 0 is "not written"; two billion writes later a slot holds something all the same.
        let after = before.wrapping_add(2);
        self.sequence.store(if after == 0 { 2 } else { after }, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        text.parse::<SocketAddr>().unwrap().into()
    }

    #[test]
    fn a_slot_holds_what_was_written_last() {
        let slots = Slots::new(CHUNK + 1);
        assert_eq!((slots.get(0), slots.get(CHUNK), slots.get(CHUNK * 2)), (None, None, None));
        for text in ["10.0.0.1:80", "[fd00::1]:65535", "[::ffff:10.1.2.3]:1"] {
            slots.set(CHUNK, endpoint(text));
            assert_eq!(slots.get(CHUNK), Some(endpoint(text)));
        }
        assert_eq!(slots.get(CHUNK + 1), None);
        slots.set(CHUNK * 2, endpoint("10.0.0.1:80"));
        assert_eq!(slots.get(CHUNK * 2), None, "beyond the last chunk nothing is kept");
    }

    #[test]
    fn a_reader_never_sees_half_of_one_address_and_half_of_another() {
        let (slots, over) = (Slots::new(1), AtomicBool::new(false));
        let both = [endpoint("[1111:1111:1111:1111:1111:1111:1111:1111]:1"), endpoint("[ffff::ffff]:65535")];
        slots.set(0, both[0]);
        std::thread::scope(|scope| {
            let readers = [0, 1].map(|_| {
                scope.spawn(|| {
                    let mut seen = [0_u32; 2];
                    while !over.load(Ordering::Relaxed) {
                        let found = slots.get(0).unwrap();
                        let which = both.iter().position(|one| *one == found);
                        seen[which.unwrap_or_else(|| panic!("{found:?} was never written"))] += 1;
                    }
                    seen
                })
            });
            for turn in 0..2_000_000 {
                slots.set(0, both[turn % 2]);
            }
            over.store(true, Ordering::Relaxed);
            for reader in readers {
                let seen = reader.join().unwrap();
                assert!(seen.iter().sum::<u32>() > 0);
            }
        });
    }
}
