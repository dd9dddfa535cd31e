//! Keeps the programs attached where they belong: to the cgroups of a snapshot, and to its workloads' network namespaces.
//!
//! A cgroup may be removed and made anew under the same name, and anybody with the right to may detach a link. The kernel
//! tells nobody, so the controller's sweeps ask it where each link leads, and attach again what is missing. What is still
//! attached stays so meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use interceptor_common::names;

use super::controller::Controller;
use crate::bpf::{CgroupLinks, HookState, NetnsLink};
use crate::cgroup;
use crate::snapshot::Snapshot;
use crate::status;

impl Controller {
    /// Attaches to the cgroups of a snapshot and to no others.
    pub(super) fn apply_cgroups(&mut self, snapshot: &Snapshot) {
        let wanted = attach_points(self.parts.settings.cgroup.as_deref(), self.parts.pods.trees(), snapshot);
        // An agent that does not know its own cgroup would redirect its own connections, were it below one of these.
        let exempt = cgroup::own_id().map_err(|error| error.to_string());
        let is_whole = |(path, links): (&PathBuf, &CgroupLinks)| {
            wanted.contains(path) && identifier(path).is_some_and(|id| links.all_lead_to(id))
        };
        let broken: BTreeSet<PathBuf> =
            self.cgroups.iter().filter(|held| !is_whole(*held)).map(|(path, _)| path.clone()).collect();
        let mut rest = BTreeMap::new();
        if !broken.is_empty() {
            // First the peers, so that nothing arrives at another pod as routed that was not.
            let covered = self.peers_covered_by(|path| !broken.contains(path));
            self.forget_peers(|ip| covered.contains(ip));
        }
        for path in broken {
            let Some(links) = self.cgroups.remove(&path) else { continue };
            self.threads.leave(&path);
            let Some(id) = identifier(&path).filter(|_| wanted.contains(&path)) else { continue };
            tracing::warn!(
                cgroup = %path.display(),
                "it was made anew, or somebody has detached hooks from it: attaching again"
            );
            // Where no descriptors are left all of them are attached anew.
            rest.insert(path, links.leading_to(id).unwrap_or_default());
        }
        self.refused.retain(|path, _| wanted.contains(path));
        for path in wanted {
            if self.cgroups.contains_key(&path) {
                continue;
            }
            let handed = rest.remove(&path).or_else(|| self.handed.cgroups.remove(&path)).unwrap_or_default();
            let attach = |_| self.parts.kernel.attach_rest(&path, handed).map_err(|error| error.to_string());
            let attached = exempt.clone().and_then(attach);
            match attached {
                Ok(mut links) => {
                    self.refused.remove(&path);
                    links.keep(self.pins.as_mut());
                    self.cgroups.insert(path, links);
                }
                Err(error) => {
                    if self.refused.get(&path) != Some(&error) {
                        tracing::warn!(cgroup = %path.display(), error, "outbound connections pass uncaptured");
                        self.refused.insert(path, error);
                    }
                }
            }
        }
        self.show_hooks();
    }

    fn show_hooks(&self) {
        let refused: Vec<&str> = self.refused.values().map(String::as_str).collect();
        let (state, detail) = if self.cgroups.is_empty() {
            if refused.is_empty() {
                return;
            }
            (status::HookState::Detached, refused.join("; "))
        } else {
            let mut detail: Vec<String> = self.cgroups.keys().map(|path| path.display().to_string()).collect();
            detail.extend(refused.iter().map(|why| format!("not elsewhere: {why}")));
            (status::HookState::Attached, detail.join(", "))
        };
        for (name, loaded) in self.parts.kernel.hooks() {
            if *loaded == HookState::Loaded && *name != names::SK_LOOKUP {
                self.parts.status.set_hook(name, state, &detail);
            }
        }
    }

    /// Attaches sk_lookup again where somebody has detached it, and pins what is to outlive the agent and is pinned no more.
    pub(super) fn mend_links(&mut self) {
        let mut mended = 0_usize;
        for attached in self.workloads.values_mut() {
            if !attached.link.as_ref().is_some_and(NetnsLink::is_detached) {
                continue;
            }
            match self.parts.kernel.attach_netns(&attached.captured.netns) {
                Ok(mut link) => {
                    link.keep(self.pins.as_mut());
                    attached.link = Some(link);
                    mended += 1;
                }
                Err(error) => tracing::debug!(workload = %attached.captured.name, %error, "attaching sk_lookup again"),
            }
        }
        if mended > 0 {
            tracing::warn!(
                workloads = mended,
                "somebody has detached sk_lookup from their network namespaces: attached again"
            );
        }
        if self.pins.is_some() {
            self.cgroups.values_mut().for_each(|links| links.keep(self.pins.as_mut()));
            let links = self.workloads.values_mut().filter_map(|attached| attached.link.as_mut());
            links.for_each(|link| link.keep(self.pins.as_mut()));
        }
    }
}

/// The identifier of a cgroup, by which the kernel names what a link is attached to; none where the directory is gone.
fn identifier(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().filter(fs::Metadata::is_dir).map(|meta| meta.ino())
}

/// The cgroups to attach to: the topmost of all that are named, as hooks on a parent cover its children.
fn attach_points(common: Option<&Path>, trees: &[PathBuf], snapshot: &Snapshot) -> BTreeSet<PathBuf> {
    let all: BTreeSet<PathBuf> = common
        .into_iter()
        .chain(trees.iter().map(PathBuf::as_path))
        .chain(snapshot.workloads().filter_map(|w| w.cgroup.as_deref()))
        .map(Path::to_owned)
        .collect();
    all.iter().filter(|path| !path.ancestors().skip(1).any(|above| all.contains(above))).cloned().collect()
}
