//! Whether what an agent holds grows while it lives: a straight line through the samples after it has warmed up.

use serde::Serialize;

use crate::resources::{QUANTITIES, Sample};

/// The share of a life that counts as warming up, and how long it takes at least, milliseconds.
const WARM: (f64, u64) = (0.25, 10_000);
/// A line through fewer samples says nothing, nor does one over less time.
const SAMPLES: usize = 6;
const SPAN: u64 = 25_000;

/// One quantity of one agent.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Slope {
    pub(crate) pid: u32,
    pub(crate) seconds: u64,
    pub(crate) samples: usize,
    pub(crate) quantity: &'static str,
    pub(crate) first: f64,
    pub(crate) last: f64,
    pub(crate) per_minute: f64,
    /// What the line rises over the whole time, and what it may.
    pub(crate) growth: f64,
    pub(crate) bound: f64,
    pub(crate) ok: bool,
}

/// The lines of every agent that lived for long enough.
pub(crate) fn all(samples: &[Sample]) -> Vec<Slope> {
    let mut pids: Vec<u32> = samples.iter().map(|sample| sample.pid).collect();
    pids.dedup();
    pids.iter().flat_map(|pid| one(samples.iter().filter(|sample| sample.pid == *pid))).collect()
}

fn one<'a>(life: impl Iterator<Item = &'a Sample> + Clone) -> Vec<Slope> {
    let (Some(first), Some(last)) = (life.clone().next(), life.clone().last()) else { return Vec::new() };
    let warm = WARM.1.max(seconds(last.at - first.at, WARM.0));
    let kept: Vec<&Sample> = life.filter(|sample| sample.at - first.at >= warm).collect();
    let (Some(from), Some(to)) = (kept.first(), kept.last()) else { return Vec::new() };
    let span = to.at - from.at;
    if kept.len() < SAMPLES || span < SPAN {
        return Vec::new();
    }
    let line = |(index, (quantity, absolute, share)): (usize, &(&'static str, f64, f64))| {
        let points: Vec<(f64, f64)> =
            kept.iter().filter_map(|sample| Some((minutes(sample.at - from.at), *sample.values.get(index)?))).collect();
        let (per_minute, mean) = fit(&points);
        let growth = per_minute * minutes(span);
        let bound = absolute + share * mean;
        let ends = (points.first()?.1, points.last()?.1);
        Some(Slope {
            pid: from.pid,
            seconds: span / 1000,
            samples: points.len(),
            quantity,
            first: ends.0,
            last: ends.1,
            per_minute,
            growth,
            bound,
            ok: growth <= bound,
        })
    };
    QUANTITIES.iter().enumerate().filter_map(line).collect()
}

/// The slope of the least-squares line, and the mean.
fn fit(points: &[(f64, f64)]) -> (f64, f64) {
    let count = points.iter().map(|_| 1.0).sum::<f64>().max(1.0);
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let (above, below) = points.iter().fold((0.0, 0.0), |(above, below), point| {
        (above + (point.0 - x) * (point.1 - y), below + (point.0 - x).powi(2))
    });
    (if below > 0.0 { above / below } else { 0.0 }, y)
}

fn minutes(milliseconds: u64) -> f64 {
    u32::try_from(milliseconds).map_or(f64::MAX, f64::from) / 60_000.0
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a few hours in milliseconds")]
fn seconds(milliseconds: u64, share: f64) -> u64 {
    (minutes(milliseconds) * 60_000.0 * share) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An agent that is sampled every 5 s for ten minutes, with so many descriptors.
    fn life(descriptors: impl Fn(u32) -> f64) -> Vec<Sample> {
        let sample = |number: u32| Sample {
            pid: 7,
            at: u64::from(number) * 5000,
            values: [descriptors(number), 50.0, 30_000.0, 6.0, 12.0, 30.0, 80.0],
        };
        (0..120).map(sample).collect()
    }

    fn descriptors(samples: &[Sample]) -> Slope {
        all(samples).into_iter().find(|slope| slope.quantity == "descriptors").unwrap()
    }

    #[test]
    fn what_comes_and_goes_is_no_leak() {
        let slope = descriptors(&life(|number| 150.0 + f64::from(number % 7) * 10.0));
        assert!(slope.ok && slope.growth.abs() < 10.0, "{slope:?}");
        assert!(all(&life(|_| 100.0)).iter().all(|slope| slope.ok && slope.per_minute.abs() < 1e-9));
    }

    #[test]
    fn what_only_comes_is_one() {
        let slope = descriptors(&life(|number| 150.0 + f64::from(number)));
        assert!(!slope.ok && (slope.per_minute - 12.0).abs() < 1e-6, "{slope:?}");
    }

    #[test]
    fn what_an_agent_takes_at_first_is_no_growth_and_a_short_life_says_nothing() {
        assert!(descriptors(&life(|number| f64::from(number.min(20)) * 50.0)).ok);
        assert!(all(&life(f64::from)[..7]).is_empty());
    }
}
