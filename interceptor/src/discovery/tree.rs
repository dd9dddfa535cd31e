//! The directories above all pods, and one walk over them that finds every pod.
//!
//! Called by [`Pods`](super::Pods). Reads directory names only; what is inside a pod's directory is not looked at here.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::layout;
use crate::config::PodUid;

/// How deep below the mount the kubelet's directory is looked for: a kubelet in a container in a container.
const DEPTH: usize = 8;

/// All pods' directories, and the directories in which pods' directories come and go.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) pods: HashMap<PodUid, PathBuf>,
    pub(super) parents: Vec<PathBuf>,
}

/// The directories above all pods below `root`, itself included. Does not go into any of them: pods may hold a kubelet of
/// their own, whose pods are not this node's.
pub(super) fn trees(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut level = vec![root.to_owned()];
    for _ in 0..=DEPTH {
        let (trees, others) = level.into_iter().partition::<Vec<_>, _>(|dir| layout::is_tree(&name(dir)));
        found.extend(trees);
        level = others.iter().flat_map(|dir| directories(dir)).collect();
    }
    found.sort();
    found
}

/// Every pod below these trees: directly (guaranteed ones) or one level deeper (the other classes).
pub(super) fn list(trees: &[PathBuf]) -> Listing {
    let mut listing = Listing::default();
    for tree in trees {
        listing.parents.push(tree.clone());
        for dir in directories(tree) {
            match layout::pod_of(&name(&dir)) {
                Some(uid) => drop(listing.pods.insert(uid, dir)),
                None => {
                    let pods = directories(&dir).filter_map(|pod| Some((layout::pod_of(&name(&pod))?, pod)));
                    listing.pods.extend(pods);
                    listing.parents.push(dir);
                }
            }
        }
    }
    listing
}

/// The directories in `dir`. One that is gone, or may not be read, has none.
pub(super) fn directories(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

/// A directory's own name. The kubelet's are ASCII; any other is none of its.
pub(super) fn name(dir: &Path) -> String {
    dir.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned()
}
