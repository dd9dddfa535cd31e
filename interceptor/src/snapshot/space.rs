//! A space and its chain: what the route header names. [`Spaces`] holds all of a snapshot.
//!
//! A space keeps its identifier for as long as it is declared, whatever else changes, so that services need not be touched
//! when another space comes or goes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::config::tree::{SpaceFault, space_faults};
use crate::config::{PropagateMode, SpaceSpec};

/// A space of one snapshot, and of those made from it for as long as the space is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpaceId(u32);

impl SpaceId {
    /// Of a service that is in no usable space.
    pub(super) const NONE: Self = Self(u32::MAX);

    fn index(self) -> usize {
        self.0 as usize
    }
}

/// A space: a namespace in which a developer deploys copies of services.
#[derive(Debug, Clone)]
pub struct Space {
    /// Its name, as the route header carries it.
    pub name: Arc<str>,
    /// The space that it derives from, as the source names it.
    pub parent: Option<Arc<str>>,
    /// The space itself, its parent, … up to the root. Empty where the space is at fault.
    pub chain: Vec<SpaceId>,
    /// The names of `chain`, shared with every record that shows them.
    pub chain_names: Arc<[Arc<str>]>,
    /// How its workloads' requests find their space again, where the source says so.
    pub propagate: Option<PropagateMode>,
    /// Why the space cannot be used; requests that name it keep their original destination.
    pub fault: Option<SpaceFault>,
}

impl Space {
    /// The root of its tree; `None` where the space is at fault.
    pub fn root(&self) -> Option<SpaceId> {
        self.chain.last().copied()
    }
}

/// The spaces of a snapshot.
#[derive(Debug, Default)]
pub(super) struct Spaces {
    /// By identifier. One that is declared no longer stays until its place is needed.
    slots: Vec<Space>,
    ids: HashMap<Arc<str>, SpaceId, RandomState>,
    /// Each tree from its root on, those at fault last.
    order: Vec<SpaceId>,
}

impl Spaces {
    pub(super) fn get(&self, id: SpaceId) -> &Space {
        &self.slots[id.index()]
    }

    pub(super) fn named(&self, name: &str) -> Option<SpaceId> {
        self.ids.get(name).copied()
    }

    /// The space of that name, if it has a place in a tree.
    pub(super) fn usable(&self, name: &str) -> Option<SpaceId> {
        self.named(name).filter(|id| self.get(*id).fault.is_none())
    }

    /// All that are declared: each tree from its root on, those at fault last.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (SpaceId, &Space)> {
        self.order.iter().map(|id| (*id, self.get(*id)))
    }

    /// These spaces with some declared (`Some`) or no longer declared (`None`).
    pub(super) fn changed(&self, changes: &BTreeMap<&str, Option<&SpaceSpec>>) -> Self {
        let mut declared: BTreeMap<&str, (Option<&str>, Option<PropagateMode>)> =
            self.iter().map(|(_, space)| (&*space.name, (space.parent.as_deref(), space.propagate))).collect();
        for (name, spec) in changes {
            match spec {
                Some(spec) => drop(declared.insert(name, (spec.parent.as_deref(), spec.propagate))),
                None => drop(declared.remove(name)),
            }
        }
        let spec = |(name, (parent, propagate)): (&&str, &(Option<&str>, _))| SpaceSpec {
            name: (*name).to_owned(),
            parent: parent.map(str::to_owned),
            propagate: *propagate,
        };
        let specs: Vec<SpaceSpec> = declared.iter().map(spec).collect();
        let mut faults: HashMap<usize, SpaceFault> = space_faults(&specs).into_iter().collect();

        let mut next = Self { slots: self.slots.clone(), ..Self::default() };
        // Places of spaces that were there until now are not reused yet: what refers to them is still to be moved.
        let taken: HashSet<SpaceId> = self.order.iter().copied().collect();
        let mut free = (0..).take(self.slots.len()).map(SpaceId).filter(|id| !taken.contains(id));
        for (index, spec) in specs.iter().enumerate() {
            let known = self.named(&spec.name);
            let name = known.map_or_else(|| Arc::from(spec.name.as_str()), |id| Arc::clone(&self.get(id).name));
            let id = match known.or_else(|| free.next()) {
                Some(id) => id,
                None => SpaceId(u32::try_from(next.slots.len()).unwrap_or(u32::MAX)),
            };
            let space = Space {
                name: Arc::clone(&name),
                parent: spec.parent.as_deref().map(Arc::from),
                chain: Vec::new(),
                chain_names: Arc::default(),
                propagate: spec.propagate,
                fault: faults.remove(&index),
            };
            match next.slots.get_mut(id.index()) {
                Some(slot) => *slot = space,
                None => next.slots.push(space),
            }
            next.ids.insert(name, id);
            next.order.push(id);
        }
        next.link();
        let place = |id: &SpaceId| {
            let space = next.get(*id);
            (space.fault.is_some(), space.chain_names.iter().rev().collect::<Vec<_>>(), &space.name)
        };
        let mut order = next.order.clone();
        order.sort_by(|a, b| place(a).cmp(&place(b)));
        next.order = order;
        next
    }

    /// Fills in every usable space's chain.
    fn link(&mut self) {
        for at in 0..self.order.len() {
            let id = self.order[at];
            if self.get(id).fault.is_some() {
                continue;
            }
            let above = |id: &SpaceId| self.get(*id).parent.as_ref().and_then(|parent| self.named(parent));
            let chain: Vec<SpaceId> = std::iter::successors(Some(id), above).collect();
            let names = chain.iter().map(|id| Arc::clone(&self.get(*id).name)).collect();
            let space = &mut self.slots[id.index()];
            (space.chain, space.chain_names) = (chain, names);
        }
    }
}
