//! What parsing has to say about a file: diagnostics, each with its place, and the error that carries all of them.
//!
//! `interceptor config check` prints them, the file source logs them and shows the last ones in `status`. Nothing here
//! knows YAML or the schema; the readers beside this file decide what is said.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use super::path::Path;

/// What a diagnostic does to the file that it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is used, but not all of it.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// Which rule a diagnostic is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The text is not one YAML document of reasonable size.
    Syntax,
    /// A key is unknown, missing or given twice.
    Key,
    /// A value has the wrong type or is out of bounds.
    Value,
    /// Two places of the file do not fit together.
    Reference,
    /// A space has no usable place in its tree; everything else keeps working.
    Space,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "syntax",
            Self::Key => "key",
            Self::Value => "value",
            Self::Reference => "reference",
            Self::Space => "space",
        })
    }
}

/// A place in the text; both numbers count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Position {
    /// The beginning of a file, for what is wrong with all of it.
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file's name, as the caller gave it.
    pub origin: Arc<str>,
    /// Error or warning.
    pub severity: Severity,
    /// Which rule it is about.
    pub kind: Kind,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The key's path (`services[2].ports[0].port`); empty when it is about the file.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it, where that can be said.
    pub hint: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.origin, self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        self.hint.iter().try_for_each(|hint| write!(f, "; {hint}"))
    }
}

/// Why a file was refused: everything found in it, in the order of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.lines())]
pub struct ConfigErrors {
    /// At least one error, and the warnings that were found as well.
    pub diagnostics: Vec<Diagnostic>,
}

impl ConfigErrors {
    fn lines(&self) -> String {
        self.diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }
}

/// Collects diagnostics while a file is read; shared by all cursors, which is why it is written to behind a `&`.
pub(super) struct Report {
    origin: Arc<str>,
    found: RefCell<Vec<Diagnostic>>,
}

impl Report {
    pub(super) fn new(origin: &str) -> Self {
        Self { origin: origin.into(), found: RefCell::default() }
    }

    pub(super) fn error(&self, kind: Kind, at: Position, path: &Path, message: String, hint: Option<String>) {
        self.add(Severity::Error, kind, at, path, message, hint);
    }

    pub(super) fn warning(&self, kind: Kind, at: Position, path: &Path, message: String, hint: Option<String>) {
        self.add(Severity::Warning, kind, at, path, message, hint);
    }

    fn add(&self, severity: Severity, kind: Kind, at: Position, path: &Path, message: String, hint: Option<String>) {
        let (line, column) = (at.line, at.column);
        let (origin, path) = (Arc::clone(&self.origin), path.to_string());
        self.found.borrow_mut().push(Diagnostic { origin, severity, kind, line, column, path, message, hint });
    }

    /// The warnings, or everything if there is an error among it; in the order of the text.
    pub(super) fn finish(self) -> Result<Vec<Diagnostic>, ConfigErrors> {
        let mut diagnostics = self.found.into_inner();
        // Stable: what one place has to say stays in the order in which it was found.
        diagnostics.sort_by_key(|d| (d.line, d.column));
        if diagnostics.iter().any(|d| d.severity == Severity::Error) {
            return Err(ConfigErrors { diagnostics });
        }
        Ok(diagnostics)
    }
}
