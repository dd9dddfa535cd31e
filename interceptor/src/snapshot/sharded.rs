//! A hash map in shards: a copy of it shares every shard with the original until it changes something there.
//!
//! What makes the next [`Snapshot`](super::Snapshot) cheap: copying the map costs one pointer a shard, a change costs one
//! shard. Lookups hash once, for shard and bucket.

use std::borrow::Borrow;
use std::hash::{BuildHasher as _, Hash};
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// With 100 000 entries a shard has 400, which are copied in a few microseconds.
const SHARDS: usize = 256;

/// A part of a map; copies of the map share it.
type Shard<K, V> = Arc<HashTable<(K, V)>>;

/// A map whose copies share what they have in common.
#[derive(Debug, Clone)]
pub(super) struct Sharded<K, V> {
    hasher: RandomState,
    shards: Box<[Shard<K, V>; SHARDS]>,
}

impl<K, V> Default for Sharded<K, V> {
    fn default() -> Self {
        let empty = Arc::default();
        Self { hasher: RandomState::default(), shards: Box::new(std::array::from_fn(|_| Arc::clone(&empty))) }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Sharded<K, V> {
    /// The value of a key.
    pub(super) fn get<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let hash = self.hasher.hash_one(key);
        let (_, value) = self.shards[shard_of(hash)].find(hash, |(known, _)| known.borrow() == key)?;
        Some(value)
    }

    /// Changes the value of a key, or gives it a first one.
    pub(super) fn upsert(&mut self, key: K, first: impl FnOnce() -> V, change: impl FnOnce(&mut V)) {
        let hash = self.hasher.hash_one(&key);
        let shard = Arc::make_mut(&mut self.shards[shard_of(hash)]);
        match shard.entry(hash, |(known, _)| *known == key, |(known, _)| self.hasher.hash_one(known)) {
            Entry::Occupied(mut held) => change(&mut held.get_mut().1),
            Entry::Vacant(place) => drop(place.insert((key, first()))),
        }
    }

    /// Changes the value of a key if it has one; `change` says whether to keep it.
    pub(super) fn change<Q: Hash + Eq + ?Sized>(&mut self, key: &Q, change: impl FnOnce(&mut V) -> bool)
    where
        K: Borrow<Q>,
    {
        let hash = self.hasher.hash_one(key);
        let shard = &mut self.shards[shard_of(hash)];
        // Looked up first: a shard is copied only for a change.
        if shard.find(hash, |(known, _)| known.borrow() == key).is_none() {
            return;
        }
        if let Ok(mut held) = Arc::make_mut(shard).find_entry(hash, |(known, _)| known.borrow() == key)
            && !change(&mut held.get_mut().1)
        {
            held.remove();
        }
    }

    /// Forgets a key.
    pub(super) fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.change(key, |_| false);
    }

    /// Everything, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter()).map(|(key, value)| (key, value))
    }
}

/// Bits that the table inside a shard uses neither for the bucket nor for its tag.
fn shard_of(hash: u64) -> usize {
    usize::from(hash.to_le_bytes()[4]) % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: u32) -> Sharded<u32, u32> {
        let mut map = Sharded::default();
        for number in 0..count {
            map.upsert(number, || number, |_| {});
        }
        map
    }

    #[test]
    fn a_copy_changes_by_itself() {
        let before = numbers(1000);
        let mut after = before.clone();
        after.upsert(7, || 0, |value| *value = 70);
        after.upsert(5000, || 5, |_| {});
        after.remove(&8);
        after.remove(&6000);
        assert_eq!((before.get(&7), before.get(&8), before.get(&5000)), (Some(&7), Some(&8), None));
        assert_eq!((after.get(&7), after.get(&8), after.get(&5000)), (Some(&70), None, Some(&5)));
        assert_eq!((before.iter().count(), after.iter().count()), (1000, 1000));
    }

    #[test]
    fn only_shards_that_change_are_copied() {
        let before = numbers(1000);
        let mut after = before.clone();
        after.remove(&6000);
        after.change(&6000, |_| false);
        let copied = |after: &Sharded<u32, u32>| {
            before.shards.iter().zip(after.shards.iter()).filter(|(a, b)| !Arc::ptr_eq(a, b)).count()
        };
        assert_eq!(copied(&after), 0, "nothing was there to be removed");
        after.upsert(1, || 0, |value| *value = 0);
        assert_eq!(copied(&after), 1);
    }

    #[test]
    fn keys_spread_over_all_shards() {
        let map = numbers(100_000);
        let (least, most) = map
            .shards
            .iter()
            .map(|shard| shard.len())
            .fold((usize::MAX, 0), |(least, most), len| (least.min(len), most.max(len)));
        assert!(least > 250 && most < 600, "{least} to {most} keys a shard");
    }
}
