//! Accepts on the listeners of one workload and begins to serve what comes.
//!
//! One task a listener, ended by dropping its [`Open`]. A listener that somebody else closed (with `ss --kill`, say) is told
//! of and left: to accept on it again and again would take all of the worker's time.

use std::io;
use std::net::{SocketAddr, TcpListener as Descriptor};
use std::os::fd::AsFd as _;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::yield_now;

use crate::captured::Captured;
use crate::net::socket::{self, Listeners};
use crate::proxy::{self, Arrival, Context, Shortage};
use crate::route::Direction;

/// Connections that a listener takes before it lets everything else have its turn: a flood at one must not hold up the
/// connections of others.
const BURST: usize = 8;

/// One set of a workload's listeners; dropping it closes them.
pub(super) struct Open {
    _closed: watch::Sender<()>,
    listeners: Vec<(Direction, Rc<TcpListener>)>,
}

impl Open {
    /// Accepts on these.
    pub(super) fn begin(
        context: &Rc<Context>,
        workload: &Arc<Captured>,
        listeners: Listeners,
        broken: &mpsc::Sender<u64>,
    ) -> Self {
        let (closed_tx, closed_rx) = watch::channel(());
        let inbound = listeners.inbound.into_iter().map(|listener| (listener, Direction::Inbound));
        let mut open = Vec::with_capacity(3);
        for (listener, direction) in inbound.chain([(listeners.outbound, Direction::Outbound)]) {
            match TcpListener::from_std(listener) {
                Ok(listener) => {
                    let listener = Rc::new(listener);
                    let accepting = Accepting {
                        context: Rc::clone(context),
                        workload: Arc::clone(workload),
                        direction,
                        listener: Rc::clone(&listener),
                        broken: broken.clone(),
                    };
                    tokio::task::spawn_local(accepting.run(closed_rx.clone()));
                    open.push((direction, listener));
                }
                Err(error) => tracing::error!(workload = %workload.name, %error, "registering a listener"),
            }
        }
        Self { _closed: closed_tx, listeners: open }
    }

    /// Descriptors of the same sockets; none where the outbound one could not be registered.
    pub(super) fn descriptors(&self) -> Option<io::Result<Listeners>> {
        let copy = |listener: &Rc<TcpListener>| Ok(Descriptor::from(listener.as_fd().try_clone_to_owned()?));
        let of = |wanted: Direction| {
            self.listeners.iter().filter(move |(direction, _)| *direction == wanted).map(|(_, listener)| listener)
        };
        let outbound = of(Direction::Outbound).next()?;
        let all = || {
            Ok(Listeners {
                outbound: copy(outbound)?,
                inbound: of(Direction::Inbound).map(copy).collect::<io::Result<_>>()?,
            })
        };
        Some(all())
    }
}

/// The task of one listener.
struct Accepting {
    context: Rc<Context>,
    workload: Arc<Captured>,
    direction: Direction,
    listener: Rc<TcpListener>,
    broken: mpsc::Sender<u64>,
}

impl Accepting {
    /// Accepts until the workload is closed.
    async fn run(self, mut closed: watch::Receiver<()>) {
        let shortage = &self.context.shortage;
        for turn in 1_usize.. {
            if turn.is_multiple_of(BURST) {
                yield_now().await;
            }
            while shortage.holds_accepting() {
                self.context.metrics.accept_paused();
                shortage.pause().await;
            }
            let accepted = tokio::select! {
                biased;
                _ = closed.changed() => return,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, client)) => {
                    self.begin(stream, socket::canonical(client));
                    shortage.after_accept().await;
                }
                Err(error) if Shortage::is_behind(&error) => {
                    self.context.metrics.accept_paused();
                    tracing::warn!(
                        workload = %self.workload.name, %error,
                        "accepting pauses, connections wait: raise the limit of open files, or what the kernel may use"
                    );
                    shortage.pause().await;
                }
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                    let direction = self.direction.as_str();
                    tracing::warn!(workload = %self.workload.name, direction, "a listener was closed by somebody else");
                    // A full queue holds others: the next sweep comes to this one.
                    self.broken.try_send(self.workload.cookie).ok();
                    return;
                }
                // The connection was gone before it was accepted.
                Err(error) => tracing::debug!(%error, "accepting"),
            }
        }
    }

    fn begin(&self, stream: TcpStream, client: SocketAddr) {
        let Self { context, workload, direction, .. } = self;
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
        let (context, workload) = (Rc::clone(context), Arc::clone(workload));
        proxy::begin(Arrival { context, workload, direction: *direction, client, original }, stream);
    }
}

fn own_address(workload: &Captured, original: SocketAddr, client: SocketAddr) -> SocketAddr {
    let same_family = workload.addresses.iter().find(|ip| ip.is_ipv4() == original.is_ipv4());
    same_family.map_or(client, |ip| SocketAddr::new(*ip, client.port()))
}
