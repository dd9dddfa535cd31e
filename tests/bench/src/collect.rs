//! Gathers what the rounds of a scenario measure, and makes rows of it in the order in which it came.
//!
//! Scenarios that compare subjects go through here, so that "interleaved" means the same in all of them: within a round
//! every subject is measured once, one after the other, before the next round begins.

use std::collections::BTreeMap;

use crate::row::{Metric, Row};
use crate::subject::Subject;

/// Values by case and metric.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    series: Vec<Series>,
}

#[derive(Debug)]
struct Series {
    case: String,
    metric: Metric,
    rounds: BTreeMap<Subject, Vec<f64>>,
}

impl Collected {
    /// Adds the value of one round.
    pub(crate) fn add(&mut self, case: &str, metric: Metric, subject: Subject, value: f64) {
        let same = |series: &&mut Series| series.case == case && series.metric.name == metric.name;
        if let Some(series) = self.series.iter_mut().find(same) {
            series.rounds.entry(subject).or_default().push(value);
            return;
        }
        let rounds = BTreeMap::from([(subject, vec![value])]);
        self.series.push(Series { case: case.to_owned(), metric, rounds });
    }

    /// The rows of a scenario, those of a case together.
    pub(crate) fn rows(mut self, scenario: &str) -> Vec<Row> {
        let mut cases: Vec<String> = Vec::new();
        for series in &self.series {
            if !cases.contains(&series.case) {
                cases.push(series.case.clone());
            }
        }
        self.series.sort_by_key(|series| cases.iter().position(|case| *case == series.case));
        let one = |series: Series| Row::new(scenario, &series.case, series.metric, series.rounds);
        self.series.into_iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Collected;
    use crate::row::metric::{P50, RATE};
    use crate::subject::Subject;

    #[test]
    fn rows_come_in_the_order_of_the_first_values_case_by_case_and_hold_all_rounds() {
        let mut collected = Collected::default();
        for round in [1.0, 2.0] {
            for subject in [Subject::Direct, Subject::Ours] {
                collected.add("b", RATE, subject, round);
                collected.add("a", RATE, subject, round);
                collected.add("b", P50, subject, round);
            }
        }
        let rows = collected.rows("s");
        let names: Vec<_> = rows.iter().map(|row| (row.case.as_str(), row.metric.as_str())).collect();
        assert_eq!(names, [("b", "requests"), ("b", "p50"), ("a", "requests")]);
        assert_eq!(rows.first().unwrap().rounds.get(&Subject::Ours).unwrap(), &[1.0, 2.0]);
    }
}
