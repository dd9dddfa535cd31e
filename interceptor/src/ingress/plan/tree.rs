//! The space trees of the cluster's namespaces: each usable space with its chain to the root.
//!
//! The rules are those of routing ([`space_faults`]): what cannot be routed to gets no host.

use std::collections::HashMap;

use super::Leaning;
use crate::config::SpaceSpec;
use crate::config::tree::space_faults;
use crate::ingress::facts::{Namespace, Service};
use crate::ingress::problem::{Object, Problem, Reason};

/// All usable spaces.
pub(super) struct Tree<'f> {
    /// By name: the space itself, its parent, … its root.
    chains: HashMap<&'f str, Vec<&'f Namespace>>,
    problems: Vec<Problem>,
}

impl<'f> Tree<'f> {
    /// The trees of these namespaces.
    pub(super) fn new(namespaces: &'f [Namespace]) -> Self {
        let mut spaces: Vec<&Namespace> = namespaces.iter().filter(|namespace| namespace.space).collect();
        spaces.sort_unstable_by_key(|space| &space.name);
        let specs: Vec<SpaceSpec> = spaces
            .iter()
            .map(|space| SpaceSpec { name: space.name.clone(), parent: space.parent.clone(), propagate: None })
            .collect();
        let mut usable: HashMap<&str, &Namespace> = spaces.iter().map(|space| (&*space.name, *space)).collect();
        let mut problems = Vec::new();
        for (index, fault) in space_faults(&specs) {
            if let Some(space) = spaces.get(index) {
                usable.remove(&*space.name);
                let message = format!("{fault}; its services get no hosts until its label is mended");
                problems.push(Object::namespace(&space.name).has(Reason::SpaceAtFault, message));
            }
        }
        let parent = |space: &&'f Namespace| space.parent.as_deref().and_then(|parent| usable.get(parent).copied());
        let chains = usable
            .values()
            .map(|space| (&*space.name, std::iter::successors(Some(*space), parent).collect()))
            .collect();
        Self { chains, problems }
    }

    /// The space, its parent, … its root; nothing for what is no usable space.
    pub(super) fn chain(&self, space: &str) -> Option<&[&'f Namespace]> {
        self.chains.get(space).map(Vec::as_slice)
    }

    /// Whether a space's own annotation says that it wants no hosts.
    pub(super) fn opts_out(&self, space: &str) -> bool {
        self.chain(space).and_then(<[_]>::first).is_some_and(|space| space.ingress.as_deref() == Some("false"))
    }

    /// What is wrong with the namespaces' labels.
    pub(super) fn problems(&self) -> impl Iterator<Item = Problem> {
        self.problems.iter().cloned()
    }

    /// For every copy in a derived space: the spaces below that find it first. Those that find the root's copy need no
    /// host, the wildcard is theirs.
    pub(super) fn leaning(&self, copies: &HashMap<(&'f str, &'f str), &'f Service>) -> Leaning<'f> {
        let mut by_space: HashMap<&str, Vec<&'f str>> = HashMap::new();
        for (space, service) in copies.keys() {
            by_space.entry(space).or_default().push(service);
        }
        let mut leaning = Leaning::new();
        for (space, chain) in &self.chains {
            let derived_above = chain.len().saturating_sub(1);
            for (level, above) in chain.iter().enumerate().take(derived_above).skip(1) {
                for service in by_space.get(&*above.name).into_iter().flatten() {
                    let nearer = chain.iter().take(level).any(|near| copies.contains_key(&(&*near.name, *service)));
                    if !nearer {
                        leaning.entry((&above.name, service)).or_default().push(*space);
                    }
                }
            }
        }
        leaning
    }
}
