//! Which connections the agent wants to see: a pure function of the snapshot and `capture.services`.
//!
//! `capture` brings the kernel to it; `explain` and `view` show it. It knows of no kernel, socket or map. The rule and why
//! it changes no request's way stand in docs/decisions/0006-what-is-captured.md; the tests hold both modes against each
//! other.

#[cfg(test)]
mod tests;

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::config::CapturedServices;
use crate::snapshot::{Destination, DestinationKind, Service, Snapshot, SpaceId, Workload};

/// Whose calls to a destination are captured, from nobody's to everybody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Calls {
    /// Nobody's: no service of the tree has a second copy.
    None,
    /// Those of workloads outside root spaces: their requests may be given a space that nothing else tells.
    OutsideRoots,
    /// Those of every workload.
    All,
}

impl Calls {
    /// Whether the calls of a workload are among them.
    pub fn include(self, in_root: bool) -> bool {
        match self {
            Self::None => false,
            Self::OutsideRoots => !in_root,
            Self::All => true,
        }
    }
}

/// What of a snapshot is to be captured.
#[derive(Debug)]
pub struct Wanted<'s> {
    snapshot: &'s Snapshot,
    services: CapturedServices,
    /// Made when it is first asked for: it takes a look at every service.
    trees: OnceCell<Trees<'s>>,
}

/// See [`Wanted::basis`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Basis {
    overridden: BTreeSet<SpaceId>,
    names_spaces: bool,
}

/// What `overridden` needs to know of all services.
#[derive(Debug, Default)]
struct Trees<'s> {
    /// Copies of a service in a tree, by the tree's root and the service's name.
    copies: HashMap<(SpaceId, &'s str), usize>,
    /// Roots of trees in which some service has a second copy.
    overridden: HashSet<SpaceId>,
}

impl<'s> Wanted<'s> {
    /// What is to be captured of that snapshot.
    pub fn new(snapshot: &'s Snapshot, services: CapturedServices) -> Self {
        Self { snapshot, services, trees: OnceCell::new() }
    }

    /// The snapshot.
    pub fn snapshot(&self) -> &'s Snapshot {
        self.snapshot
    }

    /// `None` where every service is captured.
    fn trees(&self) -> Option<&Trees<'s>> {
        let overridden = self.services == CapturedServices::Overridden;
        overridden.then(|| self.trees.get_or_init(|| Trees::of(self.snapshot)))
    }

    /// Whose calls to a service are captured.
    pub fn calls(&self, service: &Service) -> Calls {
        let Some(trees) = self.trees() else { return Calls::All };
        let Some(root) = self.snapshot.space(service.space).root() else { return Calls::None };
        if trees.has_copies(root, service) {
            Calls::All
        } else if !trees.overridden.contains(&root) {
            Calls::None
        } else if service.space == root {
            Calls::OutsideRoots
        } else {
            // Its pods would take a request that was not told of a space for their own space's.
            Calls::All
        }
    }

    /// Whose calls to a destination are captured: with several services behind it, the one that wants most counts.
    pub fn calls_to(&self, destination: &Destination<'_>) -> Calls {
        if self.trees().is_none() {
            return Calls::All;
        }
        destination.services().map(|behind| self.calls(behind.service)).max().unwrap_or(Calls::None)
    }

    /// Whether a workload's calls to a destination are captured.
    pub fn outbound(&self, workload: &Workload, destination: &Destination<'_>) -> bool {
        self.calls_to(destination).include(self.in_root(workload))
    }

    /// Whether connections to a pod's own port are intercepted there.
    pub fn inbound(&self, destination: &Destination<'_>) -> bool {
        if self.trees().is_none() {
            return destination.is_endpoint();
        }
        let mut endpoints = destination.services().filter(|behind| behind.kind == DestinationKind::Endpoint);
        endpoints.any(|behind| self.called(behind.service))
    }

    /// A tree's services with one copy are intercepted inbound only for the space that a Host names (rule R1).
    fn called(&self, service: &Service) -> bool {
        let Some(trees) = self.trees() else { return true };
        let Some(root) = self.snapshot.space(service.space).root() else { return false };
        let names_spaces = !self.snapshot.routing.ingress_suffixes.is_empty();
        trees.has_copies(root, service) || (names_spaces && trees.overridden.contains(&root))
    }

    /// What the answers for all services of a tree depend on. While it stays the same, only the answers for services of
    /// whose name copies came or went, or whose tree is another one, can have changed.
    pub fn basis(&self) -> Basis {
        let Some(trees) = self.trees() else { return Basis::default() };
        Basis {
            overridden: trees.overridden.iter().copied().collect(),
            names_spaces: !self.snapshot.routing.ingress_suffixes.is_empty(),
        }
    }

    /// Whether a workload lives in a root space, which the next pod assumes by itself for what it is sent.
    pub fn in_root(&self, workload: &Workload) -> bool {
        workload.space.is_some_and(|space| self.snapshot.space(space).root() == Some(space))
    }
}

impl<'s> Trees<'s> {
    fn of(snapshot: &'s Snapshot) -> Self {
        let mut trees = Self::default();
        for service in snapshot.services() {
            let Some(root) = snapshot.space(service.space).root() else { continue };
            let copies = trees.copies.entry((root, &service.id.name)).or_default();
            *copies += 1;
            if *copies > 1 {
                trees.overridden.insert(root);
            }
        }
        trees
    }

    fn has_copies(&self, root: SpaceId, service: &Service) -> bool {
        self.copies.get(&(root, &*service.id.name)).is_some_and(|copies| *copies > 1)
    }
}
