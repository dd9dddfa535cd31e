//! Finds the pods of this node without asking a container runtime: UID → cgroup → process → network namespace.
//!
//! `capture` owns the [`Pods`] and is told which of them to find; the Kubernetes source asks [`decide`] which pods those
//! are. One walk over the kubelet's directories serves all pods, inotify tells of changes, a slow sweep covers what it
//! misses. Nothing is written, nobody is moved, and a pod that cannot be found is a reason in words, not an error that
//! stops others.

mod decide;
mod examine;
mod layout;
mod pods;
mod tree;
mod watch;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use decide::{PodFacts, Skip, Verdict, decide};
pub use pods::Pods;

use crate::net::netns::Netns;

/// Where a pod is.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its network namespace, held open.
    pub netns: Arc<Netns>,
    /// Its cgroup directory.
    pub cgroup: Arc<Path>,
}

impl Found {
    fn new(netns: Netns, cgroup: &Path) -> Self {
        Self { netns: Arc::new(netns), cgroup: Arc::from(cgroup) }
    }
}

/// Why a pod is not found.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Missing {
    /// There is no kubelet's directory at all.
    #[error(
        "there is no kubepods cgroup below {}: no kubelet has run here, or this is not the host's file system; \
         mount the host's cgroup v2 and name it with --cgroup-root", .0.display()
    )]
    Tree(PathBuf),
    /// No cgroup v2 is mounted.
    #[error("no cgroup v2 file system is mounted: mount the host's and name it with --cgroup-root")]
    Mount,
    /// The pod has no directory.
    #[error("it has no cgroup yet: the kubelet has not started it, or it has ended")]
    Cgroup,
    /// Nothing runs in the pod.
    #[error("no process runs in its cgroup yet")]
    Process,
    /// The agent does not see the pod's processes.
    #[error("its processes are outside the agent's PID namespace: run the agent with hostPID: true")]
    Hidden,
    /// The pod's processes are in other namespaces.
    #[error(
        "none of the {namespaces} network namespaces of its processes has an address of the pod: \
         its sandbox is being made, or has a network stack of its own (gVisor)"
    )]
    Address {
        /// How many there are.
        namespaces: usize,
    },
    /// The namespace may not be opened or entered.
    #[error("opening its network namespace {}: {source}; the agent needs CAP_SYS_ADMIN and CAP_SYS_PTRACE", .path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Arc<io::Error>,
    },
}

impl Missing {
    /// Whether it comes by itself, as opposed to what somebody has to mend.
    pub fn is_yet_to_come(&self) -> bool {
        matches!(self, Self::Cgroup | Self::Process | Self::Address { .. })
    }

    /// The same reason, whatever its details.
    fn same(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

#[cfg(test)]
mod tests;
