//! One number for the layout and the meaning of what two agents hand to each other in the kernel: the maps that are shared.
//!
//! An agent takes over maps only from one with the same number. Sizes, capacities and the counters are in it by themselves;
//! what else changes the meaning of a map (the order of fields, a flag) must raise [`MEANING`].

use core::mem::size_of;

use crate::{Address, Client, ClientKey, Control, DnsKey, Endpoint, Facts, FactsKey, Workload, counters, names};

/// Raised by every change of a shared map that its sizes do not show.
const MEANING: usize = 1;

/// The number.
pub const ABI: u64 = hash(&[
    MEANING,
    counters::COUNT as usize,
    names::CAPTURE_CAPACITY as usize,
    names::WORKLOADS_CAPACITY as usize,
    names::INBOUND_CAPACITY as usize,
    names::LISTENING_CAPACITY as usize,
    names::PEERS_CAPACITY as usize,
    names::CLIENTS_CAPACITY as usize,
    names::DNS_CAPACITY as usize,
    names::FACTS_CAPACITY as usize,
    names::SHARED.len(),
    size_of::<Address>(),
    size_of::<Endpoint>(),
    size_of::<Workload>(),
    size_of::<ClientKey>(),
    size_of::<Client>(),
    size_of::<DnsKey>(),
    size_of::<Control>(),
    size_of::<FactsKey>(),
    size_of::<Facts>(),
]);

/// FNV-1a, 64 bits.
const fn hash(words: &[usize]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut at = 0;
    while at < words.len() {
        hash = (hash ^ words[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::hash;

    #[test]
    fn another_word_or_another_order_is_another_number() {
        assert_ne!(hash(&[1, 2]), hash(&[2, 1]));
        assert_ne!(hash(&[1, 2]), hash(&[1, 3]));
        assert_ne!(hash(&[1, 2]), hash(&[1, 2, 0]));
    }
}
