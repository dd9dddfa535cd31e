//! The data path: what happens to one intercepted connection, from accept to its record.
//!
//! ```text
//! accept → detect → http1 (per request: head → route → upstream → response)
//!                 → http2 (the same per stream)
//!                 → opaque (original destination, byte for byte)
//! ```
//! Runs on worker threads, one task a connection, no locks shared with other workers beyond the hub's. Never decides where
//! a request goes (`route` does) and never touches what is captured (`capture` does).

pub mod classify;
pub mod connect;
mod context;
mod detect;
mod drain;
mod endpoint;
pub mod error;
mod handed;
pub mod http1;
mod http2;
mod opaque;
mod record;
mod refuse;
mod respond;
mod routing;
pub mod selftest;
mod shortage;
mod splice;
#[cfg(test)]
mod tests;
pub(crate) mod threads;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::task::{JoinHandle, spawn_local};

pub use context::Context;
pub use drain::{Drain, Phase};
pub use refuse::Refusals;
pub use shortage::Shortage;

use self::connect::Upstream;
use self::detect::Detected;
use self::error::ConnectError;
use self::record::RecordGuard;
use self::respond::Answer;
use crate::captured::Captured;
use crate::flow::{Protocol, TargetRecord};
use crate::net::budget::Account;
use crate::net::side::Side;
use crate::net::socket;
use crate::room::Place;
use crate::route::Direction;

/// One intercepted connection.
pub struct Connection {
    /// The worker's.
    pub context: Rc<Context>,
    /// The workload at whose border it is.
    pub workload: Arc<Captured>,
    /// Which way it crosses that border.
    pub direction: Direction,
    /// The caller.
    pub client: SocketAddr,
    /// The destination that the caller asked for.
    pub original: SocketAddr,
    /// What is held for the workload's peers that do not keep up.
    account: Rc<Account>,
    /// Its record, published when it is dropped.
    record: RecordGuard,
}

/// A connection that was accepted: at whose border, and between whom.
pub struct Arrival {
    /// The worker's.
    pub context: Rc<Context>,
    /// The workload at whose border it is.
    pub workload: Arc<Captured>,
    /// Which way it crosses that border.
    pub direction: Direction,
    /// The caller.
    pub client: SocketAddr,
    /// The destination that the caller asked for.
    pub original: SocketAddr,
}

/// Takes an accepted connection: serves it to its end in a task of its own, or turns it away where there is no place for
/// it. Gives that task; a connection that is reset at once has none.
pub fn begin(arrival: Arrival, stream: TcpStream) -> Option<JoinHandle<()>> {
    let Arrival { context, workload, .. } = &arrival;
    match context.room.admit(&workload.open, context.settings.max_connections) {
        Ok(place) => Some(spawn_local(serve(arrival, stream, place))),
        Err(why) => refuse::turn_away(&arrival, stream, why),
    }
}

async fn serve(arrival: Arrival, stream: TcpStream, place: Place) {
    let Arrival { context, workload, direction, client, original } = arrival;
    let record = RecordGuard::begin(&context, &workload, direction, client, original, Some(place));
    let account = context.budget.account(workload.cookie);
    let mut connection = Connection { context, workload, direction, client, original, account, record };
    let side = Side::new(stream, &connection.context.buffers);
    let _joined = Drain::join(&connection.context).await;
    let (detected, client, dialled) = detect::detect(&mut connection, side).await;
    match detected {
        Detected::Http1 => http1::serve(&mut connection, client, dialled).await,
        Detected::Http2 => http2::serve(&mut connection, client, dialled).await,
        Detected::Opaque => {
            let _unseen = routing::enter_unseen(&connection.workload, direction, &connection.context.snapshot.load());
            let upstream = match dialled {
                Some(upstream) => Ok(upstream),
                None => connection.connect_original().await,
            };
            match upstream {
                Ok(upstream) => {
                    let target = connection.original_target();
                    opaque::relay(&mut connection, client, upstream, target).await;
                }
                Err(error) => refuse(&mut connection, client, &error).await,
            }
        }
        Detected::Unreachable(error) => refuse(&mut connection, client, &error).await,
        Detected::Broken(error) => connection.record.failed_client(&error),
        Detected::Crowded => {
            connection.record.refused(&Answer::no_memory("a request line of more than 16 KiB"));
            client.reset().await;
        }
    }
}

/// An opaque connection whose destination cannot be reached ends as a refused one would, only later: with RST, at once.
async fn refuse(connection: &mut Connection, client: Side, error: &ConnectError) {
    connection.record.unreachable(error);
    client.reset().await;
}

impl Connection {
    /// Connects to where the caller wanted to go: the original destination, or the application of this pod.
    async fn connect_original(&self) -> Result<Upstream, ConnectError> {
        let Self { context, workload, direction, original, client, .. } = self;
        connect::connect_original(context, workload, *direction, *original, *client).await
    }

    /// Where the caller wanted to go, for records.
    fn original_target(&self) -> TargetRecord {
        TargetRecord::original(self.direction, self.original, self.record.service())
    }

    /// What the service's owner declares: HTTP, something else, or nothing.
    fn declared(&self) -> Option<Protocol> {
        let snapshot = self.context.snapshot.load();
        let port = snapshot.destination(self.original)?.first()?.port;
        let declared = port.app_protocol.as_deref().unwrap_or_else(|| port.name.split('-').next().unwrap_or_default());
        match declared {
            "http" | "http1" | "http/1.1" | "kubernetes.io/ws" | "ws" => Some(Protocol::Http1),
            "grpc" | "h2c" | "kubernetes.io/h2c" | "http2" => Some(Protocol::Http2),
            "tcp" | "redis" | "mysql" | "mongo" | "postgres" | "postgresql" | "amqp" | "kafka" => {
                Some(Protocol::Opaque)
            }
            _ => None,
        }
    }
}

/// The address that the caller used, for an accepted outbound connection: what the loopback address stands for.
pub fn original_of(context: &Context, stream: &TcpStream) -> Option<SocketAddr> {
    let local = socket::canonical(stream.local_addr().ok()?);
    let index = interceptor_common::policy::index_of(local.ip().into())?;
    context.destinations.get(index)
}
