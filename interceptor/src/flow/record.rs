//! What a flow record says. The JSON names are stable: they are what `interceptor flows -o json` prints.
//!
//! Plain data, made by `proxy`, owned by the hub. Strings from the network are bounded before they come here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::Notes;
use crate::route::{Chain, Direction, Reason, ServiceRef, SpaceFrom};

/// One record.
#[derive(Debug, Clone)]
pub enum Record {
    /// A connection ended.
    Connection(ConnectionRecord),
    /// A request ended.
    Request(RequestRecord),
}

/// One intercepted connection, from accept to close.
#[derive(Debug, Clone)]
pub struct ConnectionRecord {
    /// Unique among the agent's connections.
    pub id: u64,
    /// When it was accepted.
    pub time: SystemTime,
    /// The workload at whose border it was intercepted.
    pub workload: Arc<str>,
    /// Which way it crossed the border.
    pub direction: Direction,
    /// The caller's address.
    pub client: SocketAddr,
    /// The destination that the caller asked for.
    pub original_destination: SocketAddr,
    /// The service behind it, where it is one.
    pub service: Option<ServiceRef>,
    /// What was spoken.
    pub protocol: Protocol,
    /// How that was known.
    pub protocol_from: ProtocolFrom,
    /// Where its bytes went; `None` where several requests went to several targets, or nothing was reached.
    pub target: Option<TargetRecord>,
    /// HTTP requests on it.
    pub requests: u64,
    /// Bytes from the caller.
    pub bytes_in: u64,
    /// Bytes to the caller.
    pub bytes_out: u64,
    /// How long connecting to the upstream took, for an opaque connection.
    pub connect: Option<Duration>,
    /// From accept to close.
    pub duration: Duration,
    /// What became of it.
    pub verdict: Verdict,
    /// Why, in a stable word (`end_of_stream`, `upstream_refused`, `client_reset`, …).
    pub reason: &'static str,
    /// What failed, in words, where something did.
    pub error: Option<Box<str>>,
    /// What the kernel knows of the application's socket.
    pub kernel: Option<KernelFacts>,
}

/// One HTTP request on an intercepted connection.
#[derive(Debug, Clone)]
pub struct RequestRecord {
    /// Unique among the agent's requests.
    pub id: u64,
    /// The connection's [`ConnectionRecord::id`].
    pub connection: u64,
    /// When its head had arrived.
    pub time: SystemTime,
    /// The workload at whose border it was intercepted.
    pub workload: Arc<str>,
    /// Which way it crossed the border.
    pub direction: Direction,
    /// The caller's address.
    pub client: SocketAddr,
    /// The destination that the caller asked for.
    pub original_destination: SocketAddr,
    /// The service behind it.
    pub service: Option<ServiceRef>,
    /// Which HTTP it was.
    pub protocol: Protocol,
    /// How that was known.
    pub protocol_from: ProtocolFrom,
    /// The method, bounded.
    pub method: Box<str>,
    /// The request target up to the query, bounded.
    pub path: Box<str>,
    /// The Host, bounded.
    pub host: Option<Box<str>>,
    /// The route header that the request came with.
    pub route_header: Option<RouteHeader>,
    /// Whether the agent added the route header.
    pub injected: bool,
    /// The space that the request belongs to.
    pub space: Option<Arc<str>>,
    /// Where that space was read.
    pub space_from: SpaceFrom,
    /// The spaces that were tried.
    pub chain: Chain,
    /// Why routing decided so.
    pub route_reason: Option<Reason>,
    /// Where it went.
    pub target: Option<TargetRecord>,
    /// The status of the answer, the application's or ours.
    pub status: Option<u16>,
    /// The gRPC status of the answer, the application's or ours; `None` where it is no gRPC or ended without one.
    pub grpc_status: Option<u16>,
    /// Bytes of the request, head and body as received (HTTP/2: without framing and compression).
    pub bytes_in: u64,
    /// Bytes of the response, head and body as sent to the caller.
    pub bytes_out: u64,
    /// How long connecting took; `None` on a connection that was there.
    pub connect: Option<Duration>,
    /// From the request's head to the response's head.
    pub first_byte: Option<Duration>,
    /// From the request's head to the response's end.
    pub duration: Duration,
    /// What became of it.
    pub verdict: Verdict,
    /// Why, in a stable word: the routing reason, or what failed (`upstream_refused`, `bad_request`, …).
    pub reason: &'static str,
    /// Which side was at fault, where something failed.
    pub side: Option<ErrorSide>,
    /// What failed, in words, where something did.
    pub error: Option<Box<str>>,
    /// What else is worth knowing.
    pub notes: Notes,
}

/// What a request came with that carries a space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteHeader {
    /// Its name as it is configured.
    pub name: Arc<str>,
    /// Its value; bytes that are no UTF-8 are shown replaced.
    pub value: Box<str>,
}

/// Where a request or an opaque connection went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetRecord {
    /// What kind of target.
    pub kind: TargetKind,
    /// The address that was dialled.
    pub address: SocketAddr,
    /// The service there, where it is known.
    pub service: Option<ServiceRef>,
}

impl TargetRecord {
    /// Where the caller wanted to go: the original destination, or the application of the pod.
    pub fn original(direction: Direction, address: SocketAddr, service: Option<ServiceRef>) -> Self {
        let kind = match direction {
            Direction::Outbound => TargetKind::Original,
            Direction::Inbound => TargetKind::Application,
        };
        Self { kind, address, service }
    }
}

/// What kind of target was dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetKind {
    /// The original destination.
    Original,
    /// The application of the intercepted pod.
    Application,
    /// An endpoint that the agent chose.
    Endpoint,
}

/// What was spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.0 or 1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// TLS, passed as opaque.
    Tls,
    /// Anything else.
    Opaque,
    /// Nothing was said.
    Unknown,
}

/// How a connection's protocol was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProtocolFrom {
    /// The caller's first bytes.
    ClientBytes,
    /// The server spoke first.
    ServerFirst,
    /// The service's `app_protocol` or the port's name.
    Declared,
    /// The first bytes stayed ambiguous until the deadline.
    Deadline,
    /// It ended before anything was known.
    Nothing,
}

/// What became of a connection or request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It went where the caller sent it.
    Forwarded,
    /// It went to another space's copy.
    Redirected,
    /// The agent refused it (bad request, limits).
    Refused,
    /// It failed on the way.
    Error,
}

/// Which side a failure came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorSide {
    /// The caller.
    Downstream,
    /// The target.
    Upstream,
    /// The agent.
    Agent,
}

/// What the kernel knows of the application's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelFacts {
    /// Smoothed round-trip time, microseconds.
    pub srtt_us: u32,
    /// Retransmitted segments.
    pub retransmits: u32,
    /// Bytes that the application sent.
    pub bytes_sent: u64,
    /// Bytes that the application received.
    pub bytes_received: u64,
    /// How long the application's socket was open, microseconds; `None` while it is.
    pub open_us: Option<u64>,
}
