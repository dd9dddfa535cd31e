//! The pods that are looked for, and what was found of each.
//!
//! Owned by `capture`, on the control thread. Costs nothing as long as no pod is looked for. A change on the node costs
//! what it concerns: one walk over the kubelet's directories where pods came or went, otherwise a look at one pod.

use std::collections::{HashMap, HashSet};
use std::future::pending;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::examine::examine;
use super::watch::{Stir, Watch};
use super::{Found, Missing, tree};
use crate::cgroup;
use crate::config::PodUid;

/// How soon a pod whose namespace is being made is looked at again, unasked.
const RETRY: Duration = Duration::from_millis(5);
/// Later on, after this part of the time for which it has been so: what comes late is found late by so much at most.
const RETRY_PART: u32 = 8;
/// At most; a sweep comes as often.
const RETRY_MAX: Duration = Duration::from_secs(1);
/// Every how many sweeps all pods are looked at, also those of which nothing was heard.
const FULL_SWEEP: u32 = 5;

/// The pods that are looked for.
pub struct Pods {
    /// Where the host's cgroup v2 is mounted, if that was given.
    root: Option<PathBuf>,
    /// The directories above all pods.
    trees: Vec<PathBuf>,
    /// Every pod's directory.
    dirs: HashMap<PodUid, PathBuf>,
    wanted: HashMap<PodUid, Wanted>,
    watch: Option<Watch>,
    /// The watch does not see all: sweeps have to.
    blind: bool,
    sweeps: u32,
}

/// A pod that is looked for.
struct Wanted {
    /// The workload that it is.
    workload: Arc<str>,
    addresses: Vec<IpAddr>,
    state: Result<Found, Missing>,
    /// Since when that is so.
    since: Instant,
    /// When to look again unasked.
    retry: Option<Instant>,
}

impl Pods {
    /// Looks for nothing yet. `root` is where the host's cgroup v2 is mounted; otherwise the agent's own mount is taken.
    pub fn new(root: Option<PathBuf>) -> Self {
        let (trees, dirs, wanted) = (Vec::new(), HashMap::new(), HashMap::new());
        Self { root, trees, dirs, wanted, watch: None, blind: false, sweeps: 0 }
    }

    /// Looks for these pods, given with the workload's name and its addresses, and for no others. Needs a runtime.
    pub fn follow<'w>(&mut self, pods: impl Iterator<Item = (&'w PodUid, &'w Arc<str>, &'w [IpAddr])>) {
        let mut gone: HashSet<PodUid> = self.wanted.keys().cloned().collect();
        let mut new = Vec::new();
        for (uid, workload, addresses) in pods {
            gone.remove(uid);
            match self.wanted.get_mut(uid) {
                // Its namespace must prove itself anew where the addresses have changed.
                Some(known) if known.addresses == addresses => known.workload = Arc::clone(workload),
                _ => {
                    let (workload, addresses) = (Arc::clone(workload), addresses.to_vec());
                    let (state, since) = (Err(Missing::Cgroup), Instant::now());
                    let wanted = Wanted { workload, addresses, state, since, retry: None };
                    self.wanted.insert(uid.clone(), wanted);
                    new.push(uid.clone());
                }
            }
        }
        for uid in gone {
            self.wanted.remove(&uid);
            if let Some(watch) = &mut self.watch {
                watch.forget(&uid);
            }
        }
        if !new.is_empty() {
            self.begin();
            new.iter().for_each(|uid| drop(self.look_at(uid)));
        }
    }

    /// Waits until something may have changed. To be followed by [`take`](Self::take); may be dropped at any time.
    pub async fn stirred(&self) {
        let watched = async {
            match &self.watch {
                // Without the runtime's help sweeps remain.
                Some(watch) => {
                    if watch.stirred().await.is_err() {
                        pending().await
                    }
                }
                None => pending().await,
            }
        };
        let due = async {
            match self.wanted.values().filter_map(|wanted| wanted.retry).min() {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = watched => {}
            () = due => {}
        }
    }

    /// Looks at what may have changed: the workloads of which something else is known now.
    pub fn take(&mut self) -> Vec<Arc<str>> {
        let stir = self.watch.as_mut().map_or_else(Stir::default, Watch::take);
        let mut pods: HashSet<PodUid> = stir.pods.into_iter().collect();
        if stir.parents {
            pods.extend(self.list());
        }
        let now = Instant::now();
        let due = self.wanted.iter().filter(|(_, wanted)| wanted.retry.is_some_and(|at| at <= now));
        pods.extend(due.map(|(uid, _)| uid.clone()));
        pods.iter().filter_map(|uid| self.look_at(uid)).collect()
    }

    /// The same, and what no event told of: to be called about once a second.
    pub fn sweep(&mut self) -> Vec<Arc<str>> {
        if self.wanted.is_empty() {
            return Vec::new();
        }
        let mut changed = self.take();
        self.sweeps = self.sweeps.wrapping_add(1);
        let full = self.blind || self.sweeps.is_multiple_of(FULL_SWEEP);
        let waiting = self.wanted.values().any(|wanted| wanted.state.is_err());
        if full && self.wanted.keys().any(|uid| !self.dirs.contains_key(uid)) {
            // A kubelet that came later, perhaps with another driver.
            self.trees = self.search();
        }
        if full || waiting {
            self.search_anew();
            self.list();
        }
        let look = |(uid, wanted): (&PodUid, &Wanted)| (full || wanted.state.is_err()).then(|| uid.clone());
        let pods: Vec<PodUid> = self.wanted.iter().filter_map(look).collect();
        changed.extend(pods.iter().filter_map(|uid| self.look_at(uid)));
        changed
    }

    /// Where a pod is.
    ///
    /// # Errors
    /// The reason why that is not known.
    pub fn find(&self, uid: &PodUid) -> Result<&Found, Missing> {
        self.wanted.get(uid).map_or(Err(Missing::Cgroup), |wanted| wanted.state.as_ref().map_err(Missing::clone))
    }

    /// A pod's own directory.
    pub fn directory(&self, uid: &PodUid) -> Option<&Path> {
        self.dirs.get(uid).map(PathBuf::as_path)
    }

    /// The directories above all pods.
    pub fn trees(&self) -> &[PathBuf] {
        &self.trees
    }

    /// The first pod is looked for.
    fn begin(&mut self) {
        if self.watch.is_none() && !self.blind {
            self.watch = Watch::new().map_err(|error| self.cannot_watch(&error)).ok();
            self.search_anew();
        }
        self.list();
    }

    /// The directories above all pods as they are now; a walk over all that is not below them.
    pub fn search(&self) -> Vec<PathBuf> {
        let root = self.root.clone().or_else(|| cgroup::mount().ok());
        root.map(|root| tree::trees(&root)).unwrap_or_default()
    }

    /// Looks for the directories above all pods, where none is known or one is gone.
    fn search_anew(&mut self) {
        if self.trees.is_empty() || !self.trees.iter().all(|tree| tree.is_dir()) {
            self.trees = self.search();
        }
    }

    /// Lists every pod's directory: the pods whose directory is another one now.
    fn list(&mut self) -> Vec<PodUid> {
        let mut listing = tree::list(&self.trees);
        if let Some(mut watch) = self.watch.take() {
            match watch.parents(&listing.parents) {
                // Again: what came between the walk and the watch.
                Ok(()) => listing = tree::list(&self.trees),
                Err(error) => self.cannot_watch(&error),
            }
            self.watch = Some(watch);
        }
        let before = std::mem::replace(&mut self.dirs, listing.pods);
        self.wanted.keys().filter(|uid| before.get(uid) != self.dirs.get(uid)).cloned().collect()
    }

    /// Looks at one pod; its workload, if something else is known of it now.
    fn look_at(&mut self, uid: &PodUid) -> Option<Arc<str>> {
        let dir = self.dirs.get(uid).cloned();
        let mut refused = None;
        if let (Some(watch), Some(dir)) = (&mut self.watch, &dir) {
            // Before the look, so that nothing comes unseen between the two.
            refused = watch.pod(uid, dir).err();
        }
        if let Some(error) = refused {
            self.cannot_watch(&error);
        }
        let missing = self.without_directory();
        let wanted = self.wanted.get_mut(uid)?;
        let known = wanted.state.as_ref().ok();
        let state = dir.map_or(Err(missing), |dir| examine(&dir, &wanted.addresses, known));
        let changed = match (&state, &wanted.state) {
            (Ok(now), Ok(before)) => now.netns.identity() != before.netns.identity(),
            (Err(now), Err(before)) => !now.same(before),
            _ => true,
        };
        // Nothing tells of a process that enters another namespace; of all else there are events.
        let unheard = matches!(state, Err(Missing::Address { .. } | Missing::Refused { .. } | Missing::Hidden));
        let now = Instant::now();
        if changed {
            wanted.since = now;
        }
        let wait = (now.duration_since(wanted.since) / RETRY_PART).clamp(RETRY, RETRY_MAX);
        wanted.retry = unheard.then(|| now + wait);
        wanted.state = state;
        changed.then(|| Arc::clone(&wanted.workload))
    }

    fn without_directory(&self) -> Missing {
        if !self.trees.is_empty() {
            return Missing::Cgroup;
        }
        self.root.clone().or_else(|| cgroup::mount().ok()).map_or(Missing::Mount, Missing::Tree)
    }

    fn cannot_watch(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.blind, true) {
            tracing::warn!(
                %error,
                "watching the pods' cgroups: new pods are found a second later; \
                 raise fs.inotify.max_user_instances and max_user_watches on the node"
            );
        }
    }
}
