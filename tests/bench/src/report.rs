//! The result of a run as a whole, which is what `--json` writes and `--render` reads.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::row::Row;

/// A run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The command that made it.
    pub(crate) command: String,
    /// `smoke`, `quick` or `full`.
    pub(crate) effort: String,
    pub(crate) rounds: usize,
    /// Of one measurement.
    pub(crate) seconds: u32,
    /// How long all of it took, seconds.
    pub(crate) took: u64,
    pub(crate) machine: Machine,
    pub(crate) scenarios: Vec<Done>,
}

/// What came of one scenario.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) name: String,
    pub(crate) help: String,
    /// Why it could not be run to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// What was left out, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

impl Report {
    /// Writes it, whole or not at all.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).context("writing JSON")?;
        let new = path.with_extension("new");
        fs::write(&new, format!("{text}\n")).with_context(|| format!("writing {}", new.display()))?;
        fs::rename(&new, path).with_context(|| format!("renaming {} to {}", new.display(), path.display()))
    }

    /// Reads one that [`Report::write`] has written.
    pub(crate) fn read(path: &Path) -> Result<Report> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is no result of `cargo xtask bench --json`", path.display()))
    }

    /// The scenarios that failed.
    pub(crate) fn failed(&self) -> Vec<&str> {
        self.scenarios.iter().filter(|done| done.error.is_some()).map(|done| done.name.as_str()).collect()
    }
}
