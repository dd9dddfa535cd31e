//! What one client process is to do; the driver hands it over as one argument, in JSON.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The header that names a space.
pub(crate) const ROUTE_HEADER: &str = "azds-route-as";

/// Clients of one place.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Which one it is: part of the ids of its requests.
    pub(crate) number: u64,
    /// Of its random numbers.
    pub(crate) seed: u64,
    /// Where to: one address for each family.
    pub(crate) http: [SocketAddr; 2],
    pub(crate) http2: [SocketAddr; 2],
    pub(crate) tcp: [SocketAddr; 2],
    pub(crate) raw: [SocketAddr; 2],
    pub(crate) front: [SocketAddr; 2],
    /// The spaces that requests name, in any order; none for a request that names none.
    pub(crate) spaces: Vec<Option<String>>,
    /// Spaces are named in the host, below this suffix, instead of in a header.
    pub(crate) suffix: Option<String>,
    /// How many clients of each kind.
    pub(crate) clients: Vec<(Kind, u64)>,
    /// How long to go on; for ever if it is not said.
    pub(crate) seconds: Option<u64>,
}

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// Many requests a connection, with small bodies of any framing.
    KeepAlive,
    /// A connection a request.
    Fresh,
    /// Several requests at once, of several spaces.
    Pipelined,
    /// Bodies of megabytes, one way and the other.
    Large,
    /// Responses that take a second.
    Slow,
    /// Through an application that passes on a trace id and no space.
    Front,
    /// Several streams at once on one connection, with trailers, as gRPC has them.
    Http2,
    /// WebSocket of a second, and one of half a minute.
    WebSocket,
    WebSocketLong,
    /// A port that is declared as TCP; the server speaks first.
    Tcp,
    /// Streams that are not HTTP on a port of which nothing is said: short ones, and one of half a minute.
    Raw,
    RawLong,
}

impl Kind {
    /// What the report calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::KeepAlive => "keep-alive",
            Kind::Fresh => "fresh",
            Kind::Pipelined => "pipelined",
            Kind::Large => "large",
            Kind::Slow => "slow",
            Kind::Front => "propagated",
            Kind::Http2 => "http2",
            Kind::WebSocket => "websocket",
            Kind::WebSocketLong => "websocket-long",
            Kind::Tcp => "tcp-server-first",
            Kind::Raw => "opaque",
            Kind::RawLong => "opaque-long",
        }
    }

    /// Whether it goes on for longer than an agent that was succeeded waits.
    pub(crate) fn is_long(name: &str) -> bool {
        name == Kind::WebSocketLong.name() || name == Kind::RawLong.name()
    }

    /// Whether the agent cannot see a space in it.
    pub(crate) fn is_opaque(name: &str) -> bool {
        [Kind::Tcp, Kind::Raw, Kind::RawLong].iter().any(|kind| kind.name() == name)
    }
}
