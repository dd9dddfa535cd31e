//! Which directories have changed: one inotify instance for all pods.
//!
//! Watched are the directories in which pods' directories come and go, and of every pod that is looked for its own
//! directory (containers come and go) and the `cgroup.events` of it and its containers, which the kernel marks as modified
//! when the first process arrives or the last one leaves. Called by [`Pods`](super::Pods), which knows what to do then.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, WatchDescriptor};

use super::tree;
use crate::config::PodUid;
use crate::sys::AsyncInotify;

/// What a watch is there for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// Pods' directories come and go.
    Parents,
    /// Something about this pod.
    Pod(PodUid),
}

/// What has happened.
#[derive(Debug, Default)]
pub(super) struct Stir {
    /// Pods' directories have come or gone, or the kernel has dropped events.
    pub(super) parents: bool,
    /// Something about these pods.
    pub(super) pods: Vec<PodUid>,
}

/// The watches.
pub(super) struct Watch {
    inotify: AsyncInotify,
    subjects: HashMap<WatchDescriptor, Subject>,
    /// What is watched, by subject.
    paths: HashMap<Subject, HashMap<PathBuf, WatchDescriptor>>,
}

impl Watch {
    /// No watch yet. Needs a runtime.
    ///
    /// # Errors
    /// Where the user has no more inotify instances (`fs.inotify.max_user_instances`).
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { inotify: AsyncInotify::new()?, subjects: HashMap::new(), paths: HashMap::new() })
    }

    /// Watches the directories in which pods' directories come and go, and no others.
    ///
    /// # Errors
    /// Where a watch is refused (`fs.inotify.max_user_watches`).
    pub(super) fn parents(&mut self, dirs: &[PathBuf]) -> io::Result<()> {
        self.set(&Subject::Parents, dirs.iter().map(|dir| (dir.clone(), children())).collect())
    }

    /// Watches one pod by its directory, and its containers' as they are now.
    ///
    /// # Errors
    /// As for [`parents`](Self::parents).
    pub(super) fn pod(&mut self, uid: &PodUid, dir: &Path) -> io::Result<()> {
        let events = |dir: PathBuf| (dir.join("cgroup.events"), AddWatchFlags::IN_MODIFY);
        let mut paths: HashMap<_, _> = tree::directories(dir).map(events).collect();
        paths.extend([events(dir.to_owned()), (dir.to_owned(), children())]);
        self.set(&Subject::Pod(uid.clone()), paths)
    }

    /// Ends the watches of a pod.
    pub(super) fn forget(&mut self, uid: &PodUid) {
        let watches = self.paths.remove(&Subject::Pod(uid.clone())).unwrap_or_default();
        watches.into_values().for_each(|watch| self.end(watch));
    }

    fn set(&mut self, subject: &Subject, wanted: HashMap<PathBuf, AddWatchFlags>) -> io::Result<()> {
        let mut have = self.paths.remove(subject).unwrap_or_default();
        let gone: Vec<_> = have.extract_if(|path, _| !wanted.contains_key(path)).collect();
        gone.into_iter().for_each(|(_, watch)| self.end(watch));
        let mut refused = None;
        for (path, flags) in wanted {
            // Also for those that are there: where a directory was made anew under its name, the old watch is dead.
            match self.inotify.watches().add_watch(&path, flags) {
                Ok(watch) => {
                    self.subjects.insert(watch, subject.clone());
                    if let Some(old) = have.insert(path, watch).filter(|old| *old != watch) {
                        self.subjects.remove(&old);
                    }
                }
                // Gone meanwhile: the directory above tells of it.
                Err(Errno::ENOENT) => {}
                Err(error) => refused = Some(error.into()),
            }
        }
        self.paths.insert(subject.clone(), have);
        refused.map_or(Ok(()), Err)
    }

    fn end(&mut self, watch: WatchDescriptor) {
        self.subjects.remove(&watch);
        // The kernel ends it by itself when its directory goes.
        self.inotify.watches().rm_watch(watch).ok();
    }

    /// Waits until something has happened.
    ///
    /// # Errors
    /// Where the runtime does not wait any more.
    pub(super) async fn stirred(&self) -> io::Result<()> {
        self.inotify.readable().await
    }

    /// What has happened since the last call.
    pub(super) fn take(&mut self) -> Stir {
        let mut stir = Stir::default();
        loop {
            let events = self.inotify.read();
            if events.is_empty() {
                return stir;
            }
            for event in events {
                if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                    stir.parents = true;
                    stir.pods.extend(self.paths.keys().filter_map(|subject| match subject {
                        Subject::Pod(uid) => Some(uid.clone()),
                        Subject::Parents => None,
                    }));
                    continue;
                }
                match self.subjects.get(&event.wd) {
                    Some(Subject::Parents) => stir.parents = true,
                    Some(Subject::Pod(uid)) => stir.pods.push(uid.clone()),
                    // One that was ended meanwhile.
                    None => {}
                }
            }
        }
    }
}

/// Directories come or go, or the watched one itself goes.
fn children() -> AddWatchFlags {
    AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_ONLYDIR
}
