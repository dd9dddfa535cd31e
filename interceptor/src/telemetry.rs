//! The agent's log: to stderr, one line an event, quiet at `info`.
//!
//! Set up once by `interceptor run`, before anything else; the other commands log nothing.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::TryInitError;

/// What is logged where nobody says.
pub const DEFAULT_FILTER: &str = "info";

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not understood.
    #[error("{filter:?} is no log filter; give a level (info, debug) or targets (info,interceptor::proxy=debug)")]
    Filter {
        /// The filter.
        filter: String,
        /// Why.
        source: ParseError,
    },
    /// This process logs already.
    #[error("the log is set up already")]
    Twice(#[from] TryInitError),
}

/// Reads a filter without using it: a wrong one is a usage error, told before anything starts.
///
/// # Errors
/// Where it is not understood.
pub fn check_filter(filter: &str) -> Result<(), TelemetryError> {
    parse(filter).map(drop)
}

/// Logs what the filter lets through from now on.
///
/// # Errors
/// Where the filter is not understood or there is a log already.
pub fn start(filter: &str) -> Result<(), TelemetryError> {
    use tracing_subscriber::util::SubscriberInitExt as _;

    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(parse(filter)?)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(true)
        .finish();
    Ok(subscriber.try_init()?)
}

fn parse(filter: &str) -> Result<EnvFilter, TelemetryError> {
    // A misspelt level is read as a target of that name by the crate: it would silence the log without a word.
    let known = |word: &str| LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level));
    let directive = |part: &str| known(part) || part.contains(['=', '[', ':']) || part.starts_with("interceptor");
    let failed = |source| TelemetryError::Filter { filter: filter.to_owned(), source };
    let unknown = filter.split(',').map(str::trim).any(|part| !directive(part));
    // Every frame is a debug message to the library of HTTP/2: who wants them names it.
    let checked = if unknown { "=".to_owned() } else { format!("h2=info,{filter}") };
    EnvFilter::try_new(checked).map_err(failed)
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_targets_are_filters_and_misspelt_levels_are_not() {
        for filter in ["info", "DEBUG", "warn,interceptor::proxy=trace", "info,ebpf=debug", "interceptor", "off"] {
            check_filter(filter).unwrap();
        }
        for filter in ["inof", "", "info,,debug", "interceptor=loud", "info,verbose"] {
            assert!(check_filter(filter).is_err(), "{filter:?}");
        }
    }
}
