//! The agent's log: to stderr, one line an event, quiet at `info`. It never holds anybody up and never ends anybody.
//!
//! Set up once by `interceptor run` and `interceptor ingress-manager`, before anything else; the other commands log nothing.
//! `limit` bounds how often one kind of message is written, `lines` takes lines to a thread of their own: stderr may be a
//! pipe that nobody reads, or a file on a full disk.

mod limit;
mod lines;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal as _};
use std::panic;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::TryInitError;

use self::limit::Limit;
use self::lines::Lines;

/// What is logged where nobody says.
pub const DEFAULT_FILTER: &str = "info";

/// The target of what the log says of itself, which is bounded by itself.
const OWN: &str = "interceptor::log";

/// How long the last lines of a process that ends in order have for being written.
const PATIENCE: Duration = Duration::from_secs(1);

/// The same for a process that ends because something broke: whoever waits for it is waiting for less.
const IMPATIENCE: Duration = Duration::from_millis(200);

/// Lines of the log that were not written.
#[derive(Debug, Clone, Default)]
pub struct LogCounts {
    /// Left out, because there were too many of their kind.
    pub left_out: Counter,
    /// Lost: nobody read the log in time, or the disk is full.
    pub lost: Counter,
}

/// The log, from its beginning to its end. Dropping it waits a moment for what is still to be written.
#[derive(Debug)]
pub struct Log {
    counts: LogCounts,
}

impl Log {
    /// What was not written.
    pub fn counts(&self) -> &LogCounts {
        &self.counts
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        flush(PATIENCE);
    }
}

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
    /// There is nobody to write it.
    #[error("starting the thread that writes the log: {0}")]
    Thread(io::Error),
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
/// Where the filter is not understood, there is no thread for it, or there is a log already.
pub fn start(filter: &str) -> Result<Log, TelemetryError> {
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::util::SubscriberInitExt as _;

    let filter = parse(filter)?;
    let counts = LogCounts::default();
    let limit = Arc::new(Limit::new(counts.left_out.clone()));
    let lines = Lines::to_stderr(Arc::clone(&limit), counts.lost.clone()).map_err(TelemetryError::Thread)?;
    let format = tracing_subscriber::fmt::layer()
        .with_writer(lines.clone())
        .with_ansi(io::stderr().is_terminal())
        .with_target(true);
    tracing_subscriber::registry().with(format).with(filter).with(limit::Layer::new(limit)).with(lines).try_init()?;
    // The one of the standard library waits for whoever reads stderr.
    panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace);
        tracing::error!(thread = thread.name(), backtrace = backtrace.map(tracing::field::display), "{panic}");
    }));
    Ok(Log { counts })
}

/// Waits a moment for the last lines, before the process ends because something broke. Without a log nothing happens.
pub fn flush_before_abort() {
    flush(IMPATIENCE);
}

fn flush(limit: Duration) {
    tracing::dispatcher::get_default(|log| log.downcast_ref::<Lines>().map(|lines| lines.flush(limit)));
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
