//! Which charts are drawn of a report. [`render`](crate::render) puts them into docs/performance.md, `--plots` anywhere.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::report::Report;
use crate::row::Row;
use crate::subject::Subject;
use crate::svg::{Chart, Group};

/// A chart: every row of one metric of one scenario is a group of bars.
#[derive(Debug)]
pub(crate) struct Figure {
    /// Its file's name without `.svg`.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) scenario: &'static str,
    metric: &'static str,
    /// Only cases that end so.
    ending: &'static str,
    /// Divided by the direct connection's value, so that cases of different size can stand side by side.
    of_direct: bool,
}

#[rustfmt::skip]
pub(crate) const ALL: &[Figure] = &[
    Figure { name: "http-rate", title: "HTTP/1.1 requests per second, direct = 1 (higher is better)",
             scenario: "http", metric: "requests", ending: "", of_direct: true },
    Figure { name: "http-cpu", title: "CPU time of the proxy per request, µs (lower is better)",
             scenario: "http", metric: "CPU per request", ending: "100 B", of_direct: false },
    Figure { name: "connect", title: "Requests per second with a connection each, direct = 1 (higher is better)",
             scenario: "connect", metric: "requests", ending: "100 B", of_direct: true },
    Figure { name: "opaque-throughput", title: "Opaque bytes, Gbit/s (higher is better)",
             scenario: "opaque", metric: "throughput", ending: "", of_direct: false },
    Figure { name: "idle-memory", title: "Resident memory, MB (lower is better)",
             scenario: "idle", metric: "RSS", ending: "", of_direct: false },
];

impl Figure {
    /// The chart of this report; `None` where it has no such rows.
    pub(crate) fn chart(&self, report: &Report) -> Option<Chart> {
        let rows = report.scenarios.iter().flat_map(|done| &done.rows);
        let of_figure =
            |row: &&Row| row.scenario == self.scenario && row.metric == self.metric && row.case.ends_with(self.ending);
        let groups: Vec<Group> = rows.filter(of_figure).filter_map(|row| self.group(row)).collect();
        (!groups.is_empty()).then(|| Chart { title: self.title.to_owned(), groups })
    }

    fn group(&self, row: &Row) -> Option<Group> {
        let unit = if self.of_direct { row.values.get(&Subject::Direct)?.median } else { 1.0 };
        let bars = row.values.iter().map(|(subject, spread)| (*subject, spread.median / unit));
        Some(Group { label: row.case.clone(), bars: bars.collect() })
    }
}

/// Writes all charts that this report has into a directory, which is made.
pub(crate) fn write(report: &Report, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    for figure in ALL {
        let Some(chart) = figure.chart(report) else { continue };
        let file = dir.join(format!("{}.svg", figure.name));
        fs::write(&file, chart.text()).with_context(|| format!("writing {}", file.display()))?;
    }
    Ok(())
}
