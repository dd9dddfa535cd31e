//! What the manager shows of itself: `/status` as JSON, `/metrics`, and whether it is ready.
//!
//! The controller and the writer tell the [`Board`]; the endpoint reads it. A value that is passed, not a global.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde::Serialize;

use super::problem::{Problem, Reason};
use crate::metrics::{manager as docs, register};

/// A sort of write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Apply,
    Delete,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Apply => "apply",
            Self::Delete => "delete",
        })
    }
}

/// How the manager is.
#[derive(Debug, Clone, Default, Serialize)]
struct Report {
    /// Its name as a holder of the Lease.
    identity: String,
    /// Whether it holds the Lease and writes.
    leading: bool,
    /// Whether it has seen the whole cluster once.
    synced: bool,
    /// Ingress objects that there should be.
    wanted: usize,
    /// Those of them that are there as they should be.
    in_force: usize,
    /// What cannot be done.
    problems: BTreeSet<Problem>,
}

type Pairs = Vec<(&'static str, &'static str)>;

#[derive(Debug)]
struct Inner {
    report: Mutex<Report>,
    registry: Registry,
    leading: Gauge,
    wanted: Gauge,
    in_force: Gauge,
    problems: Family<Pairs, Gauge>,
    writes: Family<Pairs, Counter>,
}

/// Where the manager writes down how it is; clones are the same board.
#[derive(Debug, Clone)]
pub(super) struct Board(Arc<Inner>);

impl Board {
    pub(super) fn new(identity: &str) -> Self {
        let mut registry = Registry::default();
        let objects: Family<Pairs, Gauge> = register(&mut registry, docs::OBJECTS, Family::default());
        let state = |state| objects.get_or_create(&vec![("state", state)]).clone();
        let (wanted, in_force) = (state("wanted"), state("in_force"));
        let problems: Family<Pairs, Gauge> = register(&mut registry, docs::PROBLEMS, Family::default());
        for reason in Reason::ALL {
            drop(problems.get_or_create(&vec![("reason", reason.as_str())]));
        }
        let writes: Family<Pairs, Counter> = register(&mut registry, docs::WRITES, Family::default());
        for verb in ["apply", "delete"] {
            for result in ["ok", "failed"] {
                drop(writes.get_or_create(&vec![("verb", verb), ("result", result)]));
            }
        }
        let leading = register(&mut registry, docs::LEADING, Gauge::default());
        let report = Mutex::new(Report { identity: identity.to_owned(), ..Report::default() });
        Self(Arc::new(Inner { report, registry, leading, wanted, in_force, problems, writes }))
    }

    fn report(&self) -> MutexGuard<'_, Report> {
        self.0.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_leading(&self, leading: bool) {
        self.report().leading = leading;
        self.0.leading.set(leading.into());
    }

    pub(super) fn set_synced(&self) {
        self.report().synced = true;
    }

    pub(super) fn set_objects(&self, wanted: usize, in_force: usize) {
        let mut report = self.report();
        (report.wanted, report.in_force) = (wanted, in_force);
        self.0.wanted.set(i64::try_from(wanted).unwrap_or(i64::MAX));
        self.0.in_force.set(i64::try_from(in_force).unwrap_or(i64::MAX));
    }

    pub(super) fn count_write(&self, verb: Verb, ok: bool) {
        let verb = if verb == Verb::Apply { "apply" } else { "delete" };
        self.0.writes.get_or_create(&vec![("verb", verb), ("result", if ok { "ok" } else { "failed" })]).inc();
    }

    /// Puts these problems in the place of the last ones, which are returned.
    pub(super) fn set_problems(&self, problems: &BTreeSet<Problem>) -> BTreeSet<Problem> {
        for reason in Reason::ALL {
            let count = problems.iter().filter(|problem| problem.reason == *reason).count();
            let gauge = self.0.problems.get_or_create(&vec![("reason", reason.as_str())]).clone();
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        std::mem::replace(&mut self.report().problems, problems.clone())
    }

    /// Why it is not ready; `None` when it is. One that only waits for the Lease is: it must not hold up a rollout.
    pub(super) fn not_ready_because(&self) -> Option<&'static str> {
        (!self.report().synced)
            .then_some("the namespaces, services and ingresses of the cluster have not been listed yet")
    }

    /// The whole report as JSON.
    pub(super) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(&*self.report())
    }

    /// The metrics in OpenMetrics text.
    pub(super) fn metrics(&self) -> String {
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &self.0.registry) {
            Ok(()) => text,
            // Writing to a String does not fail.
            Err(fmt::Error) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::problem::Object;
    use crate::metrics::manager::FAMILIES;

    #[test]
    fn what_is_told_is_shown() {
        let board = Board::new("me");
        assert!(board.not_ready_because().is_some());
        board.set_synced();
        assert!(board.not_ready_because().is_none());
        board.set_leading(true);
        board.set_objects(7, 5);
        board.count_write(Verb::Apply, true);
        board.count_write(Verb::Delete, false);
        let problem = Object::service("dev", "a").has(Reason::NoPort, "no port".into());
        assert!(board.set_problems(&[problem.clone()].into()).is_empty());
        let report: serde_json::Value = serde_json::from_str(&board.json().unwrap()).unwrap();
        assert_eq!((&report["leading"], &report["wanted"], &report["in_force"]), (&true.into(), &7.into(), &5.into()));
        let shown = serde_json::json!({"kind": "Service", "namespace": "dev", "name": "a", "reason": "NoPort", "message": "no port"});
        assert_eq!(report["problems"], serde_json::json!([shown]));
        let text = board.metrics();
        for line in [
            "interceptor_ingress_leading 1",
            r#"interceptor_ingress_objects{state="wanted"} 7"#,
            r#"interceptor_ingress_objects{state="in_force"} 5"#,
            r#"interceptor_ingress_problems{reason="NoPort"} 1"#,
            r#"interceptor_ingress_problems{reason="HostTaken"} 0"#,
            r#"interceptor_ingress_writes_total{verb="apply",result="ok"} 1"#,
            r#"interceptor_ingress_writes_total{verb="delete",result="failed"} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "no line {line} in\n{text}");
        }
        let registered = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
        assert_eq!(registered, FAMILIES.len(), "{text}");
        assert_eq!(board.set_problems(&BTreeSet::new()), [problem].into());
        assert!(board.metrics().contains(r#"interceptor_ingress_problems{reason="NoPort"} 0"#));
    }
}
