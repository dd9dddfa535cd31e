//! The result as a table for the terminal: a line per row, targets in colour where there is colour.

use std::fmt::Write as _;

use crate::report::Report;
use crate::row::Row;
use crate::stats::Spread;
use crate::subject::Subject;

const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// The whole text; with escape sequences if `colour`.
pub(crate) fn text(report: &Report, colour: bool) -> String {
    let paint = |code: &str, text: &str| if colour { format!("{code}{text}{PLAIN}") } else { text.to_owned() };
    let mut out = String::new();
    for done in &report.scenarios {
        put(&mut out, format_args!("{}", paint(BOLD, &format!("{}: {}", done.name, done.help))));
        if !done.rows.is_empty() {
            put(&mut out, format_args!("{}", heading()));
        }
        for row in &done.rows {
            put(&mut out, format_args!("{}", line(row)));
            for verdict in &row.targets {
                let (code, word) = if verdict.met { (GREEN, "met") } else { (YELLOW, "not met") };
                let said = format!("target {}: {} {word}", verdict.target, ratio(verdict.measured));
                put(&mut out, format_args!("{:>CASE$}    {}", "", paint(code, &said)));
            }
        }
        for note in &done.notes {
            put(&mut out, format_args!("  note: {note}"));
        }
        if let Some(error) = &done.error {
            put(&mut out, format_args!("{}", paint(YELLOW, &format!("  failed: {error}"))));
        }
        out.push('\n');
    }
    out
}

/// Columns of the case and of a metric with its unit.
const CASE: usize = 22;
const METRIC: usize = 24;
const VALUE: usize = 10;

fn heading() -> String {
    let subjects: String = Subject::ALL.iter().fold(String::new(), |mut all, subject| {
        write!(all, " {subject:>VALUE$}").ok();
        all
    });
    format!(
        "{:<CASE$} {:<METRIC$}{subjects}   ours/direct          ours/haproxy         ours/best peer",
        "case", "metric"
    )
}

fn line(row: &Row) -> String {
    let metric = row.quantity();
    let mut line = format!("{:<CASE$} {metric:<METRIC$}", row.case);
    for subject in Subject::ALL {
        let value = row.values.get(&subject).map(|spread| number(spread.median)).unwrap_or_default();
        write!(line, " {value:>VALUE$}").ok();
    }
    for key in ["direct", "haproxy", "best_peer"] {
        let spread = row.ratios.get(key).map(spread).unwrap_or_default();
        write!(line, "   {spread:<18}").ok();
    }
    line.trim_end().to_owned()
}

/// A ratio with the ends of the rounds.
pub(crate) fn spread(spread: &Spread) -> String {
    format!("{} ({}..{})", ratio(spread.median), ratio(spread.min), ratio(spread.max))
}

/// Two digits after the point.
pub(crate) fn ratio(value: f64) -> String {
    format!("{value:.2}")
}

/// Three or more digits, none after the point where they would mean nothing.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 100.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

fn put(out: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    writeln!(out, "{line}").ok();
}

#[cfg(test)]
mod tests {
    use super::{line, number, text};
    use crate::report::tests::sample;

    #[test]
    fn numbers_have_three_digits_that_mean_something() {
        let said: Vec<String> = [123_456.7, 99.96, 12.34, 1.234, 0.0].into_iter().map(number).collect();
        assert_eq!(said, ["123457", "100.0", "12.3", "1.23", "0.00"]);
    }

    #[test]
    fn what_is_missing_is_an_empty_cell_and_the_others_stay_in_their_columns() {
        let text = line(sample().scenarios.first().unwrap().rows.first().unwrap());
        assert!(text.starts_with("c32 100 B              requests, 1/s  "), "{text}");
        assert!(text.ends_with("0.60 (0.50..0.70)"), "{text}");
        assert_eq!(text.split_whitespace().count(), 9, "{text}");
    }

    #[test]
    fn failures_and_targets_are_told_and_without_colour_there_is_no_escape() {
        let report = sample();
        let plain = text(&report, false);
        for said in ["target ≥ 0.6 × direct: 0.60 met", "failed: no \"wrk\"", "note: {\"name\":"] {
            assert!(plain.contains(said), "{said} is not in {plain}");
        }
        assert!(!plain.contains('\x1b') && text(&report, true).contains('\x1b'));
        assert_eq!(report.failed(), ["http"]);
    }
}
