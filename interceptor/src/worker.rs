//! Worker threads: each accepts and serves connections on a runtime of its own, so that connections share no locks and
//! move between no threads. The kernel spreads new connections over the workers' listeners.
//!
//! Started by `agent`; told by `capture` which listeners there are. Ends when its handle is dropped, after a drain.

mod accept;

use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use crate::captured::Captured;
use crate::dns::{self, StandIn};
use crate::net::socket::Listeners;
use crate::privileges;
use crate::proxy::{Context, Phase};
use crate::sys;
use crate::vital;

use self::accept::Open;

/// Commands that may wait for a worker. Each is a workload that comes or goes; a worker that falls behind by this many
/// does not live any more.
const COMMANDS: usize = 4096;

/// How often a worker shows that it lives.
const TICK: Duration = Duration::from_millis(100);

/// How long a worker has to say which listeners it has.
const ANSWER: Duration = Duration::from_secs(2);

/// A worker has ended or hangs.
#[derive(Debug, thiserror::Error)]
#[error("a worker thread has ended or hangs")]
pub struct WorkerGone;

/// A running worker.
#[derive(Debug)]
pub struct WorkerHandle {
    commands: mpsc::Sender<Command>,
    alive: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

/// What a worker serves connections with.
pub struct Contexts {
    /// The data path's.
    pub proxy: Context,
    /// That of short names.
    pub dns: dns::Context,
}

enum Command {
    Listen(Arc<Captured>, Listeners),
    Dns(Arc<Captured>, StandIn, watch::Receiver<()>),
    Close(u64),
    Listeners(SyncSender<io::Result<Vec<(u64, Listeners)>>>),
    Drain(Phase),
}

impl WorkerHandle {
    /// Starts a worker. `make_contexts` runs on its thread. `broken` is told the namespace of each listener that was
    /// closed by somebody else.
    ///
    /// # Errors
    /// Where the thread cannot be made.
    pub fn start(
        index: usize,
        broken: mpsc::Sender<u64>,
        make_contexts: impl FnOnce() -> Contexts + Send + 'static,
    ) -> io::Result<Self> {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let alive = Arc::new(AtomicU64::new(sys::monotonic_ns()));
        let ticks = Arc::clone(&alive);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            privileges::confine_worker();
            let Contexts { proxy, dns } = make_contexts();
            let worker = Worker { context: Rc::new(proxy), dns: Rc::new(dns), broken, open: HashMap::new() };
            LocalSet::new().block_on(&runtime, worker.run(inbox, ticks));
        };
        let thread = vital::spawn(&format!("worker-{index}"), run)?;
        Ok(Self { commands, alive, thread: Some(thread) })
    }

    /// Gives the worker a workload's listeners.
    ///
    /// # Errors
    /// Where the worker has ended.
    pub fn listen(&self, workload: Arc<Captured>, listeners: Listeners) -> Result<(), WorkerGone> {
        self.commands.try_send(Command::Listen(workload, listeners)).map_err(|_| WorkerGone)
    }

    /// Gives the worker the sockets that stand for one of a workload's DNS servers, until the sender is gone.
    ///
    /// # Errors
    /// Where the worker has ended.
    pub fn serve_dns(
        &self,
        workload: Arc<Captured>,
        stand_in: StandIn,
        closed: watch::Receiver<()>,
    ) -> Result<(), WorkerGone> {
        self.commands.try_send(Command::Dns(workload, stand_in, closed)).map_err(|_| WorkerGone)
    }

    /// Closes the listeners of the workload with that netns cookie. Its connections go on.
    pub fn close(&self, cookie: u64) {
        if self.commands.try_send(Command::Close(cookie)).is_err() {
            tracing::warn!("a worker does not take commands");
        }
    }

    /// Has the worker tell what it listens on, by netns cookie: descriptors of the same sockets, on which it goes on to
    /// accept.
    ///
    /// # Errors
    /// Where the worker does not answer, or no descriptors are left.
    pub fn listeners(&self) -> io::Result<Vec<(u64, Listeners)>> {
        let (answer_tx, answer_rx) = sync_channel(1);
        self.commands.try_send(Command::Listeners(answer_tx)).map_err(|_| io::Error::other(WorkerGone))?;
        answer_rx.recv_timeout(ANSWER).map_err(|_| io::Error::other(WorkerGone))?
    }

    /// Moves the worker's connections on towards their end.
    pub fn drain(&self, phase: Phase) {
        if self.commands.try_send(Command::Drain(phase)).is_err() {
            tracing::warn!("a worker does not take commands");
        }
    }

    /// When the worker last showed that it lives, `CLOCK_MONOTONIC`, nanoseconds.
    pub fn last_seen_ns(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.alive)
    }
}

impl Drop for WorkerHandle {
    fn drop(&mut self) {
        // A closed channel ends the worker.
        let (closed, _) = mpsc::channel(1);
        self.commands = closed;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a worker thread panicked");
        }
    }
}

/// A worker on its thread.
struct Worker {
    context: Rc<Context>,
    dns: Rc<dns::Context>,
    broken: mpsc::Sender<u64>,
    /// What it listens on by netns cookie; a successor may have got several sets of a predecessor with more workers.
    open: HashMap<u64, Vec<Open>>,
}

impl Worker {
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>, alive: Arc<AtomicU64>) {
        let ticking = Rc::clone(&self.context);
        tokio::task::spawn_local(async move {
            loop {
                alive.store(sys::monotonic_ns(), Ordering::Relaxed);
                ticking.inherited.expire(Instant::now());
                sleep(TICK).await;
            }
        });
        while let Some(command) = inbox.recv().await {
            match command {
                Command::Close(cookie) => drop(self.open.remove(&cookie)),
                Command::Dns(workload, stand_in, closed) => dns::serve(&self.dns, &workload, stand_in, &closed),
                Command::Listen(workload, listeners) => {
                    let cookie = workload.cookie;
                    let open = Open::begin(&self.context, &workload, listeners, &self.broken);
                    self.open.entry(cookie).or_default().push(open);
                }
                // Nobody waits any more if this is too late.
                Command::Listeners(answer) => drop(answer.try_send(self.listeners())),
                Command::Drain(phase) => self.context.drain.advance(phase),
            }
        }
    }

    fn listeners(&self) -> io::Result<Vec<(u64, Listeners)>> {
        let all = self.open.iter().flat_map(|(cookie, open)| open.iter().map(|open| (*cookie, open)));
        all.filter_map(|(cookie, open)| Some(open.descriptors()?.map(|listeners| (cookie, listeners)))).collect()
    }
}
