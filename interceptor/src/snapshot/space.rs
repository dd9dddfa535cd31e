//! A space and its chain: what the route header names.

use std::sync::Arc;

use crate::config::tree::SpaceFault;

/// A space of one snapshot. Not valid in another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpaceId(pub(super) u32);

impl SpaceId {
    pub(super) fn index(self) -> usize {
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
    /// Why the space cannot be used; requests that name it keep their original destination.
    pub fault: Option<SpaceFault>,
}

impl Space {
    /// The root of its tree; `None` where the space is at fault.
    pub fn root(&self) -> Option<SpaceId> {
        self.chain.last().copied()
    }
}
