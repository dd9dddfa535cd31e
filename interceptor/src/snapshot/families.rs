//! All services, the copies of one name together: what a destination leads to, and where its copies in other spaces are.
//!
//! A name keeps its place while it has a copy, so that destinations refer to it by number and need not be touched when
//! one of its copies changes. Places stand in chunks that a changed copy of the table shares with the original.

use std::sync::Arc;

use smallvec::SmallVec;

use super::service::Service;
use super::sharded::Sharded;
use super::space::SpaceId;

/// Names a chunk holds: a change copies one chunk, a new table one pointer a chunk.
const CHUNK: usize = 64;

/// The place of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FamilyId(u32);

impl FamilyId {
    /// Of a service that has no place.
    pub(super) const NONE: Self = Self(u32::MAX);

    fn index(self) -> usize {
        self.0 as usize
    }
}

/// The copies of one name, by space. Most have few; these need no memory of their own.
#[derive(Debug, Clone, Default)]
pub(super) struct Family {
    pub(super) name: Arc<str>,
    copies: SmallVec<[(SpaceId, Arc<Service>); 3]>,
}

impl Family {
    /// The copy in a space.
    pub(super) fn copy(&self, space: SpaceId) -> Option<&Arc<Service>> {
        let at = self.find(space).ok()?;
        self.copies.get(at).map(|(_, service)| service)
    }

    /// All copies.
    pub(super) fn copies(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.copies.iter().map(|(_, service)| service)
    }

    fn find(&self, space: SpaceId) -> Result<usize, usize> {
        self.copies.binary_search_by_key(&space, |(space, _)| *space)
    }
}

/// The services of a snapshot.
#[derive(Debug, Clone, Default)]
pub(super) struct Families {
    chunks: Vec<Arc<[Family; CHUNK]>>,
    ids: Sharded<Arc<str>, FamilyId>,
    /// Places that have no name.
    free: Vec<FamilyId>,
    /// How many copies there are in all.
    pub(super) services: usize,
}

impl Families {
    pub(super) fn get(&self, id: FamilyId) -> Option<&Family> {
        self.chunks.get(id.index() / CHUNK)?.get(id.index() % CHUNK)
    }

    pub(super) fn named(&self, name: &str) -> Option<FamilyId> {
        self.ids.get(name).copied()
    }

    /// All, in no order; places without a name have no copies.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Family> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// The place of a name, a new one if it has none.
    pub(super) fn place(&mut self, name: &Arc<str>) -> FamilyId {
        if let Some(id) = self.named(name) {
            return id;
        }
        if self.free.is_empty() {
            let first = self.chunks.len() * CHUNK;
            self.chunks.push(Arc::new(std::array::from_fn(|_| Family::default())));
            // The last is taken first.
            let places = (first..first + CHUNK).rev().map(|at| FamilyId(u32::try_from(at).unwrap_or(u32::MAX)));
            self.free.extend(places);
        }
        let id = self.free.pop().unwrap_or(FamilyId::NONE);
        if let Some(family) = self.get_mut(id) {
            family.name = Arc::clone(name);
        }
        self.ids.upsert(Arc::clone(name), || id, |_| {});
        id
    }

    /// Puts a copy in its place; the one that was there is returned.
    pub(super) fn put(&mut self, service: Arc<Service>) -> Option<Arc<Service>> {
        let space = service.space;
        let family = self.get_mut(service.family)?;
        match family.find(space) {
            Ok(at) => family.copies.get_mut(at).map(|(_, held)| std::mem::replace(held, service)),
            Err(at) => {
                family.copies.insert(at, (space, service));
                self.services += 1;
                None
            }
        }
    }

    /// Takes a copy out; a name without any copy loses its place.
    pub(super) fn take(&mut self, id: FamilyId, space: SpaceId) -> Option<Arc<Service>> {
        let family = self.get_mut(id)?;
        let at = family.find(space).ok()?;
        let (_, service) = family.copies.remove(at);
        if family.copies.is_empty() {
            let name = std::mem::take(&mut family.name);
            self.ids.remove(&*name);
            self.free.push(id);
        }
        self.services -= 1;
        Some(service)
    }

    fn get_mut(&mut self, id: FamilyId) -> Option<&mut Family> {
        Arc::make_mut(self.chunks.get_mut(id.index() / CHUNK)?).get_mut(id.index() % CHUNK)
    }
}
