//! Shows the hooks that the agent lives, as long as every worker does. When it stops, all new traffic passes.
//!
//! A thread of its own, so that neither a slow control loop nor a busy worker delays it; but it speaks only for workers whose
//! own event loops have shown themselves. A worker that never does again ends the agent: connections that wait for it must
//! not wait for ever.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use interceptor_common::{Control, NetPort};

use crate::bpf::{BpfError, ControlMap};
use crate::cgroup;
use crate::config::{Capture, Fail};
use crate::metrics::Metrics;
use crate::status::StatusBoard;
use crate::sys;
use crate::telemetry;
use crate::vital;

/// How often the hooks are told.
const PERIOD: Duration = Duration::from_millis(100);

/// Beats without a sign of some worker after which the agent gives up: ten seconds. What waits for that worker is reset,
/// and whoever supervises the agent starts another.
const PATIENCE: u32 = 100;

/// What a heartbeat is made of.
pub struct HeartbeatParts {
    /// What the hooks read.
    pub map: ControlMap,
    /// Whether the agent sits below what it captures.
    pub inside: bool,
    /// When each worker last showed itself.
    pub workers: Vec<Arc<AtomicU64>>,
    /// Where it shows.
    pub status: Arc<StatusBoard>,
    /// Where lapses are counted.
    pub metrics: Arc<Metrics>,
}

/// The running heartbeat. Dropping it lets all new traffic pass.
#[derive(Debug)]
pub struct Heartbeat {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Why there is no heartbeat.
#[derive(Debug, thiserror::Error)]
pub enum HeartbeatError {
    /// The hooks cannot be told.
    #[error(transparent)]
    Map(#[from] BpfError),
    /// /proc does not tell how this process's clock stands to the kernel's.
    #[error("comparing its clock with the kernel's: {0}")]
    Clock(io::Error),
    /// There is no thread for it.
    #[error("starting its thread: {0}")]
    Thread(#[from] io::Error),
}

impl Heartbeat {
    /// Starts the heartbeat. Agents that the hooks know stay known to them: they may still drain.
    ///
    /// # Errors
    /// Where the first beat or the thread fails.
    pub fn start(parts: HeartbeatParts, settings: &Capture) -> Result<Self, HeartbeatError> {
        let mut map = parts.map;
        // Where it is not known nothing is attached.
        let own = cgroup::own_id().unwrap_or_default();
        let mut beat = Beat {
            alive: Control {
                heartbeat_ns: 0,
                timeout_ns: u64::try_from(settings.heartbeat_timeout.as_nanos()).unwrap_or(u64::MAX),
                agent_cgroups: map.get()?.agents_with(own),
                outbound_port: NetPort::from_host(settings.outbound_port),
                agent_inside: parts.inside.into(),
                fail_closed: u16::from(settings.fail == Fail::Closed),
                pad: 0,
            },
            offset_ns: sys::monotonic_offset_ns().map_err(HeartbeatError::Clock)?,
            last_ns: sys::monotonic_ns(),
            silent: 0,
            workers: parts.workers,
            status: parts.status,
            metrics: parts.metrics,
        };
        map.set(beat.at(beat.last_ns))?;
        let (stop, stopped) = sync_channel::<()>(1);
        let thread = vital::spawn("heartbeat", move || {
            loop {
                match stopped.recv_timeout(PERIOD) {
                    Err(RecvTimeoutError::Timeout) => beat.once(&mut map),
                    // A successor beats.
                    Ok(()) => return,
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            // No heartbeat has ever been, and nobody prefers a stop: the hooks let everything pass.
            if let Err(error) = map.set(Control { heartbeat_ns: 0, fail_closed: 0, ..beat.alive }) {
                tracing::error!(%error, "telling the hooks that the agent ends");
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }

    /// Ends the heartbeat without telling the hooks: a successor tells them that it lives.
    pub fn leave(self) {
        if let Some(stop) = &self.stop {
            stop.send(()).ok();
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the heartbeat's thread panicked");
        }
    }
}

/// The heartbeat's own state, on its thread.
struct Beat {
    alive: Control,
    /// How far this process's monotonic clock is ahead of the kernel's, which the hooks read.
    offset_ns: i64,
    last_ns: u64,
    /// Beats in a row without a sign of some worker. Counted in beats, not by the clock: a process that was stopped as a
    /// whole finds all of its workers late.
    silent: u32,
    workers: Vec<Arc<AtomicU64>>,
    status: Arc<StatusBoard>,
    metrics: Arc<Metrics>,
}

impl Beat {
    /// What the hooks are told of a moment of this process's clock.
    fn at(&self, monotonic_ns: u64) -> Control {
        Control { heartbeat_ns: monotonic_ns.saturating_add_signed(self.offset_ns.saturating_neg()), ..self.alive }
    }

    fn once(&mut self, map: &mut ControlMap) {
        let now = sys::monotonic_ns();
        // The hooks are told when the last of the workers showed itself: they wait for it as long as for the agent.
        let oldest = self.workers.iter().map(|seen| seen.load(Relaxed)).min().unwrap_or(now);
        if now.saturating_sub(oldest) > self.alive.timeout_ns {
            return self.is_silent();
        }
        self.silent = 0;
        // First: whoever reads of the end of a lapse finds it ended.
        if let Err(error) = map.set(self.at(oldest)) {
            tracing::error!(%error, "showing the hooks that the agent lives");
        }
        let gap = oldest.saturating_sub(self.last_ns);
        if gap > self.alive.timeout_ns {
            let gap = Duration::from_nanos(gap);
            tracing::warn!(?gap, "the agent answers again; new connections passed it by meanwhile");
            self.status.lapsed(gap);
            self.metrics.heartbeat_lapsed();
        }
        self.last_ns = oldest;
        self.status.beat();
    }

    fn is_silent(&mut self) {
        self.silent += 1;
        if self.silent == 1 {
            tracing::error!("a worker does not answer: new connections pass until it does");
        }
        if self.silent >= PATIENCE {
            tracing::error!("a worker has not answered for ten seconds: the agent ends, what waits for it is reset");
            telemetry::flush_before_abort();
            std::process::abort();
        }
    }
}
