//! The report as Markdown, which is what is printed and kept in docs/soak.

use std::fmt::Write as _;

use crate::report::Report;

/// The whole text.
pub(crate) fn text(report: &Report, command: &str) -> String {
    let mut text = String::new();
    write(&mut text, report, command).unwrap_or_default();
    text
}

fn write(text: &mut String, report: &Report, command: &str) -> std::fmt::Result {
    let verdict = if report.ok { "passed" } else { "FAILED" };
    writeln!(text, "# Soak: {verdict}\n")?;
    writeln!(
        text,
        "`{command}`, seed {}, {} min {} s on {} CPUs, Linux {}.\n",
        report.seed,
        report.seconds / 60,
        report.seconds % 60,
        report.machine.cpus,
        report.machine.kernel
    )?;
    let done = &report.done;
    writeln!(text, "| | |\n|---|---|")?;
    let figures = [
        ("requests and sessions", report.requests),
        ("wrong answers", report.wrong),
        ("unexplained failures", report.unexplained),
        ("requests that are not idempotent, executed once each", u64::try_from(report.executions).unwrap_or(u64::MAX)),
        ("upgrades", done.upgrades),
        ("slowest upgrade, ms", done.slowest_upgrade_ms),
        ("kills (`kill -9`)", done.kills),
        ("hangs (SIGSTOP)", done.hangs),
        ("ends without a successor (SIGTERM)", done.stops),
        ("changes of the configuration", done.changes),
        ("pods that came and went", done.pods),
        ("heartbeat lapses that nobody caused", done.lapses),
    ];
    figures.iter().try_for_each(|(what, count)| writeln!(text, "| {what} | {count} |"))?;
    writeln!(text, "\n## Requests\n")?;
    writeln!(
        text,
        "Direct: answered by the shared copy, as no agent was there when the connection was made. Reset: as promised"
    )?;
    writeln!(
        text,
        "for what ran through a killed agent, and for what outlives `drain_timeout`. Times of sessions are those of"
    )?;
    writeln!(text, "their first answer.\n")?;
    writeln!(text, "| kind | number | right | direct | reset | wrong | failed | p50 ms | p99 ms | longest ms |")?;
    writeln!(text, "|---|---|---|---|---|---|---|---|---|---|")?;
    for row in &report.kinds {
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {:.1} | {:.1} | {:.0} |",
            row.kind,
            row.requests,
            row.right,
            row.direct,
            row.explained,
            row.wrong,
            row.unexplained,
            row.p50_ms,
            row.p99_ms,
            row.max_ms
        )?;
    }
    writeln!(text, "\n| direct or reset because of | number |\n|---|---|")?;
    report.direct.iter().try_for_each(|(why, count)| writeln!(text, "| direct: {why} | {count} |"))?;
    report.explained.iter().try_for_each(|(why, count)| writeln!(text, "| {why} | {count} |"))?;
    writeln!(text, "\n## What agents hold\n")?;
    writeln!(
        text,
        "A straight line through samples of every 5 s, after the first quarter of each agent's life, of agents that"
    )?;
    writeln!(text, "lived for long enough.\n")?;
    writeln!(
        text,
        "| agent | seconds | quantity | first | last | per minute | growth | bound |\n|---|---|---|---|---|---|---|---|"
    )?;
    for slope in &report.slopes {
        let over = if slope.ok { "" } else { " **over**" };
        writeln!(
            text,
            "| {} | {} | {} | {:.0} | {:.0} | {:+.2} | {:+.1} | {:.0}{over} |",
            slope.pid,
            slope.seconds,
            slope.quantity,
            slope.first,
            slope.last,
            slope.per_minute,
            slope.growth,
            slope.bound
        )?;
    }
    let lists = [
        ("Wrong answers", &report.wrong_in_words),
        ("Unexplained failures", &report.unexplained_in_words),
        ("Faults", &report.faults),
        ("What was done", &report.events),
    ];
    for (what, all) in lists.into_iter().filter(|(_, all)| !all.is_empty()) {
        writeln!(text, "\n## {what}\n")?;
        all.iter().try_for_each(|words| writeln!(text, "- {words}"))?;
    }
    if let Some(logs) = &report.logs {
        writeln!(
            text,
            "\nRun it again with `--seed {}`; the logs of the agents are in {}.",
            report.seed,
            logs.display()
        )?;
    }
    Ok(())
}
