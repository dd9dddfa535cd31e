//! Worker threads: each accepts and serves connections on a runtime of its own, so that connections share no locks and
//! move between no threads. The kernel spreads new connections over the workers' listeners.
//!
//! Started by `agent`; told by `capture` which listeners there are. Ends when its handle is dropped, after a drain.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use crate::captured::Captured;
use crate::dns::{self, StandIn};
use crate::net::socket::{self, Listeners};
use crate::proxy::{self, Context};
use crate::route::Direction;
use crate::sys;

/// Commands that may wait for a worker. Each is a workload that comes or goes; a worker that falls behind by this many
/// does not live any more.
const COMMANDS: usize = 4096;

/// How often a worker shows that it lives.
const TICK: Duration = Duration::from_millis(100);

/// How long accepting pauses when the process has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

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
}

impl WorkerHandle {
    /// Starts a worker. `make_contexts` runs on its thread.
    ///
    /// # Errors
    /// Where the thread cannot be made.
    pub fn start(index: usize, make_contexts: impl FnOnce() -> Contexts + Send + 'static) -> io::Result<Self> {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let alive = Arc::new(AtomicU64::new(sys::monotonic_ns()));
        let ticks = Arc::clone(&alive);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            let Contexts { proxy, dns } = make_contexts();
            LocalSet::new().block_on(&runtime, run(Rc::new(proxy), Rc::new(dns), inbox, ticks));
        };
        let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(run)?;
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

async fn run(context: Rc<Context>, dns: Rc<dns::Context>, mut inbox: mpsc::Receiver<Command>, alive: Arc<AtomicU64>) {
    let ticking = Rc::clone(&context);
    tokio::task::spawn_local(async move {
        loop {
            alive.store(sys::monotonic_ns(), Ordering::Relaxed);
            ticking.inherited.expire(Instant::now());
            sleep(TICK).await;
        }
    });
    let mut open: std::collections::HashMap<u64, watch::Sender<()>> = std::collections::HashMap::new();
    while let Some(command) = inbox.recv().await {
        match command {
            Command::Close(cookie) => drop(open.remove(&cookie)),
            Command::Dns(workload, stand_in, closed) => dns::serve(&dns, &workload, stand_in, &closed),
            Command::Listen(workload, listeners) => {
                let (closed_tx, closed_rx) = watch::channel(());
                open.insert(workload.cookie, closed_tx);
                let inbound = listeners.inbound.into_iter().map(|listener| (listener, Direction::Inbound));
                for (listener, direction) in inbound.chain([(listeners.outbound, Direction::Outbound)]) {
                    match TcpListener::from_std(listener) {
                        Ok(listener) => {
                            let accepting = accept(
                                Rc::clone(&context),
                                Arc::clone(&workload),
                                direction,
                                listener,
                                closed_rx.clone(),
                            );
                            tokio::task::spawn_local(accepting);
                        }
                        Err(error) => tracing::error!(workload = %workload.name, %error, "registering a listener"),
                    }
                }
            }
        }
    }
}

/// Accepts until the workload is closed.
async fn accept(
    context: Rc<Context>,
    workload: Arc<Captured>,
    direction: Direction,
    listener: TcpListener,
    mut closed: watch::Receiver<()>,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            _ = closed.changed() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, client)) => begin(&context, &workload, direction, stream, socket::canonical(client)),
            Err(error) if out_of_resources(&error) => {
                tracing::warn!(%error, "accepting pauses");
                sleep(ACCEPT_PAUSE).await;
            }
            // The connection was gone before it was accepted.
            Err(error) => tracing::debug!(%error, "accepting"),
        }
    }
}

fn out_of_resources(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

fn begin(context: &Rc<Context>, workload: &Arc<Captured>, direction: Direction, stream: TcpStream, client: SocketAddr) {
    let original = match direction {
        Direction::Outbound => proxy::original_of(context, &stream),
        // sk_lookup leaves the packet's own destination; anything else came to the listener's own port.
        Direction::Inbound => {
            stream.local_addr().ok().map(socket::canonical).filter(|local| workload.addresses.contains(&local.ip()))
        }
    };
    let Some(original) = original else {
        tracing::debug!(workload = %workload.name, %client, "a connection that no hook sent here is closed");
        context.metrics.unexpected_connection();
        return;
    };
    // The pod's own address is what its peers see; the loopback address is an artefact of the redirection.
    let client = match direction {
        Direction::Outbound => own_address(workload, original, client),
        Direction::Inbound => client,
    };
    let serving = proxy::serve(Rc::clone(context), Arc::clone(workload), direction, stream, client, original);
    tokio::task::spawn_local(serving);
}

fn own_address(workload: &Captured, original: SocketAddr, client: SocketAddr) -> SocketAddr {
    let same_family = workload.addresses.iter().find(|ip| ip.is_ipv4() == original.is_ipv4());
    same_family.map_or(client, |ip| SocketAddr::new(*ip, client.port()))
}
