//! A captured pod of this node.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::space::{SpaceId, Spaces};
use crate::config::{NetnsRef, PodUid, PropagateMode, WorkloadSpec};

/// All of a snapshot, by name. A node has a few hundred at most: a new table is copied whole.
pub(super) type Workloads = HashMap<Arc<str>, Arc<Workload>, RandomState>;

/// A captured pod of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Its name.
    pub name: Arc<str>,
    /// The usable space that it lives in.
    pub space: Option<SpaceId>,
    /// The space's name as the source gave it, also where that space is at fault.
    pub space_name: Option<Arc<str>>,
    /// Its network namespace.
    pub netns: NetnsRef,
    /// Its own cgroup, where the source names one.
    pub cgroup: Option<PathBuf>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// How its requests find their space again, where the source says so.
    pub propagate: Option<PropagateMode>,
}

impl Workload {
    /// The pod of the kubelet that it is, where it has to be found as one.
    pub fn pod(&self) -> Option<&PodUid> {
        match &self.netns {
            NetnsRef::Pod(uid) => Some(uid),
            NetnsRef::Path(_) | NetnsRef::Pid(_) => None,
        }
    }

    pub(super) fn new(spec: &WorkloadSpec, spaces: &Spaces) -> Self {
        Self {
            name: Arc::from(spec.name.as_str()),
            space: spec.space.as_deref().and_then(|space| spaces.usable(space)),
            space_name: spec.space.as_deref().map(Arc::from),
            netns: spec.netns.clone(),
            cgroup: spec.cgroup.clone(),
            addresses: spec.addresses.iter().map(IpAddr::to_canonical).collect(),
            propagate: spec.propagate,
        }
    }
}
