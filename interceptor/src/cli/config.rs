//! `interceptor config`: checks a file with the agent's own parser, or prints the example.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use super::Ended;
use super::args::OutputMode;
use super::output::{Screen, Style, clean};
use crate::config::{Config, Diagnostic, EXAMPLE, Severity};

pub(super) fn example(screen: &mut Screen<'_>) -> anyhow::Result<Ended> {
    screen.raw(EXAMPLE.as_bytes())?;
    Ok(Ended::Well)
}

pub(super) fn check(file: &Path, mode: OutputMode, screen: &mut Screen<'_>) -> anyhow::Result<Ended> {
    let (bytes, origin) = if file == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).context("reading standard input")?;
        (bytes, "<stdin>".to_owned())
    } else {
        let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        (bytes, file.display().to_string())
    };
    check_bytes(&bytes, &origin, mode, screen)
}

pub(super) fn check_bytes(
    bytes: &[u8],
    origin: &str,
    mode: OutputMode,
    screen: &mut Screen<'_>,
) -> anyhow::Result<Ended> {
    let (diagnostics, ok) = match Config::parse_bytes(bytes, origin) {
        Ok(parsed) => (parsed.warnings, true),
        Err(errors) => (errors.diagnostics, false),
    };
    let warnings = diagnostics.iter().filter(|d| d.severity == Severity::Warning).count();
    let errors = diagnostics.len() - warnings;
    if mode == OutputMode::Json {
        for diagnostic in &diagnostics {
            screen.json(serde_json::to_string(&DiagnosticLine::new(diagnostic))?)?;
        }
        screen.json(serde_json::to_string(&SummaryLine { file: origin, ok, errors, warnings })?)?;
    } else {
        for diagnostic in &diagnostics {
            let style = if diagnostic.severity == Severity::Error { Style::Bad } else { Style::Warn };
            let severity = format!("{}:", diagnostic.severity);
            screen.line(format_args!("{} {}", screen.paint(style, &severity), clean(&diagnostic.to_string())))?;
        }
        screen.line(match (ok, warnings) {
            (true, 0) => format!("{origin}: ok"),
            (true, _) => format!("{origin}: usable; warnings: {warnings}"),
            (false, 0) => format!("{origin}: not usable; errors: {errors}"),
            (false, _) => format!("{origin}: not usable; errors: {errors}, warnings: {warnings}"),
        })?;
    }
    Ok(if ok { Ended::Well } else { Ended::Badly })
}

/// One diagnostic as JSON.
#[derive(Serialize)]
struct DiagnosticLine<'a> {
    severity: String,
    kind: String,
    file: &'a str,
    line: usize,
    column: usize,
    key: &'a str,
    message: &'a str,
    hint: Option<&'a str>,
}

impl<'a> DiagnosticLine<'a> {
    fn new(diagnostic: &'a Diagnostic) -> Self {
        Self {
            severity: diagnostic.severity.to_string(),
            kind: diagnostic.kind.to_string(),
            file: &diagnostic.origin,
            line: diagnostic.line,
            column: diagnostic.column,
            key: &diagnostic.path,
            message: &diagnostic.message,
            hint: diagnostic.hint.as_deref(),
        }
    }
}

/// The last line of JSON.
#[derive(Serialize)]
struct SummaryLine<'a> {
    file: &'a str,
    ok: bool,
    errors: usize,
    warnings: usize,
}
