//! Short names: a pod of a derived space finds shared services under its own space's name.
//!
//! The hooks send the DNS queries of such pods to sockets that the agent has on the pod's loopback, one a server that the pod
//! uses. [`answer`] answers exactly the names that only an ancestor space has; every other query goes to the server it was
//! meant for with its bytes as they came, from the pod's own network namespace, and so does the response. `capture` opens the
//! sockets, workers serve them. Nothing is cached, and nothing here decides where a request goes (`route` does).

mod answer;
mod context;
mod forward;
mod name;
mod records;
mod resolv_conf;
mod stand_in;
mod tcp;
mod udp;

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::watch;

pub use context::Context;
pub use stand_in::StandIn;

use crate::captured::Captured;
use crate::snapshot::Workload;

/// Serves what a workload asks of one server, until the sender is gone.
pub fn serve(context: &Rc<Context>, workload: &Arc<Captured>, stand_in: StandIn, closed: &watch::Receiver<()>) {
    let StandIn { server, udp, tcp } = stand_in;
    let place = Rc::new(Place { context: Rc::clone(context), workload: Arc::clone(workload), server });
    match tokio::net::UdpSocket::from_std(udp) {
        Ok(socket) => drop(tokio::task::spawn_local(udp::serve(Rc::clone(&place), socket, closed.clone()))),
        Err(error) => tracing::error!(workload = %workload.name, %error, "registering a DNS socket"),
    }
    match tokio::net::TcpListener::from_std(tcp) {
        Ok(listener) => drop(tokio::task::spawn_local(tcp::serve(place, listener, closed.clone()))),
        Err(error) => tracing::error!(workload = %workload.name, %error, "registering a DNS listener"),
    }
}

/// The servers that a workload's processes use by their resolv.conf, as far as one can be seen. Reads files.
pub fn servers_of(workload: &Workload, captured: &Captured) -> Vec<IpAddr> {
    resolv_conf::servers(&workload.netns, captured.cgroup.as_deref(), captured.netns.identity())
}

/// Where a query is: the workload that asks and the server that it asks.
struct Place {
    context: Rc<Context>,
    workload: Arc<Captured>,
    server: SocketAddr,
}
