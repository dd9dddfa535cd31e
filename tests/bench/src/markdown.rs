//! A report as Markdown: how and where it was measured, the targets, a table per scenario. Pure.

use std::fmt::Write as _;

use crate::figures;
use crate::report::{Done, Report};
use crate::row::Row;
use crate::subject::Subject;
use crate::table::{number, ratio, spread};

/// The whole text; charts are looked for in `plots`, relative to the document.
pub(crate) fn text(report: &Report, plots: &str) -> String {
    let mut out = String::new();
    head(&mut out, report);
    targets(&mut out, report);
    for done in &report.scenarios {
        scenario(&mut out, report, done, plots);
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn head(out: &mut String, report: &Report) {
    let machine = &report.machine;
    put(out, format_args!("```\n{}\n```\n", report.command));
    let (rounds, seconds, took) = (report.rounds, report.seconds, report.took);
    put(
        out,
        format_args!(
            "{}Medians of {rounds} rounds of {seconds} s, the whole run {} min. {} cores of {}, {:.0} GiB, Linux {}.",
            if report.effort == "full" { String::new() } else { format!("**A {} run.** ", report.effort) },
            took.div_ceil(60),
            machine.cores,
            machine.cpu,
            machine.memory_gib,
            machine.kernel
        ),
    );
    let versions: Vec<String> = machine.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    put(out, format_args!("Versions: {}.\n", versions.join(", ")));
}

fn targets(out: &mut String, report: &Report) {
    put(out, format_args!("### Targets\n"));
    put(out, format_args!("| scenario | case | what | target | measured | |\n|---|---|---|---|---|---|"));
    for row in report.scenarios.iter().flat_map(|done| &done.rows) {
        for verdict in &row.targets {
            let met = if verdict.met { "met" } else { "**not met**" };
            let Row { scenario, case, metric, .. } = row;
            let unit = if verdict.target.contains('×') { "×".to_owned() } else { row.unit.clone() };
            let (target, measured) = (&verdict.target, ratio(verdict.measured));
            put(out, format_args!("| {scenario} | {case} | {metric} | {target} | {measured} {unit} | {met} |"));
        }
    }
    out.push('\n');
}

fn scenario(out: &mut String, report: &Report, done: &Done, plots: &str) {
    put(out, format_args!("### {}\n\n{}.\n", done.name, capitalised(&done.help)));
    for figure in figures::ALL.iter().filter(|figure| figure.scenario == done.name) {
        if figure.chart(report).is_some() {
            put(out, format_args!("![{}]({plots}/{}.svg)\n", figure.title, figure.name));
        }
    }
    if let Some(error) = &done.error {
        put(out, format_args!("It failed: {error}.\n"));
    }
    for note in &done.notes {
        put(out, format_args!("Note: {note}.\n"));
    }
    let is_there = |subject: &&Subject| done.rows.iter().any(|row| row.values.contains_key(subject));
    let subjects: Vec<&Subject> = Subject::ALL.iter().filter(is_there).collect();
    let ratios = [("direct", "ours/direct"), ("haproxy", "ours/haproxy"), ("best_peer", "ours/best peer")];
    let has_ratio = |(key, _): &&(&str, &str)| done.rows.iter().any(|row| row.ratios.contains_key(*key));
    let ratios: Vec<&(&str, &str)> = ratios.iter().filter(has_ratio).collect();
    let names = subjects.iter().map(|subject| subject.name()).chain(ratios.iter().map(|(_, name)| *name));
    let names: Vec<&str> = ["case", "what"].into_iter().chain(names).collect();
    put(out, format_args!("| {} |\n|{}", names.join(" | "), "---|".repeat(names.len())));
    for row in &done.rows {
        let values = subjects.iter().map(|subject| row.values.get(subject).map(|one| number(one.median)));
        let ratios = ratios.iter().map(|(key, _)| row.ratios.get(*key).map(spread));
        let cells: Vec<String> = values.chain(ratios).map(Option::unwrap_or_default).collect();
        put(out, format_args!("| {} | {} | {} |", row.case, row.quantity(), cells.join(" | ")));
    }
    out.push('\n');
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn put(out: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    writeln!(out, "{line}").ok();
}

#[cfg(test)]
mod tests {
    use super::text;
    use crate::report::tests::sample;

    #[test]
    fn a_report_is_told_with_its_command_its_targets_and_its_rows() {
        let text = text(&sample(), "plots");
        for said in [
            "```\ncargo xtask bench\n```\n",
            "**A quick run.** Medians of 2 rounds of 1 s, the whole run 2 min. 2 cores of c, 1 GiB, Linux k.",
            "| http | c32 100 B | requests | ≥ 0.6 × direct | 0.60 × | met |",
            "![HTTP/1.1 requests per second, direct = 1 (higher is better)](plots/http-rate.svg)",
            "### http\n\nWhat it is.\n",
            "| case | what | direct | ours | ours/direct |\n|---|---|---|---|---|\n",
            "| c32 100 B | requests, 1/s | 105 | 62.5 | 0.60 (0.50..0.70) |",
        ] {
            assert!(text.contains(said), "{said} is not in:\n{text}");
        }
        assert!(!text.contains("haproxy"), "who was not measured has no column:\n{text}");
    }

    #[test]
    fn a_target_that_is_not_met_stands_out() {
        let mut report = sample();
        for verdict in report.scenarios.iter_mut().flat_map(|done| &mut done.rows).flat_map(|row| &mut row.targets) {
            verdict.met = false;
        }
        assert!(text(&report, "plots").contains("| 0.60 × | **not met** |"));
    }
}
