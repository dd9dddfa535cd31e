//! Whole connections through [`serve`](super::serve), in this process: no root, no kernel side, everything on loopback.
//!
//! One thread plays the client, the servers and the agent, so that a test reads as a script: who sends what, and what comes
//! out at the other end. Nothing sleeps; where a deadline is what is tested, it is configured short.

mod another;
mod broken;
mod deadlines;
mod detection;
mod drain;
mod http2;
mod http2_refused;
mod inbound;
mod inherited;
mod opaque;
mod peer;
mod propagation;
mod refusals;
mod routing;
mod threads;
mod upstreams;
mod world;

use self::peer::{Peer, Server};
use self::world::{Records, Session, Setup, World};
use crate::flow::{Record, RequestRecord};

/// Runs a script to its end.
fn play(script: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let script = async { tokio::time::timeout(peer::LIMIT, script).await.expect("the script hangs") };
    tokio::task::LocalSet::new().block_on(&runtime, script);
}

/// Lets the agent come as far as it can with what it has been sent so far.
async fn settle() {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
}

/// A plain request to a service, and its answer.
const GET: &str = "GET /path?query HTTP/1.1\r\nHost: b\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A request that names a space.
fn get_in(space: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: b\r\nazds-route-as: {space}\r\n\r\n")
}
