//! Pseudo-random numbers and bytes from a seed (splitmix64): the same seed gives the same soak and the same bodies.
//!
//! Clients and servers make the bytes of a request's bodies from its id alone, so that each side knows what the other must
//! have sent, and the bytes of one request are never those of another.

/// A sequence of numbers.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` up to and without `high`.
    pub(crate) fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low).max(1)
    }

    /// The same as a length.
    pub(crate) fn length(&mut self, low: u64, high: u64) -> usize {
        usize::try_from(self.range(low, high)).unwrap_or_default()
    }

    /// True once in so many times.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.next().is_multiple_of(times.max(1))
    }

    /// One of several.
    pub(crate) fn pick<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        all.get(self.length(0, u64::try_from(all.len()).unwrap_or(u64::MAX)))
    }

    /// Another order.
    pub(crate) fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            all.swap(last, self.length(0, u64::try_from(last + 1).unwrap_or(u64::MAX)));
        }
    }
}

/// Bytes that belong to this seed.
pub(crate) fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut all = Vec::with_capacity(length + 8);
    while all.len() < length {
        all.extend_from_slice(&random.next().to_le_bytes());
    }
    all.truncate(length);
    all
}

/// A number that changes with every byte and its place.
pub(crate) fn sum(bytes: &[u8]) -> u64 {
    let mut all = 0xcbf2_9ce4_8422_2325_u64 ^ u64::try_from(bytes.len()).unwrap_or_default();
    for eight in bytes.chunks(8) {
        let mut word = [0; 8];
        word.iter_mut().zip(eight).for_each(|(to, from)| *to = *from);
        all = (all ^ u64::from_le_bytes(word)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(29);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_belong_to_their_seed_and_a_shorter_piece_is_a_beginning() {
        assert_eq!(bytes(7, 1000)[..100], bytes(7, 100));
        assert_ne!(bytes(7, 100), bytes(8, 100));
    }

    #[test]
    fn the_sum_sees_every_byte_and_its_place() {
        let right = bytes(1, 1001);
        for at in [0, 7, 8, 500, 1000] {
            let mut wrong = right.clone();
            wrong[at] ^= 1;
            assert_ne!(sum(&right), sum(&wrong), "{at}");
        }
        assert_ne!(sum(&right), sum(&right[..1000]));
        assert_ne!(sum(b"\0"), sum(b"\0\0"));
    }

    #[test]
    fn a_shuffle_loses_nothing() {
        let mut all: Vec<u32> = (0..50).collect();
        Random::new(3).shuffle(&mut all);
        assert_ne!(all, (0..50).collect::<Vec<_>>());
        all.sort_unstable();
        assert_eq!(all, (0..50).collect::<Vec<_>>());
    }
}
