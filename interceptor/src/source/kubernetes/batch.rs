//! Changes that come into force together.

use crate::config::{ServiceSpec, SpaceSpec, WorkloadSpec};
use crate::snapshot::Change;

/// What a snapshot has to say otherwise.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Spaces that came or have another parent.
    pub spaces: Vec<SpaceSpec>,
    /// Namespaces that are no space any more.
    pub spaces_gone: Vec<String>,
    /// Services that came or changed.
    pub services: Vec<ServiceSpec>,
    /// Space and name of services that are gone.
    pub services_gone: Vec<(String, String)>,
    /// Pods of this node that came or changed.
    pub workloads: Vec<WorkloadSpec>,
    /// Names of those that are gone.
    pub workloads_gone: Vec<String>,
}

impl Batch {
    /// As a snapshot takes them: what goes before what comes, as an address may change hands.
    pub fn changes(&self) -> Vec<Change<'_>> {
        let mut changes = Vec::with_capacity(self.len());
        changes.extend(self.spaces_gone.iter().map(|name| Change::SpaceGone(name)));
        changes.extend(self.spaces.iter().map(Change::Space));
        changes.extend(self.services_gone.iter().map(|(space, name)| Change::ServiceGone { space, name }));
        changes.extend(self.services.iter().map(Change::Service));
        changes.extend(self.workloads_gone.iter().map(|name| Change::WorkloadGone(name)));
        changes.extend(self.workloads.iter().map(Change::Workload));
        changes
    }

    /// How many changes there are.
    pub fn len(&self) -> usize {
        self.spaces.len()
            + self.spaces_gone.len()
            + self.services.len()
            + self.services_gone.len()
            + self.workloads.len()
            + self.workloads_gone.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
