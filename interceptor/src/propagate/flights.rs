//! How many requests of each space are in a workload now.

use std::sync::Arc;

use super::Space;

/// Requests in a workload, by space. A workload serves few spaces at once: a list is enough.
#[derive(Debug, Default)]
pub(super) struct Flights(Vec<(Space, usize)>);

/// What the requests in a workload have in common.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing: there is no request, or only such without a space.
    None,
    /// This space, which all of them have.
    One(Arc<str>),
    /// They have different ones, or some have none.
    Several,
}

impl Flights {
    /// One comes.
    pub(super) fn enter(&mut self, space: &Space) {
        match self.0.iter_mut().find(|(known, _)| known == space) {
            Some((_, count)) => *count += 1,
            None => self.0.push((space.clone(), 1)),
        }
    }

    /// One has gone.
    pub(super) fn leave(&mut self, space: &Space) {
        let Some(place) = self.0.iter().position(|(known, _)| known == space) else { return };
        if let Some((_, count)) = self.0.get_mut(place) {
            *count -= 1;
            if *count == 0 {
                self.0.swap_remove(place);
            }
        }
    }

    /// What those that are there have in common.
    pub(super) fn only(&self) -> Answer {
        match self.0.as_slice() {
            [] | [(None, _)] => Answer::None,
            [(Some(space), _)] => Answer::One(Arc::clone(space)),
            _ => Answer::Several,
        }
    }
}
