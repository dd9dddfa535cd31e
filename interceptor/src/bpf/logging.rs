//! Debug messages of the hooks (`--ebpf-log`), carried into the agent's log.
//!
//! Polls the ring buffer from a task of the control runtime; does nothing unless asked for.

use aya::Ebpf;
use aya_log::EbpfLogger;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Starts carrying messages. A failure is logged: traffic does not depend on it.
pub(super) fn start(ebpf: &mut Ebpf) {
    let started = EbpfLogger::init_with_logger(ebpf, ToTracing)
        .map_err(|error| error.to_string())
        .and_then(|logger| AsyncFd::with_interest(logger, Interest::READABLE).map_err(|error| error.to_string()));
    match started {
        Ok(logger) => drop(tokio::task::spawn_local(carry(logger))),
        Err(error) => tracing::warn!(error, "messages of the eBPF hooks cannot be read"),
    }
}

async fn carry(mut logger: AsyncFd<EbpfLogger<ToTracing>>) {
    while let Ok(mut ready) = logger.readable_mut().await {
        ready.get_inner_mut().flush();
        ready.clear_ready();
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
