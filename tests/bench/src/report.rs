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
        let text = serde_json::to_string(self).context("writing JSON")?;
        // A line per row: it can be read, and two results can be compared. Within a string the quotes would be escaped.
        let text = text.replace("{\"scenario\":", "\n{\"scenario\":").replace("{\"name\":", "\n{\"name\":");
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

#[cfg(test)]
pub(crate) mod tests {
    use std::{env, fs, process};

    use super::{Done, Report};
    use crate::machine::Machine;
    use crate::row::{Row, metric};
    use crate::subject::Subject;

    /// One scenario with a row, a note and a failure.
    pub(crate) fn sample() -> Report {
        let rounds = [(Subject::Direct, vec![100.0, 110.0]), (Subject::Ours, vec![70.0, 55.0])];
        let rows = vec![Row::new("http", "c32 100 B", metric::RATE, rounds.into_iter().collect())];
        let versions = [("wrk".to_owned(), "4".to_owned())].into();
        let machine = Machine { cpu: "c".into(), cores: 2, memory_gib: 1.0, kernel: "k".into(), versions };
        let (error, notes) = (Some("no \"wrk\"".into()), vec!["{\"name\":".into()]);
        let scenarios = vec![Done { name: "http".into(), help: "what it is".into(), error, notes, rows }];
        let (command, effort) = ("cargo xtask bench".into(), "quick".into());
        Report { command, effort, rounds: 2, seconds: 1, took: 61, machine, scenarios }
    }

    #[test]
    fn what_is_written_is_read_back_a_line_per_row() {
        let path = env::temp_dir().join(format!("interceptor-bench-{}.json", process::id()));
        sample().write(&path).unwrap();
        let (text, report) = (fs::read_to_string(&path).unwrap(), Report::read(&path).unwrap());
        fs::write(&path, "{}").unwrap();
        let other = Report::read(&path).unwrap_err();
        fs::remove_file(&path).unwrap();
        assert_eq!(format!("{report:?}"), format!("{:?}", sample()));
        assert_eq!(text.lines().filter(|line| line.starts_with("{\"scenario\":\"http\"")).count(), 1, "{text}");
        assert!(other.to_string().contains("is no result of"), "{other}");
    }
}
