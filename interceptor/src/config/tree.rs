//! Which spaces have no usable place in a space tree, and why.
//!
//! A pure function of the list of spaces. The cross checks turn its answers into warnings; the snapshot builder leaves the
//! same spaces out, whatever source they came from. Everything outside the faulty part of a tree keeps working.

use std::collections::HashMap;

use super::SpaceSpec;

/// Levels below a root that may derive: child, parent, grandparent, root. Each level is one more lookup per request.
pub const MAX_DERIVED_LEVELS: usize = 3;

/// Names that a message shows of a cycle; so the messages stay linear in the number of spaces.
const MAX_NAMED: usize = 8;

/// Why a space cannot be used. Chains are written from the space to its ancestors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpaceFault {
    /// Its parent is no space.
    #[error("its parent {parent:?} does not exist ({space} → {parent})")]
    UnknownParent {
        /// The space.
        space: String,
        /// The parent that it names.
        parent: String,
    },
    /// It derives from itself.
    #[error("it derives from itself ({})", cycle(.chain, *.length))]
    Cycle {
        /// The spaces of the cycle, this one first; no more than a message shows.
        chain: Vec<String>,
        /// How many spaces the cycle has.
        length: usize,
    },
    /// It is the first of its chain that is too far below the root.
    #[error("it is more than {MAX_DERIVED_LEVELS} derived levels below its root ({})", .chain.join(" → "))]
    TooDeep {
        /// From this space to its root.
        chain: Vec<String>,
    },
    /// Its parent is faulty.
    #[error("the space it derives from cannot be used ({space} → {parent})")]
    FaultyAncestor {
        /// The space.
        space: String,
        /// Its parent, which has a fault of its own.
        parent: String,
    },
}

fn cycle(chain: &[String], length: usize) -> String {
    let back = if length > chain.len() { format!("… ({length} spaces)") } else { chain[..1].concat() };
    format!("{} → {back}", chain.join(" → "))
}

/// What is known of a space.
#[derive(Clone, Copy, PartialEq)]
enum State {
    Unknown,
    /// On the chain that is being followed.
    Open,
    /// Usable, so many levels below its root.
    Level(usize),
    Faulty,
}

/// The spaces that cannot be used, as (index in `spaces`, why), by index. Of spaces with the same name the first one is
/// the parent that others name. Takes linear time.
pub fn space_faults(spaces: &[SpaceSpec]) -> Vec<(usize, SpaceFault)> {
    let mut by_name = HashMap::with_capacity(spaces.len());
    for (index, space) in spaces.iter().enumerate() {
        by_name.entry(space.name.as_str()).or_insert(index);
    }
    let parent_of = |index: usize| spaces[index].parent.as_deref().map(|parent| by_name.get(parent).copied());

    let mut states = vec![State::Unknown; spaces.len()];
    let mut faults = Vec::new();
    let mut chain = Vec::new();
    for start in 0..spaces.len() {
        // Up, until something is known.
        let mut next = Some(start);
        while let Some(index) = next.filter(|&index| states[index] == State::Unknown) {
            states[index] = State::Open;
            chain.push(index);
            next = parent_of(index).flatten();
        }
        // `next` is still open only if the chain came back to itself.
        if let Some(first) = next.filter(|&index| states[index] == State::Open) {
            let begin = chain.iter().position(|&index| index == first).unwrap_or(0);
            let members = chain.split_off(begin);
            for (offset, &index) in members.iter().enumerate() {
                states[index] = State::Faulty;
                faults.push((index, cycle_of(spaces, &members, offset)));
            }
        }
        // And down again.
        while let Some(index) = chain.pop() {
            let fault = match parent_of(index) {
                None => Ok(0),
                Some(None) => Err(unknown_parent(&spaces[index])),
                Some(Some(parent)) => match states[parent] {
                    State::Level(level) if level < MAX_DERIVED_LEVELS => Ok(level + 1),
                    State::Level(_) => Err(too_deep(spaces, index, parent_of)),
                    _ => Err(faulty_ancestor(&spaces[index])),
                },
            };
            states[index] = match fault {
                Ok(level) => State::Level(level),
                Err(fault) => {
                    faults.push((index, fault));
                    State::Faulty
                }
            };
        }
    }
    faults.sort_by_key(|(index, _)| *index);
    faults
}

fn unknown_parent(space: &SpaceSpec) -> SpaceFault {
    SpaceFault::UnknownParent { space: space.name.clone(), parent: space.parent.clone().unwrap_or_default() }
}

fn faulty_ancestor(space: &SpaceSpec) -> SpaceFault {
    SpaceFault::FaultyAncestor { space: space.name.clone(), parent: space.parent.clone().unwrap_or_default() }
}

fn cycle_of(spaces: &[SpaceSpec], members: &[usize], offset: usize) -> SpaceFault {
    let from_here = members.iter().cycle().skip(offset).take(members.len().min(MAX_NAMED));
    SpaceFault::Cycle { chain: from_here.map(|&index| spaces[index].name.clone()).collect(), length: members.len() }
}

fn too_deep(spaces: &[SpaceSpec], index: usize, parent_of: impl Fn(usize) -> Option<Option<usize>>) -> SpaceFault {
    let ancestors = std::iter::successors(Some(index), |&index| parent_of(index).flatten());
    SpaceFault::TooDeep { chain: ancestors.map(|index| spaces[index].name.clone()).collect() }
}

#[cfg(test)]
mod tests;
