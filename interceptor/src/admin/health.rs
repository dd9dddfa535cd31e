//! `/metrics`, `/healthz` and `/readyz` on TCP, for Prometheus and the kubelet.
//!
//! Runs on the control runtime on purpose: an agent whose control loop hangs does not answer.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::watch;

use super::body::Body;
use super::{AdminState, answer, server};

/// Connections that are served at once.
const CONNECTIONS: usize = 16;
/// A heartbeat older than that is no life; the hooks have failed open long before.
const STALE: Duration = Duration::from_secs(10);
const PLAIN: &str = "text/plain; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics endpoint, bound.
#[derive(Debug)]
pub struct MetricsServer {
    listener: TcpListener,
    address: SocketAddr,
}

/// Why there is no metrics endpoint.
#[derive(Debug, thiserror::Error)]
#[error("listening on {address} for /metrics; is the port in use? Give another metrics.address")]
pub struct MetricsServerError {
    /// Where it was to listen.
    pub address: SocketAddr,
    /// Why it cannot.
    pub source: io::Error,
}

impl MetricsServer {
    /// Listens there.
    ///
    /// # Errors
    /// Where the address is taken or is none of this machine.
    pub fn bind(address: SocketAddr) -> Result<Self, MetricsServerError> {
        let failed = |source| MetricsServerError { address, source };
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown` turns true.
    pub async fn serve(self, state: AdminState, shutdown: watch::Receiver<bool>) {
        match tokio::net::TcpListener::from_std(self.listener) {
            Ok(listener) => {
                let answer = move |request| std::future::ready(respond(&state, &request));
                server::serve(listener, CONNECTIONS, answer, shutdown).await;
            }
            Err(error) => tracing::error!(%error, "the metrics endpoint cannot be served"),
        }
    }
}

fn respond(state: &AdminState, request: &Request<Incoming>) -> Response<Body> {
    let path = request.uri().path();
    let respond: fn(&AdminState) -> Response<Body> = match path {
        "/metrics" => |state| answer::text(StatusCode::OK, OPENMETRICS, state.metrics.encode()),
        "/healthz" => health,
        "/readyz" => readiness,
        _ => return answer::error(StatusCode::NOT_FOUND, format!("there is no {path}"), HINT),
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return answer::wrong_method(path, "GET");
    }
    respond(state)
}

const HINT: &str = "there are /metrics, /healthz and /readyz";

fn health(state: &AdminState) -> Response<Body> {
    match state.status.heartbeat_age() {
        Some(age) if age > STALE && !state.status.is_succeeded() => {
            let text = format!("the last heartbeat was {} s ago\n", age.as_secs());
            answer::text(StatusCode::SERVICE_UNAVAILABLE, PLAIN, text)
        }
        _ => answer::text(StatusCode::OK, PLAIN, "ok\n".to_owned()),
    }
}

fn readiness(state: &AdminState) -> Response<Body> {
    let why = state.status.not_ready_because();
    if why.is_empty() {
        return answer::text(StatusCode::OK, PLAIN, "ok\n".to_owned());
    }
    answer::text(StatusCode::SERVICE_UNAVAILABLE, PLAIN, why.iter().map(|why| format!("{why}\n")).collect())
}
