//! What is true of the parser as a whole: it reports everything, in words that can be acted upon, and never panics.

mod defaults;
mod messages;
mod references;
mod robustness;

use super::{Config, ConfigErrors};

/// The text of everything that is said about a file, errors or warnings.
fn said(text: &str) -> Vec<String> {
    let diagnostics = match Config::parse(text, "f") {
        Ok(parsed) => parsed.warnings,
        Err(ConfigErrors { diagnostics }) => diagnostics,
    };
    diagnostics.iter().map(ToString::to_string).collect()
}
