//! Shows the hooks that the agent lives, as long as every worker does. When it stops, all new traffic passes.
//!
//! A thread of its own: neither a slow control loop nor a busy worker delays it, and a worker that hangs ends it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use interceptor_common::{Control, NetPort};

use crate::bpf::ControlMap;
use crate::cgroup;
use crate::config::Capture;
use crate::status::StatusBoard;
use crate::sys;

/// How often the hooks are told.
const PERIOD: Duration = Duration::from_millis(100);

/// The running heartbeat. Dropping it lets all new traffic pass.
#[derive(Debug)]
pub struct Heartbeat {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    /// Starts the heartbeat. `inside` tells whether the agent sits below what it captures; `workers` are the times at
    /// which each worker last showed itself.
    ///
    /// # Errors
    /// Where the first beat or the thread fails.
    pub fn start(
        mut map: ControlMap,
        settings: &Capture,
        inside: bool,
        workers: Vec<Arc<AtomicU64>>,
        status: Arc<StatusBoard>,
    ) -> io::Result<Self> {
        let timeout_ns = u64::try_from(settings.heartbeat_timeout.as_nanos()).unwrap_or(u64::MAX);
        let alive = Control {
            heartbeat_ns: 0,
            timeout_ns,
            // Where it is not known nothing is attached.
            agent_cgroup: cgroup::own_id().unwrap_or_default(),
            outbound_port: NetPort::from_host(settings.outbound_port),
            agent_inside: inside.into(),
            pad: [0; 2],
        };
        map.set(Control { heartbeat_ns: sys::monotonic_ns(), ..alive }).map_err(io::Error::other)?;
        let (stop, stopped) = sync_channel::<()>(1);
        let beat = move || {
            while stopped.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
                let now = sys::monotonic_ns();
                // Half the hooks' patience: they must not wait for a worker longer than they would for the agent.
                let lives = workers.iter().all(|seen| now.saturating_sub(seen.load(Relaxed)) < timeout_ns / 2);
                if !lives {
                    tracing::error!("a worker does not answer: new connections pass until it does");
                    continue;
                }
                status.beat();
                if let Err(error) = map.set(Control { heartbeat_ns: now, ..alive }) {
                    tracing::error!(%error, "showing the hooks that the agent lives");
                }
            }
            // No heartbeat has ever been: the hooks let everything pass.
            if let Err(error) = map.set(Control { heartbeat_ns: 0, ..alive }) {
                tracing::error!(%error, "telling the hooks that the agent ends");
            }
        };
        let thread = std::thread::Builder::new().name("heartbeat".to_owned()).spawn(beat)?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
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
