//! What is different with a cluster instead of a file: the file holds settings only, and what cannot be used is found in
//! the snapshot.

use anyhow::{Result, bail};

use crate::config::Config;
use crate::snapshot::Snapshot;
use crate::source::kubernetes::Trouble;

/// Warnings that are told; a cluster where more is wrong is mended by the first ones.
const MAX_WARNINGS: usize = 100;

/// Refuses a file that also lists what comes from the cluster.
///
/// # Errors
/// Which list there is.
pub(super) fn settings_only(config: &Config) -> Result<()> {
    let topology = &config.topology;
    let lists = [
        ("spaces", topology.spaces.is_empty()),
        ("services", topology.services.is_empty()),
        ("workloads", topology.workloads.is_empty()),
    ];
    if let Some((list, _)) = lists.into_iter().find(|(_, empty)| !empty) {
        bail!("the configuration file lists `{list}`, which --kubernetes takes from the cluster; remove the list");
    }
    Ok(())
}

/// What of the cluster cannot be used, in words.
pub(super) fn warnings<'t>(troubles: impl Iterator<Item = &'t Trouble>, snapshot: &Snapshot) -> Vec<String> {
    let faults = snapshot.spaces().filter_map(|space| {
        let fault = space.fault.as_ref()?;
        Some(format!("space {}: {fault}; change the label azds.io/parent-space of a namespace", space.name))
    });
    let mut warnings: Vec<String> = faults.chain(troubles.map(ToString::to_string)).collect();
    let more = warnings.len().saturating_sub(MAX_WARNINGS);
    if more > 0 {
        warnings.truncate(MAX_WARNINGS);
        warnings.push(format!("and {more} more"));
    }
    warnings
}
