//! Debug messages of the hooks (`--ebpf-log`), carried into the agent's log.
//!
//! Looks into the ring buffer from a task of the control runtime; does nothing unless asked for.

use std::time::Duration;

use aya::Ebpf;
use aya_log::EbpfLogger;

/// How often messages are fetched: soon enough for someone who watches.
const PERIOD: Duration = Duration::from_millis(50);

/// Starts carrying messages. A failure is logged: traffic does not depend on it.
pub(super) fn start(ebpf: &mut Ebpf) {
    match EbpfLogger::init_with_logger(ebpf, ToTracing) {
        Ok(logger) => drop(tokio::task::spawn_local(carry(logger))),
        Err(error) => tracing::warn!(%error, "messages of the eBPF hooks cannot be read"),
    }
}

async fn carry(mut logger: EbpfLogger<ToTracing>) {
    let mut clock = tokio::time::interval(PERIOD);
    loop {
        clock.tick().await;
        logger.flush();
    }
}

/// The hooks' messages as events of the agent's own log.
struct ToTracing;

impl log::Log for ToTracing {
    fn enabled(&self, _metadata: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        tracing::info!(target: "ebpf", "{}", record.args());
    }

    fn flush(&self) {}
}
