//! The agent's own answers: the one place that turns a failure into HTTP.
//!
//! Recognisable by `server: interceptor`, always the last of a connection, with a body that says what failed and where to
//! look. Never used where an application could have answered itself.

use super::error::{ConnectError, ConnectErrorKind};
use super::http1::exchange::Failure;
use super::http1::framing::LengthError;
use super::http1::head::HeadError;
use crate::config::Proxy;
use crate::flow::ErrorSide;
use crate::room::{Limits, Refused};

/// An answer of the agent's own.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// The status.
    pub(super) status: u16,
    /// The stable word for records and metrics.
    pub(super) reason: &'static str,
    /// Which side is at fault.
    pub(super) side: ErrorSide,
    /// What failed, in words.
    pub(super) error: String,
}

impl Answer {
    /// For an upstream that cannot be reached.
    pub(super) fn connect(error: &ConnectError) -> Self {
        let status = match error.kind {
            ConnectErrorKind::Refused | ConnectErrorKind::Unreachable(_) => 502,
            ConnectErrorKind::TimedOut => 504,
            ConnectErrorKind::NoPort | ConnectErrorKind::Socket(_) => 503,
        };
        Self { status, reason: error.reason(), side: error.side(), error: error.to_string() }
    }

    /// Whether nobody was there to be asked.
    pub(super) fn is_unreachable(&self) -> bool {
        matches!(self.reason, "upstream_refused" | "upstream_timeout" | "upstream_unreachable")
    }

    /// For a connection for which there is no place.
    pub(super) fn no_place(why: Refused, settings: &Proxy, limits: &Limits) -> Self {
        let (most, all) = (settings.max_connections, limits.connections);
        let error = match why {
            Refused::Workload => format!("the workload has {most} connections at once (proxy.max_connections)"),
            Refused::Agent => format!(
                "the workload has as many connections as are left of the {all} that the agent takes \
                 (proxy.max_connections_total)"
            ),
        };
        Self { status: 503, reason: why.as_str(), side: ErrorSide::Agent, error }
    }

    /// For what would have the agent hold more for a workload's peers that do not keep up than it leaves for others.
    pub(super) fn no_memory(what: &str) -> Self {
        let error =
            format!("{what}: the workload's connections hold as many bytes as are left (proxy.max_buffered_bytes)");
        Self { status: 503, reason: "agent_memory", side: ErrorSide::Agent, error }
    }

    /// For a request head that is not passed on.
    pub(super) fn bad_request(error: HeadError) -> Self {
        let status = match error {
            HeadError::TooManyFields => 431,
            HeadError::Length(LengthError::TransferEncoding) => 501,
            HeadError::Syntax(httparse::Error::Version) => 505,
            _ => 400,
        };
        Self { status, reason: "bad_request", side: ErrorSide::Downstream, error: format!("the request head: {error}") }
    }

    /// For a request head beyond the bound.
    pub(super) fn large_head(limit: usize) -> Self {
        Self {
            status: 431,
            reason: "head_too_large",
            side: ErrorSide::Downstream,
            error: format!("the request head is larger than {limit} bytes (max_head_bytes)"),
        }
    }

    /// For a request head that does not arrive in time.
    pub(super) fn slow_head() -> Self {
        Self {
            status: 408,
            reason: "head_timeout",
            side: ErrorSide::Downstream,
            error: "the request head did not arrive within head_timeout".to_owned(),
        }
    }

    /// For a chunked request body that is broken from its first byte.
    pub(super) fn bad_body(error: super::http1::chunked::ChunkError) -> Self {
        Self {
            status: 400,
            reason: "bad_request",
            side: ErrorSide::Downstream,
            error: format!("the request body: {error}"),
        }
    }

    /// For an exchange that failed before the client had any of the response; `None` where nobody is there to be told.
    pub(super) fn failed(failure: &Failure) -> Option<Self> {
        let (status, reason, side) = match failure {
            Failure::Client(super::http1::message::MoveError::Chunk(_)) => (400, "bad_request", ErrorSide::Downstream),
            Failure::Client(_) | Failure::Response(_) => return None,
            Failure::Crowded => return Some(Self::no_memory(&failure.to_string())),
            Failure::Slow => (504, "first_byte_timeout", ErrorSide::Upstream),
            Failure::Ending => (503, "drain_timeout", ErrorSide::Agent),
            Failure::NoResponse(_) => (502, "upstream_closed", ErrorSide::Upstream),
            Failure::BadResponse(_) | Failure::LargeResponse => (502, "bad_response", ErrorSide::Upstream),
        };
        Some(Self { status, reason, side, error: failure.to_string() })
    }

    /// What people read.
    pub(super) fn body(&self, connection: u64) -> String {
        format!(
            "interceptor: {}\nSee `interceptor flows --kind request` on this node, connection {connection}.\n",
            self.error
        )
    }

    /// The bytes to send.
    pub(super) fn to_bytes(&self, connection: u64) -> Vec<u8> {
        self.with_body(&self.body(connection))
    }

    /// The same for a connection that may have no record.
    pub(super) fn without_record(&self) -> Vec<u8> {
        self.with_body(&format!("interceptor: {}\nSee `interceptor status` on this node.\n", self.error))
    }

    fn with_body(&self, body: &str) -> Vec<u8> {
        let retry = if self.passes() { "retry-after: 1\r\n" } else { "" };
        format!(
            "HTTP/1.1 {} {}\r\nserver: interceptor\r\ncontent-type: text/plain; charset=utf-8\r\n\
             content-length: {}\r\n{retry}connection: close\r\n\r\n{body}",
            self.status,
            phrase(self.status),
            body.len()
        )
        .into_bytes()
    }

    /// Whether the same request may succeed in a moment: what the agent lacks for itself it soon has again.
    pub(super) fn passes(&self) -> bool {
        self.status == 503
    }
}

fn phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        408 => "Request Timeout",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}
