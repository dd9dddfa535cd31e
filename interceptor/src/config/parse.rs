//! From the text of a file to a [`Config`] and its warnings, or to everything that is wrong with it.
//!
//! The file source calls it at start and whenever the file changes, `interceptor config check` for its own sake.
//! The order is: text to tree ([`load`]), tree to values ([`topology`], [`settings`]), values against each other
//! ([`check`]). Only the first step ends the run, because without a tree there is nothing to read.

use std::str;

use super::cursor::Cursor;
use super::error::{ConfigErrors, Diagnostic, Kind, Position, Report};
use super::load::load;
use super::path::Path;
use super::{Config, check, settings, topology};

/// A file that can be used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    /// What it says.
    pub config: Config,
    /// What of it cannot be used; each is of [`Kind::Space`] and concerns one space only.
    pub warnings: Vec<Diagnostic>,
}

impl Config {
    /// Reads the text of a file; `origin` is the file's name in diagnostics.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the text.
    pub fn parse(text: &str, origin: &str) -> Result<Parsed, ConfigErrors> {
        let report = Report::new(origin);
        let config = match load(text) {
            Ok(root) => read(&Cursor::new(&root, Path::default(), &report)),
            Err(fault) => {
                report.error(Kind::Syntax, fault.at, &Path::default(), fault.message, fault.hint);
                Self::default()
            }
        };
        report.finish().map(|warnings| Parsed { config, warnings })
    }

    /// Reads the bytes of a file, which must be UTF-8.
    ///
    /// # Errors
    /// As [`Config::parse`].
    pub fn parse_bytes(bytes: &[u8], origin: &str) -> Result<Parsed, ConfigErrors> {
        let error = match str::from_utf8(bytes) {
            Ok(text) => return Self::parse(text, origin),
            Err(error) => error,
        };
        let (valid, rest) = bytes.split_at(error.valid_up_to());
        let valid = String::from_utf8_lossy(valid);
        let column = valid.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let at = Position { line: valid.matches('\n').count() + 1, column };
        let message = format!("not UTF-8 text (byte 0x{:02x})", rest.first().copied().unwrap_or_default());
        let report = Report::new(origin);
        report.error(Kind::Syntax, at, &Path::default(), message, Some("save the file as UTF-8".to_owned()));
        report.finish().map(|warnings| Parsed { config: Self::default(), warnings })
    }
}

fn read(document: &Cursor<'_>) -> Config {
    let root = document.fields();
    let config = Config {
        topology: topology::topology(&root),
        routing: settings::routing(&root),
        capture: settings::capture(&root),
        proxy: settings::proxy(&root),
        admin: settings::admin(&root),
        metrics: settings::metrics(&root),
        flows: settings::flows(&root),
        ingress: settings::ingress(&root),
        dns: settings::dns(&root),
    };
    root.finish();
    check::check(&config, document);
    config
}
