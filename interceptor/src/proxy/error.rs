//! Why a connection or a request failed: one type per stage, each with its stable word for records and metrics.

use std::io;
use std::net::SocketAddr;

use crate::flow::ErrorSide;

/// An upstream connection that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("connecting to {address}: {kind}")]
pub struct ConnectError {
    /// Who was dialled.
    pub address: SocketAddr,
    /// Why it failed.
    pub kind: ConnectErrorKind,
}

/// Why an upstream connection could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectErrorKind {
    /// Nobody listens there.
    #[error("connection refused")]
    Refused,
    /// No answer in time.
    #[error("no answer within the connect timeout")]
    TimedOut,
    /// No route, or the network says no.
    #[error("{0}")]
    Unreachable(io::Error),
    /// All ports that the workload's connections may leave from are in use.
    #[error(
        "no local port is free in the workload's network namespace: its connections there are too many for \
         net.ipv4.ip_local_port_range"
    )]
    NoPort,
    /// The agent could not make the socket (namespace gone, out of descriptors).
    #[error("making the socket in the workload's network namespace: {0}")]
    Socket(io::Error),
}

impl ConnectError {
    /// The stable word for records and metrics.
    pub fn reason(&self) -> &'static str {
        match self.kind {
            ConnectErrorKind::Refused => "upstream_refused",
            ConnectErrorKind::TimedOut => "upstream_timeout",
            ConnectErrorKind::Unreachable(_) => "upstream_unreachable",
            ConnectErrorKind::NoPort => "no_local_port",
            ConnectErrorKind::Socket(_) => "agent_socket",
        }
    }

    /// Which side is at fault.
    pub fn side(&self) -> ErrorSide {
        match self.kind {
            ConnectErrorKind::NoPort | ConnectErrorKind::Socket(_) => ErrorSide::Agent,
            _ => ErrorSide::Upstream,
        }
    }
}

/// How a read or write of an established connection failed, as a stable word.
pub fn io_reason(side: ErrorSide, error: &io::Error) -> &'static str {
    let reset = matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted
    );
    match (side, reset) {
        (ErrorSide::Downstream, true) => "client_reset",
        (ErrorSide::Downstream, false) => "client_io",
        (ErrorSide::Upstream, true) => "upstream_reset",
        (ErrorSide::Upstream, false) => "upstream_io",
        (ErrorSide::Agent, _) => "agent_io",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_connection_is_told_from_any_other_failure() {
        use io::ErrorKind::{ConnectionReset, Other};
        for (side, kind, reason) in [
            (ErrorSide::Downstream, ConnectionReset, "client_reset"),
            (ErrorSide::Downstream, Other, "client_io"),
            (ErrorSide::Upstream, ConnectionReset, "upstream_reset"),
            (ErrorSide::Upstream, Other, "upstream_io"),
            (ErrorSide::Agent, Other, "agent_io"),
        ] {
            assert_eq!(io_reason(side, &kind.into()), reason);
        }
    }
}
