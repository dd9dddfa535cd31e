//! `/healthz`, `/readyz`, `/metrics` and `/status` of the manager, for the kubelet, Prometheus and people.
//!
//! Served as the agent's endpoint is, by the same bounds.

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};

use super::report::Board;
use crate::admin::answer;
use crate::admin::body::Body;

/// Connections that are served at once.
pub(super) const CONNECTIONS: usize = 16;
const PLAIN: &str = "text/plain; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const HINT: &str = "there are /healthz, /readyz, /metrics and /status";

/// Answers one request.
pub(super) fn respond(board: &Board, request: &Request<Incoming>) -> Response<Body> {
    let path = request.uri().path();
    if !["/healthz", "/readyz", "/metrics", "/status"].contains(&path) {
        return answer::error(StatusCode::NOT_FOUND, format!("there is no {path}"), HINT);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return answer::wrong_method(path, "GET");
    }
    match path {
        "/metrics" => answer::text(StatusCode::OK, OPENMETRICS, board.metrics()),
        "/status" => match board.json() {
            Ok(json) => answer::text(StatusCode::OK, "application/json", format!("{json}\n")),
            Err(error) => answer::error(StatusCode::INTERNAL_SERVER_ERROR, error.to_string(), HINT),
        },
        "/readyz" => match board.not_ready_because() {
            Some(why) => answer::text(StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("{why}\n")),
            None => answer::text(StatusCode::OK, PLAIN, "ok\n".to_owned()),
        },
        // Whoever answers lives: the control loop and this share a thread.
        _ => answer::text(StatusCode::OK, PLAIN, "ok\n".to_owned()),
    }
}
