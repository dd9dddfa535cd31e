//! How each watch is, for `status`, `/metrics` and the log.
//!
//! [`Source`](super::Source) lets it hear every news. A failure is logged when it begins and when another takes its place,
//! not at every attempt.

use std::sync::Arc;

use super::world::{Counts, Input};
use crate::kubernetes::{News, Object};
use crate::metrics::{Metrics, WatchState};
use crate::status::StatusBoard;

/// Tells people how the watches are.
pub(super) struct Health {
    status: Arc<StatusBoard>,
    metrics: Arc<Metrics>,
    watches: Vec<Watch>,
}

struct Watch {
    resource: &'static str,
    state: WatchState,
    /// What was last logged.
    said: String,
}

impl Health {
    pub(super) fn new(status: Arc<StatusBoard>, metrics: Arc<Metrics>) -> Self {
        Self { status, metrics, watches: Vec::new() }
    }

    /// Hears what a watch tells.
    pub(super) fn hear(&mut self, input: &Input) {
        match input {
            Input::Namespaces(news) => self.of(news),
            Input::Services(news) => self.of(news),
            Input::Slices(news) => self.of(news),
            Input::Pods(news) => self.of(news),
        }
    }

    /// How many objects there are now.
    pub(super) fn count(&self, counts: Counts) {
        let Counts { namespaces, services, slices, pods } = counts;
        let all = [("namespaces", namespaces), ("services", services), ("endpointslices", slices), ("pods", pods)];
        for (resource, count) in all {
            self.metrics.watched_objects(resource, count);
            self.status.set_watched_objects(resource, count);
        }
    }

    fn of<T: Object>(&mut self, news: &News<T>) {
        let resource = T::RESOURCE;
        match news {
            News::Listing => self.set(resource, WatchState::Listing, None),
            News::Watching => self.set(resource, WatchState::Watching, None),
            News::Failed(error) => {
                self.metrics.watch_failed(resource, error.kind());
                self.set(resource, WatchState::Failed, Some(error.to_string()));
            }
            News::Changed(_) | News::Gone(_) => self.metrics.watch_event(resource),
            News::Page(_) | News::Listed => {}
        }
    }

    fn set(&mut self, resource: &'static str, state: WatchState, error: Option<String>) {
        let index = self.watches.iter().position(|watch| watch.resource == resource);
        let index = index.unwrap_or_else(|| {
            self.watches.push(Watch { resource, state: WatchState::Listing, said: String::new() });
            self.watches.len() - 1
        });
        let Some(watch) = self.watches.get_mut(index) else { return };
        match &error {
            Some(error) if *error != watch.said => {
                tracing::warn!(resource, %error, "watching the cluster failed; what is known stays in force");
                watch.said.clone_from(error);
            }
            // Tried again after a failure: it is no news until it works.
            None if state == WatchState::Listing && watch.state == WatchState::Failed => return,
            None if state == WatchState::Watching && !watch.said.is_empty() => {
                tracing::info!(resource, "watching the cluster again");
                watch.said.clear();
            }
            _ => {}
        }
        watch.state = state;
        self.metrics.watch_state(resource, state);
        self.status.set_watch(resource, state, error);
    }
}
