//! Medians, spreads and ratios. Pure; [`row`](crate::row) builds on it.
//!
//! A ratio is taken within each round, between measurements a few seconds apart, and only then is the median of the
//! rounds taken: what the machine does meanwhile is in both of its parts.

use serde::{Deserialize, Serialize};

/// The median of the rounds and how far they lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// `None` for no values at all.
    pub(crate) fn of(values: &[f64]) -> Option<Spread> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        Some(Spread { median: rounded(middle(&sorted)?), min: rounded(min), max: rounded(max) })
    }
}

/// Rounded to five digits: more say nothing, and a file of results is read by people too.
pub(crate) fn rounded(value: f64) -> f64 {
    // The detour by decimal text gives the shortest number; a value that is none stays what it is.
    format!("{value:.4e}").parse().unwrap_or(value)
}

/// `ours` divided by `theirs`, round by round; rounds in which either is missing or `theirs` is 0 are left out.
pub(crate) fn ratios(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    ours.iter().zip(theirs).filter(|(_, theirs)| **theirs > 0.0).map(|(ours, theirs)| ours / theirs).collect()
}

/// The value below which `share` (0 to 1) of the values lie; `None` for no values. The values must be sorted.
pub(crate) fn percentile<T: Copy>(sorted: &[T], share: f64) -> Option<T> {
    let last = sorted.len().checked_sub(1)?;
    // Counting up avoids a conversion from a float that could go wrong.
    let wanted = share * last as f64;
    let index = (0..last).find(|index| *index as f64 >= wanted).unwrap_or(last);
    sorted.get(index).copied()
}

fn middle(sorted: &[f64]) -> Option<f64> {
    let half = sorted.len() / 2;
    let upper = sorted.get(half)?;
    if sorted.len() % 2 == 1 {
        return Some(*upper);
    }
    Some(f64::midpoint(*sorted.get(half - 1)?, *upper))
}

#[cfg(test)]
mod tests {
    use super::{Spread, percentile, ratios, rounded};

    #[test]
    fn five_digits_remain() {
        assert_eq!([123_456.7, 0.123_456_7, 2.0, 0.0].map(rounded), [123_460.0, 0.12346, 2.0, 0.0]);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        let median = |values: &[f64]| Spread::of(values).map(|spread| spread.median);
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[9.0, 1.0, 2.0, 4.0]), Some(3.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_spread_has_the_ends_whatever_the_order() {
        assert_eq!(Spread::of(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, min: 1.0, max: 3.0 }));
    }

    #[test]
    fn ratios_are_those_of_the_same_round() {
        // The ratio of the medians would be 1: a machine that slowed down would hide what was lost.
        assert_eq!(ratios(&[1.0, 4.0], &[2.0, 2.0]), [0.5, 2.0]);
        assert_eq!(ratios(&[1.0, 4.0], &[0.0, 2.0]), [2.0], "nothing is divided by zero");
        assert!(ratios(&[1.0], &[]).is_empty());
    }

    #[test]
    fn percentiles_of_few_values() {
        let values: Vec<u32> = (1..=100).collect();
        assert_eq!(percentile(&values, 0.5), Some(51));
        assert_eq!(percentile(&values, 0.99), Some(100));
        assert_eq!(percentile(&values, 0.0), Some(1));
        assert_eq!(percentile(&[7], 0.99), Some(7));
        assert_eq!(percentile::<u32>(&[], 0.5), None);
    }
}
