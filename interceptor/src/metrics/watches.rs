//! How the watches of the cluster are: counted by the Kubernetes source, absent with any other.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};

use super::labels::Pairs;
use super::{Metrics, register, table};

/// How the watch of a resource is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchState {
    /// A list is being read, or waited for.
    #[default]
    Listing,
    /// Changes come as they happen.
    Watching,
    /// It failed and is tried again.
    Failed,
}

impl WatchState {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Listing, Self::Watching, Self::Failed];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Listing => "listing",
            Self::Watching => "watching",
            Self::Failed => "failed",
        }
    }
}

impl std::fmt::Display for WatchState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The families about watches.
#[derive(Debug)]
pub(super) struct Watches {
    states: Family<Pairs, Gauge>,
    objects: Family<Pairs, Gauge>,
    events: Family<Pairs, Counter>,
    failures: Family<Pairs, Counter>,
}

impl Watches {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            states: register(registry, table::WATCH, Family::default()),
            objects: register(registry, table::WATCHED_OBJECTS, Family::default()),
            events: register(registry, table::WATCH_EVENTS, Family::default()),
            failures: register(registry, table::WATCH_FAILURES, Family::default()),
        }
    }
}

impl Metrics {
    /// How the watch of a resource is now.
    pub fn watch_state(&self, resource: &'static str, now: WatchState) {
        for state in WatchState::ALL {
            let labels = vec![("resource", resource), ("state", state.as_str())];
            self.watches.states.get_or_create(&labels).set(i64::from(state == now));
        }
    }

    /// How many objects of a resource are known.
    pub fn watched_objects(&self, resource: &'static str, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.watches.objects.get_or_create(&vec![("resource", resource)]).set(count);
    }

    /// A watch told of a change.
    pub fn watch_event(&self, resource: &'static str) {
        self.watches.events.get_or_create(&vec![("resource", resource)]).inc();
    }

    /// A list or watch failed, for a reason of this kind.
    pub fn watch_failed(&self, resource: &'static str, reason: &'static str) {
        self.watches.failures.get_or_create(&vec![("resource", resource), ("reason", reason)]).inc();
    }
}
