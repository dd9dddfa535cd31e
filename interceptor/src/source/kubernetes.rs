//! The Kubernetes source: namespaces, services, EndpointSlices and this node's pods, watched, as changes of the snapshot.
//!
//! Owned by `agent`'s control loop, which calls [`Source::next`] and puts each [`Batch`] into force. Until everything has
//! been listed once there is no batch, so nothing is captured; afterwards what is known stays in force whatever the API
//! server does. What it hears it shows in `status` and `/metrics`. It never asks for anything but lists and watches.

mod batch;
mod health;
mod objects;
mod store;
#[cfg(test)]
mod tests;
mod translate;
mod world;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

pub use batch::Batch;
pub use translate::Trouble;

use self::health::Health;
use self::world::{Input, World};
use crate::kubernetes::{Cluster, News, Object, Pace, Selection, follow};
use crate::metrics::Metrics;
use crate::status::StatusBoard;

/// News that wait to be read. A page of a list is one.
const QUEUE: usize = 64;

/// So much of the time may go into putting changes into force; in a burst they are put together.
const SHARE: u32 = 4;

/// Changes that come faster than this are put together. One that comes alone does not wait.
const GAP: Duration = Duration::from_millis(10);
/// However long it took: an endpoint that is gone must not be used for longer.
const GAP_MAX: Duration = Duration::from_secs(1);

/// A watched cluster.
pub struct Source {
    news: mpsc::Receiver<Input>,
    world: World,
    health: Health,
    /// When the next batch may be given.
    not_before: Instant,
    /// Whether there was one.
    begun: bool,
}

impl Source {
    /// Begins to watch, for the pods of that node. Needs a runtime with a local set.
    pub fn start(cluster: &Cluster, node: &str, pace: &Pace, status: Arc<StatusBoard>, metrics: Arc<Metrics>) -> Self {
        let (news_tx, news) = mpsc::channel(QUEUE);
        let all = Selection::default();
        let of_node = Selection { fields: Some(format!("spec.nodeName={node}")), labels: None };
        watch(cluster, &all, pace, &news_tx, Input::Namespaces);
        watch(cluster, &all, pace, &news_tx, Input::Services);
        watch(cluster, &all, pace, &news_tx, Input::Slices);
        watch(cluster, &of_node, pace, &news_tx, Input::Pods);
        Self {
            news,
            world: World::default(),
            health: Health::new(status, metrics),
            not_before: Instant::now(),
            begun: false,
        }
    }

    /// Waits for the next changes. May be dropped at any time.
    pub async fn next(&mut self) -> Batch {
        loop {
            // The first one is given even where the cluster has nothing for us: that, too, is known then.
            let due = self.world.is_complete() && (self.world.is_dirty() || !self.begun);
            let not_before = self.not_before;
            let time = async { if due { sleep_until(not_before).await } else { pending().await } };
            tokio::select! {
                // What has come already belongs to this batch.
                biased;
                input = self.news.recv() => match input {
                    Some(input) => self.take(input),
                    // The watches end with the source only.
                    None => pending().await,
                },
                () = time => {
                    let batch = self.world.changes();
                    if !self.begun || !batch.is_empty() || self.world.take_troubles_changed() {
                        self.begun = true;
                        return batch;
                    }
                }
            }
        }
    }

    /// The last batch has taken this long to put into force.
    pub fn in_force(&mut self, took: Duration) {
        self.not_before = Instant::now() + (took * SHARE).clamp(GAP, GAP_MAX);
    }

    /// What people should mend.
    pub fn troubles(&self) -> impl Iterator<Item = &Trouble> {
        self.world.troubles()
    }

    fn take(&mut self, input: Input) {
        self.health.hear(&input);
        self.world.take(input);
        self.health.count(self.world.counts());
    }
}

fn watch<T: Object>(
    cluster: &Cluster,
    selection: &Selection,
    pace: &Pace,
    news: &mpsc::Sender<Input>,
    wrap: fn(News<T>) -> Input,
) {
    let following = follow(cluster.client.clone(), selection.clone(), pace.clone(), news.clone(), wrap);
    // It ends when its news are no longer read, which is when the source is dropped.
    tokio::task::spawn_local(following);
}
