//! The targets: what the agent is held to, row by row, and whether it is reached.
//!
//! [`row`](crate::row) asks for every row it makes. A target that is not met fails nothing: it is said, in the table and
//! in docs/performance.md. The numbers are the project's own promise; nothing in the scenarios knows them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::row::Against;
use crate::stats::Spread;
use crate::subject::Subject;

/// A target and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// As one would say it: `≥ 1.4 × best peer`.
    pub(crate) target: String,
    /// What is held against it: the median ratio, or our median.
    pub(crate) measured: f64,
    pub(crate) met: bool,
}

#[derive(Debug, Clone, Copy)]
enum Bound {
    AtLeast(f64),
    AtMost(f64),
    /// 1.00 give or take this much.
    Same(f64),
}

use Against::{BestPeer, One};
use Bound::{AtLeast, AtMost, Same};
use Subject::{Direct, Envoy, HaProxy};

/// Scenario, case, metric, what our value is divided by (nothing: it is taken as it is), bound.
type Target = (&'static str, &'static str, &'static str, Option<Against>, Bound);

#[rustfmt::skip]
const TARGETS: &[Target] = &[
    ("http",    "c32 100 B",      "requests",             Some(BestPeer),      AtLeast(1.4)),
    ("http",    "c32 100 B",      "requests",             Some(One(Direct)),   AtLeast(0.60)),
    ("http",    "c32 100 B",      "CPU per request",      Some(One(HaProxy)),  AtMost(0.65)),
    ("http",    "c32 100 B",      "p99",                  Some(One(HaProxy)),  AtMost(0.7)),
    ("http",    "c1 100 B",       "p50",                  Some(One(Direct)),   AtMost(1.5)),
    ("connect", "c32 100 B",      "requests",             Some(One(HaProxy)),  AtLeast(1.2)),
    ("h2",      "c8 m32 100 B",   "requests",             Some(BestPeer),      AtLeast(1.3)),
    ("h2",      "c8 m32 100 B",   "CPU per request",      Some(One(Envoy)),    AtMost(0.7)),
    ("opaque",  "upload kernel",  "throughput",           Some(One(Direct)),   AtLeast(0.65)),
    ("opaque",  "upload kernel",  "throughput",           Some(One(HaProxy)),  AtLeast(1.5)),
    ("opaque",  "download kernel", "throughput",          Some(One(Direct)),   AtLeast(0.85)),
    ("opaque",  "download kernel", "throughput",          Some(One(HaProxy)),  AtLeast(1.5)),
    ("opaque",  "upload auto",    "throughput",           Some(One(Direct)),   AtLeast(0.65)),
    ("opaque",  "upload auto",    "throughput",           Some(One(HaProxy)),  AtLeast(1.5)),
    ("opaque",  "download auto",  "throughput",           Some(One(Direct)),   AtLeast(0.85)),
    ("opaque",  "download auto",  "throughput",           Some(One(HaProxy)),  AtLeast(1.5)),
    ("opaque",  "ping-pong auto", "p50",                  Some(One(Direct)),   AtMost(1.2)),
    ("outside", "c32 100 B",      "requests",             Some(One(Direct)),   Same(0.02)),
    ("outside", "connect",        "added to connect",     None,                AtMost(2.0)),
    ("idle",    "idle",           "RSS",                  None,                AtMost(12.0)),
    ("idle",    "many connections", "RSS per connection", None,               AtMost(6.0)),
    ("micro",   "route lookup",   "time",                 None,                AtMost(150.0)),
    ("micro",   "endpoint update", "time",                None,                AtMost(2.0)),
];

/// The targets of one row, judged by its values and ratios; those for which something is missing are left out.
pub(crate) fn verdicts(
    scenario: &str,
    case: &str,
    metric: &str,
    values: &BTreeMap<Subject, Spread>,
    ratios: &BTreeMap<String, Spread>,
) -> Vec<Verdict> {
    let of_row = TARGETS.iter().filter(|target| (target.0, target.1, target.2) == (scenario, case, metric));
    let judge = |&(_, _, _, against, bound): &Target| {
        let measured = match against {
            Some(against) => ratios.get(against.key())?.median,
            None => values.get(&Subject::Ours)?.median,
        };
        Some(Verdict { target: text(against, bound), measured, met: bound.holds(measured) })
    };
    of_row.filter_map(judge).collect()
}

impl Bound {
    fn holds(self, measured: f64) -> bool {
        match self {
            AtLeast(least) => measured >= least,
            AtMost(most) => measured <= most,
            Same(off) => (measured - 1.0).abs() <= off,
        }
    }
}

fn text(against: Option<Against>, bound: Bound) -> String {
    let times = match against {
        Some(BestPeer) => " × best peer".to_owned(),
        Some(One(subject)) => format!(" × {subject}"),
        None => String::new(),
    };
    match bound {
        AtLeast(least) => format!("≥ {least}{times}"),
        AtMost(most) => format!("≤ {most}{times}"),
        Same(off) => format!("1.00 ± {off}{times}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::verdicts;
    use crate::row::{Row, metric};
    use crate::subject::Subject;

    #[test]
    fn a_row_is_held_to_every_target_that_it_has() {
        let rounds =
            [(Subject::Direct, 100.0), (Subject::Ours, 70.0), (Subject::HaProxy, 60.0), (Subject::Nginx, 40.0)];
        let rounds = rounds.into_iter().map(|(subject, value)| (subject, vec![value])).collect();
        let row = Row::new("http", "c32 100 B", metric::RATE, rounds);
        let told: Vec<_> = row.targets.iter().map(|verdict| (verdict.target.as_str(), verdict.met)).collect();
        assert_eq!(told, [("≥ 1.4 × best peer", false), ("≥ 0.6 × direct", true)]);
    }

    #[test]
    fn an_absolute_target_looks_at_our_value_and_a_missing_value_is_no_verdict() {
        let met = Row::ours("idle", "idle", metric::RSS, vec![12.0]).targets;
        assert!(met.first().is_some_and(|verdict| verdict.met && verdict.target == "≤ 12"));
        let unmet = Row::ours("idle", "idle", metric::RSS, vec![12.1]).targets;
        assert!(unmet.first().is_some_and(|verdict| !verdict.met));
        assert!(verdicts("idle", "idle", "RSS", &BTreeMap::new(), &BTreeMap::new()).is_empty());
        assert!(Row::ours("http", "c1 1 MiB", metric::RATE, vec![1.0]).targets.is_empty());
    }
}
