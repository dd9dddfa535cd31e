//! One row of the result: what was measured for whom in every round, the ratios, and the targets that it is held to.
//!
//! Scenarios make rows; [`table`](crate::table), JSON and [`render`](crate::render) show them. Rows are made of values
//! per round, and everything else in them is derived here, so that no two outputs can disagree.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::stats::{self, Spread};
use crate::subject::Subject;
use crate::targets::{self, Verdict};

/// Which of two values is the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// What the agent is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Against {
    One(Subject),
    /// The best of the other proxies, which may be another one in every round.
    BestPeer,
}

impl Against {
    /// The key in JSON.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Against::One(subject) => subject.name(),
            Against::BestPeer => "best_peer",
        }
    }
}

/// A measured quantity: its name, its unit, and which way is better.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
}

/// The quantities that more than one scenario measures.
pub(crate) mod metric {
    use super::{Better, Metric};

    pub(crate) const RATE: Metric = Metric { name: "requests", unit: "1/s", better: Better::Higher };
    pub(crate) const P50: Metric = Metric { name: "p50", unit: "µs", better: Better::Lower };
    pub(crate) const MEAN: Metric = Metric { name: "mean", unit: "µs", better: Better::Lower };
    pub(crate) const P99: Metric = Metric { name: "p99", unit: "µs", better: Better::Lower };
    pub(crate) const CPU: Metric = Metric { name: "CPU per request", unit: "µs", better: Better::Lower };
    pub(crate) const RSS: Metric = Metric { name: "RSS", unit: "MB", better: Better::Lower };
    pub(crate) const PSS: Metric = Metric { name: "PSS", unit: "MB", better: Better::Lower };
}

/// One quantity in one case of one scenario.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) scenario: String,
    pub(crate) case: String,
    pub(crate) metric: String,
    pub(crate) unit: String,
    pub(crate) better: Better,
    /// Per subject, one value a round.
    pub(crate) rounds: BTreeMap<Subject, Vec<f64>>,
    /// Per subject, the median and the ends of the rounds.
    pub(crate) values: BTreeMap<Subject, Spread>,
    /// Ours divided by theirs within each round, per [`Against::key`].
    pub(crate) ratios: BTreeMap<String, Spread>,
    pub(crate) targets: Vec<Verdict>,
}

impl Row {
    /// A row of the values of each round; the targets of the issue for it are judged.
    pub(crate) fn new(scenario: &str, case: &str, metric: Metric, rounds: BTreeMap<Subject, Vec<f64>>) -> Row {
        let rounds: BTreeMap<Subject, Vec<f64>> = rounds
            .into_iter()
            .map(|(subject, values)| (subject, values.into_iter().map(stats::rounded).collect()))
            .collect();
        let values: BTreeMap<Subject, Spread> =
            rounds.iter().filter_map(|(subject, values)| Some((*subject, Spread::of(values)?))).collect();
        let ratios = ratios(&rounds, metric.better);
        let targets = targets::verdicts(scenario, case, metric.name, &values, &ratios);
        Row {
            scenario: scenario.to_owned(),
            case: case.to_owned(),
            metric: metric.name.to_owned(),
            unit: metric.unit.to_owned(),
            better: metric.better,
            rounds,
            values,
            ratios,
            targets,
        }
    }

    /// The metric with its unit, for people.
    pub(crate) fn quantity(&self) -> String {
        let comma = if self.unit.is_empty() { "" } else { ", " };
        format!("{}{comma}{}", self.metric, self.unit)
    }

    /// A row that has only our own values.
    pub(crate) fn ours(scenario: &str, case: &str, metric: Metric, rounds: Vec<f64>) -> Row {
        Row::new(scenario, case, metric, BTreeMap::from([(Subject::Ours, rounds)]))
    }
}

fn ratios(rounds: &BTreeMap<Subject, Vec<f64>>, better: Better) -> BTreeMap<String, Spread> {
    let Some(ours) = rounds.get(&Subject::Ours) else { return BTreeMap::new() };
    let others = rounds.iter().filter(|(subject, _)| **subject != Subject::Ours);
    let mut all: BTreeMap<Against, &[f64]> =
        others.map(|(subject, values)| (Against::One(*subject), values.as_slice())).collect();
    let best = best_peer(rounds, better);
    all.insert(Against::BestPeer, &best);
    let one = |(against, theirs): (Against, &[f64])| {
        Some((against.key().to_owned(), Spread::of(&stats::ratios(ours, theirs))?))
    };
    all.into_iter().filter_map(one).collect()
}

/// The best of the proxies, round by round.
fn best_peer(rounds: &BTreeMap<Subject, Vec<f64>>, better: Better) -> Vec<f64> {
    let peers: Vec<&Vec<f64>> = Subject::PEERS.iter().filter_map(|peer| rounds.get(peer)).collect();
    let count = peers.iter().map(|values| values.len()).min().unwrap_or_default();
    let best = |round: usize| {
        let values = peers.iter().filter_map(|values| values.get(round)).copied();
        match better {
            Better::Higher => values.max_by(f64::total_cmp),
            Better::Lower => values.min_by(f64::total_cmp),
        }
    };
    (0..count).filter_map(best).collect()
}

#[cfg(test)]
mod tests {
    use super::{Better, Metric, Row, metric};
    use crate::subject::Subject;

    fn row(metric: Metric) -> Row {
        let rounds = [
            (Subject::Direct, vec![100.0, 200.0, 100.0]),
            (Subject::Ours, vec![60.0, 80.0, 50.0]),
            (Subject::HaProxy, vec![30.0, 20.0, 25.0]),
            (Subject::Nginx, vec![20.0, 40.0, 20.0]),
        ];
        Row::new("s", "c", metric, rounds.into_iter().collect())
    }

    #[test]
    fn ratios_are_taken_within_the_rounds() {
        let row = row(metric::RATE);
        let direct = row.ratios.get("direct").unwrap();
        assert_eq!((direct.median, direct.min, direct.max), (0.5, 0.4, 0.6));
        assert_eq!(row.values.get(&Subject::Ours).unwrap().median, 60.0);
    }

    #[test]
    fn the_best_peer_is_chosen_anew_in_every_round_and_by_what_is_better() {
        let most = row(metric::RATE).ratios;
        assert_eq!(most.get("best_peer").unwrap().median, 2.0, "of 60/30, 80/40, 50/25");
        let least = row(Metric { better: Better::Lower, ..metric::RATE }).ratios;
        assert_eq!(least.get("best_peer").unwrap().max, 4.0, "80/20");
    }

    #[test]
    fn a_row_without_peers_has_no_ratio_to_them() {
        assert!(Row::ours("s", "c", metric::RSS, vec![1.0]).ratios.is_empty());
    }
}
