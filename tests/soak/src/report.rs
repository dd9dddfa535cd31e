//! What a soak has found: for people as Markdown ([`markdown`](crate::markdown)), for programs as JSON.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use crate::plan;
use crate::slope::Slope;
use crate::soak::{Done, Soak};
use crate::tally::Kind;

/// A soak that is shorter has no time for long sessions.
const FOR_LONG: Duration = Duration::from_secs(100);

/// The report.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// No wrong answer, no unexplained failure, no fault, no slope over its bound.
    pub(crate) ok: bool,
    pub(crate) seed: u64,
    pub(crate) seconds: u64,
    pub(crate) machine: Machine,
    pub(crate) done: Done,
    pub(crate) requests: u64,
    pub(crate) executions: usize,
    pub(crate) kinds: Vec<Row>,
    /// Answers of the shared copy while no agent was there, by why.
    pub(crate) direct: BTreeMap<String, u64>,
    /// Failures that are promised, by why.
    pub(crate) explained: BTreeMap<String, u64>,
    pub(crate) wrong: u64,
    pub(crate) wrong_in_words: Vec<String>,
    pub(crate) unexplained: u64,
    pub(crate) unexplained_in_words: Vec<String>,
    pub(crate) faults: Vec<String>,
    pub(crate) slopes: Vec<Slope>,
    /// What was done and when, if not all was well.
    pub(crate) events: Vec<String>,
    /// Where the logs are kept, if not all was well.
    pub(crate) logs: Option<PathBuf>,
}

/// Where it ran.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) cpus: usize,
}

impl Machine {
    pub(crate) fn describe() -> Result<Machine> {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned();
        Ok(Machine { kernel, cpus: thread::available_parallelism()?.get() })
    }
}

/// One kind of requests or sessions.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) kind: String,
    pub(crate) requests: u64,
    pub(crate) right: u64,
    pub(crate) direct: u64,
    pub(crate) explained: u64,
    pub(crate) wrong: u64,
    pub(crate) unexplained: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

impl Row {
    fn new(name: &str, kind: &Kind) -> Row {
        let mut micros = kind.micros.clone();
        micros.sort_unstable();
        let at = |percent: usize| {
            let index = (micros.len() * percent / 100).min(micros.len().saturating_sub(1));
            f64::from(micros.get(index).copied().unwrap_or_default()) / 1000.0
        };
        let &Kind { right, direct, explained, wrong, unexplained, .. } = kind;
        let (kind, requests) = (name.to_owned(), kind.requests());
        let (p50_ms, p99_ms, max_ms) = (at(50), at(99), at(100));
        Row { kind, requests, right, direct, explained, wrong, unexplained, p50_ms, p99_ms, max_ms }
    }
}

impl Report {
    pub(crate) fn new(seed: u64, took: Duration, machine: Machine, soak: &Soak, slopes: Vec<Slope>) -> Report {
        let tally = &soak.tally;
        let kinds: Vec<Row> = tally.kinds.iter().map(|(name, kind)| Row::new(name, kind)).collect();
        let (wrong, unexplained) = (tally.sum(|kind| kind.wrong), tally.sum(|kind| kind.unexplained));
        // Executions that were too many belong to no kind.
        let wrong = wrong.max(u64::try_from(tally.wrong.len()).unwrap_or(u64::MAX));
        let mut faults = soak.faults.clone();
        // A session of half a minute fits into no short soak.
        let short = |row: &&Row| plan::Kind::is_long(&row.kind) && took < FOR_LONG;
        let silent = kinds.iter().filter(|row| row.right == 0 && !short(row)).map(|row| &row.kind);
        faults.extend(silent.map(|kind| format!("nothing of the kind {kind} succeeded")));
        let ok = wrong == 0 && unexplained == 0 && faults.is_empty() && slopes.iter().all(|slope| slope.ok);
        Report {
            ok,
            seed,
            seconds: took.as_secs(),
            machine,
            done: soak.done.clone(),
            requests: tally.sum(Kind::requests),
            executions: tally.executions(),
            kinds,
            direct: tally.direct.clone(),
            explained: tally.explained.clone(),
            wrong,
            wrong_in_words: tally.wrong.clone(),
            unexplained,
            unexplained_in_words: tally.unexplained.clone(),
            faults,
            slopes,
            events: if ok { Vec::new() } else { soak.timeline.words() },
            logs: None,
        }
    }
}
