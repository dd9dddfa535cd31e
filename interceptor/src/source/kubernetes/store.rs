//! The objects of one kind as they are now, kept over lists that are made anew.
//!
//! [`World`](super::world::World) has one a kind. While a new list is read, what it has not named yet stays: an API server
//! that comes back takes nothing away before its list is complete.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::objects::{Key, Namespace, Pod, Service, Slice};
use crate::kubernetes::News;

/// An object that has a place.
pub(super) trait Keyed: PartialEq {
    /// Where it lies.
    fn key(&self) -> Key;
}

impl Keyed for Namespace {
    fn key(&self) -> Key {
        Key::new("", &self.name)
    }
}

macro_rules! keyed {
    ($($type:ty),*) => {$(
        impl Keyed for $type {
            fn key(&self) -> Key {
                self.key.clone()
            }
        }
    )*};
}

keyed!(Service, Slice, Pod);

/// Objects of one kind.
#[derive(Debug)]
pub(super) struct Store<T> {
    objects: BTreeMap<Key, T>,
    /// What the list that is being read has not named yet.
    unconfirmed: Option<BTreeSet<Key>>,
    complete: bool,
}

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), unconfirmed: None, complete: false }
    }
}

impl<T: Keyed> Store<T> {
    /// Takes what happened; `changed` is called with the object before and after, where that differs.
    pub(super) fn take(&mut self, news: News<T>, mut changed: impl FnMut(Option<&T>, Option<&T>)) {
        match news {
            News::Listing => self.unconfirmed = Some(self.objects.keys().cloned().collect()),
            News::Page(objects) => objects.into_iter().for_each(|object| self.put(object, &mut changed)),
            News::Listed => {
                for key in self.unconfirmed.take().into_iter().flatten() {
                    self.remove(&key, &mut changed);
                }
                self.complete = true;
            }
            News::Changed(object) => self.put(object, &mut changed),
            News::Gone(object) => self.remove(&object.key(), &mut changed),
            News::Watching | News::Failed(_) => {}
        }
    }

    /// Whether there was a complete list.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    /// The object of that name.
    pub(super) fn get(&self, key: &Key) -> Option<&T> {
        self.objects.get(key)
    }

    /// Where the objects of a namespace lie.
    pub(super) fn keys_in<'s>(&'s self, namespace: &'s str) -> impl Iterator<Item = &'s Key> {
        let from = Key::new(namespace, "");
        let all = self.objects.range((Bound::Included(from), Bound::Unbounded)).map(|(key, _)| key);
        all.take_while(move |key| &*key.namespace == namespace)
    }

    fn put(&mut self, object: T, changed: &mut impl FnMut(Option<&T>, Option<&T>)) {
        let key = object.key();
        if let Some(unconfirmed) = &mut self.unconfirmed {
            unconfirmed.remove(&key);
        }
        let before = self.objects.get(&key);
        if before != Some(&object) {
            changed(before, Some(&object));
            self.objects.insert(key, object);
        }
    }

    fn remove(&mut self, key: &Key, changed: &mut impl FnMut(Option<&T>, Option<&T>)) {
        if let Some(unconfirmed) = &mut self.unconfirmed {
            unconfirmed.remove(key);
        }
        if let Some(gone) = self.objects.remove(key) {
            changed(Some(&gone), None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(name: &str) -> Namespace {
        Namespace { name: name.into(), space: None, parent: None, propagate: None }
    }

    fn take(store: &mut Store<Namespace>, news: News<Namespace>) -> Vec<String> {
        let mut seen = Vec::new();
        store.take(news, |before, after| {
            let name = |object: Option<&Namespace>| object.map_or("-".to_owned(), |object| object.name.to_string());
            seen.push(format!("{} {}", name(before), name(after)));
        });
        seen
    }

    #[test]
    fn a_new_list_takes_away_only_at_its_end_what_it_does_not_name() {
        let mut store = Store::default();
        take(&mut store, News::Listing);
        assert_eq!(take(&mut store, News::Page(vec![namespace("a"), namespace("b")])), ["- a", "- b"]);
        assert!(!store.is_complete());
        assert!(take(&mut store, News::Listed).is_empty());
        assert!(store.is_complete());
        // Broken off and begun anew.
        assert!(take(&mut store, News::Listing).is_empty());
        assert!(take(&mut store, News::Page(vec![namespace("b")])).is_empty());
        assert!(take(&mut store, News::Listing).is_empty());
        assert_eq!(take(&mut store, News::Page(vec![namespace("c")])), ["- c"]);
        assert_eq!((store.len(), store.is_complete()), (3, true));
        assert_eq!(take(&mut store, News::Listed), ["a -", "b -"]);
        assert_eq!(take(&mut store, News::Gone(namespace("c"))), ["c -"]);
        assert!(take(&mut store, News::Gone(namespace("c"))).is_empty());
    }
}
