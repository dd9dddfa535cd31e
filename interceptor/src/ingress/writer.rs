//! Brings the cluster to the plan: server-side apply of what is not in force, deletion of what is ours and wanted no more.
//!
//! The controller calls [`Writer::reconcile`]. Writes are paced, one that fails waits longer every time, and each asks
//! before whether this manager still leads. Objects without our label are never written: apply does not force, so that a
//! field of somebody else's is a conflict, and a deletion names the object's uid and version.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Client, ResourceExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::facts::Facts;
use super::labels::MANAGER;
use super::lease::WRITE_DEADLINE;
use super::objects::is_ours;
use super::pace::{Backoff, Pace};
use super::plan::plan;
use super::problem::{Object, Problem, Reason};
use super::render;
use super::report::{Board, Verb};
use super::view::Key;
use crate::config::Config;

/// Writes of one round; then what has changed meanwhile is looked at.
const ROUND: usize = 100;
/// After a round that was not enough: what it wrote has come back by then.
const NEXT_ROUND: Duration = Duration::from_millis(50);

/// What became of a round.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// What cannot be done.
    pub(super) problems: BTreeSet<Problem>,
    /// When to go on with what failed or was too much for one round.
    pub(super) retry: Option<Duration>,
}

/// The writing half of the manager.
pub(super) struct Writer {
    client: Client,
    config: Config,
    pace: Pace,
    /// What failed, with its last problem.
    failed: HashMap<Key, (Backoff, Problem)>,
    leading: watch::Receiver<bool>,
    board: Board,
    /// Writes that this round may still make.
    left: usize,
}

impl Writer {
    pub(super) fn new(client: Client, config: Config, leading: watch::Receiver<bool>, board: Board) -> Self {
        Self { client, config, pace: Pace::default(), failed: HashMap::new(), leading, board, left: 0 }
    }

    /// One round. Stops where it is when this manager no longer leads.
    pub(super) async fn reconcile(&mut self, facts: &Facts, there: &HashMap<Key, Ingress>) -> Outcome {
        let plan = plan(facts, &self.config.routing.ingress_suffixes, self.config.ingress.class.as_deref());
        let mut in_force = 0;
        self.left = ROUND;
        let wanted: HashMap<Key, Ingress> = plan
            .wanted
            .iter()
            .map(|(key, wanted)| (key.clone(), render::object(&key.0, &key.1, wanted, &self.config.ingress)))
            .collect();
        let mut gone: Vec<(&Key, &Ingress)> = there.iter().collect();
        gone.retain(|(key, found)| {
            is_ours(found) && !wanted.contains_key(*key) && found.metadata.deletion_timestamp.is_none()
        });
        gone.sort_unstable_by_key(|(key, _)| *key);
        self.failed.retain(|key, _| wanted.contains_key(key) || gone.iter().any(|(gone, _)| *gone == key));
        // A host that moves from one object to another is given up first.
        for (key, found) in gone {
            if !self.write(key, Verb::Delete, |writer| writer.delete(key, found)).await {
                break;
            }
        }
        for key in plan.wanted.keys() {
            let Some(object) = wanted.get(key) else { continue };
            if there.get(key).is_some_and(|found| render::is_in_force(found, object)) {
                self.failed.remove(key);
                in_force += 1;
            } else if self.write(key, Verb::Apply, |writer| writer.apply(key, object)).await {
                in_force += usize::from(!self.failed.contains_key(key));
            } else {
                break;
            }
        }
        let mut problems = plan.problems;
        problems.extend(self.failed.values().map(|(_, problem)| problem.clone()));
        self.board.set_objects(plan.wanted.len(), in_force);
        let now = Instant::now();
        let unfinished = (self.left == 0).then_some(NEXT_ROUND);
        let retry = self.failed.values().map(|(backoff, _)| backoff.left(now)).chain(unfinished).min();
        Outcome { problems, retry }
    }

    /// Makes one write unless it is to wait; false when no more may be made.
    async fn write<F>(&mut self, key: &Key, verb: Verb, call: impl FnOnce(&Self) -> F) -> bool
    where
        F: Future<Output = kube::Result<()>>,
    {
        if self.failed.get(key).is_some_and(|(backoff, _)| !backoff.left(Instant::now()).is_zero()) {
            return true;
        }
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        self.pace.wait().await;
        if !*self.leading.borrow() {
            return false;
        }
        let written = timeout(WRITE_DEADLINE, call(self)).await;
        let (namespace, name) = key;
        let failure = match &written {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(explain(verb, error)),
            Err(_) => Some((
                Reason::Refused,
                format!("{verb}: no answer from the API server within {} s", WRITE_DEADLINE.as_secs()),
            )),
        };
        self.board.count_write(verb, failure.is_none());
        match failure {
            None => {
                tracing::info!(namespace, name, "{verb}");
                self.failed.remove(key);
            }
            Some((reason, message)) => {
                let problem = Object::ingress(namespace, name).has(reason, message);
                let backoff = self.failed.remove(key).map(|(backoff, _)| backoff).unwrap_or_default();
                self.failed.insert(key.clone(), (backoff.later(Instant::now()), problem));
            }
        }
        true
    }

    fn apply(&self, key: &Key, object: &Ingress) -> impl Future<Output = kube::Result<()>> + use<> {
        let api: Api<Ingress> = Api::namespaced(self.client.clone(), &key.0);
        let (name, object) = (key.1.clone(), object.clone());
        async move { api.patch(&name, &PatchParams::apply(MANAGER), &Patch::Apply(object)).await.map(drop) }
    }

    fn delete(&self, key: &Key, found: &Ingress) -> impl Future<Output = kube::Result<()>> + use<> {
        let api: Api<Ingress> = Api::namespaced(self.client.clone(), &key.0);
        // Whoever takes the object over in between keeps it.
        let preconditions = Preconditions { uid: found.uid(), resource_version: found.resource_version() };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let name = key.1.clone();
        async move {
            match api.delete(&name, &params).await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                done => done.map(drop),
            }
        }
    }
}

/// What the API server's refusal means and what to do.
fn explain(verb: Verb, error: &kube::Error) -> (Reason, String) {
    let kube::Error::Api(status) = error else { return (Reason::Refused, format!("{verb}: {error}")) };
    let said = &status.message;
    match status.code {
        409 if verb == Verb::Apply => {
            let what = "somebody else manages a field that is wanted here; remove it there, or delete the object to have it made anew";
            (Reason::FieldConflict, format!("{verb}: {what}: {said}"))
        }
        409 => (Reason::FieldConflict, format!("{verb}: it has changed in the meantime: {said}")),
        403 => (Reason::Refused, format!("{verb}: not allowed; does the manager's ClusterRole grant it? {said}")),
        code => (Reason::Refused, format!("{verb}: refused with {code}: {said}")),
    }
}
