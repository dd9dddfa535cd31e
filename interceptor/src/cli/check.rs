//! `interceptor check`: prints what the preflight found, and fails if anything does.

use super::Ended;
use super::args::{CheckArgs, OutputMode};
use super::output::{Screen, Style, clean};
use crate::preflight::{self, Finding, Options, State};

pub(super) fn check(args: &CheckArgs, mode: OutputMode, screen: &mut Screen<'_>) -> anyhow::Result<Ended> {
    let options = Options { cgroup: args.cgroup.clone(), outbound_port: None, config: args.config.clone() };
    let findings = preflight::run(&options);
    print(&findings, mode, screen)?;
    Ok(ended(&findings))
}

/// Warnings alone leave it well: the agent runs.
pub(super) fn ended(findings: &[Finding]) -> Ended {
    if findings.iter().any(|finding| finding.state == State::Fail) { Ended::Badly } else { Ended::Well }
}

pub(super) fn print(findings: &[Finding], mode: OutputMode, screen: &mut Screen<'_>) -> anyhow::Result<()> {
    if mode == OutputMode::Json {
        return findings.iter().try_for_each(|finding| screen.json(serde_json::to_string(finding)?));
    }
    let width = findings.iter().map(|finding| finding.name.chars().count()).max().unwrap_or(0);
    for finding in findings {
        let (word, style) = match finding.state {
            State::Ok => ("ok  ", Style::Good),
            State::Warn => ("warn", Style::Warn),
            // In capitals: among two dozen lines it must be seen without colours, too.
            State::Fail => ("FAIL", Style::Bad),
        };
        let (name, detail) = (clean(&finding.name), clean(&finding.detail));
        screen.line(format_args!("{}  {name:width$}  {detail}", screen.paint(style, word)))?;
        if let Some(hint) = &finding.hint {
            let indent = width + 8;
            screen.line(format_args!("{:indent$}{}", "", screen.paint(Style::Dim, &format!("→ {}", clean(hint)))))?;
        }
    }
    let count = |state| findings.iter().filter(|finding| finding.state == state).count();
    let (warnings, failures) = (count(State::Warn), count(State::Fail));
    screen.line(match (warnings, failures) {
        (0, 0) => "this machine can run the agent".to_owned(),
        (_, 0) => format!("this machine can run the agent; warnings: {warnings}"),
        _ => format!("this machine cannot run the agent as it is; failures: {failures}, warnings: {warnings}"),
    })
}
