//! A record's JSON line as the CLI reads it back: one flat form for both kinds.
//!
//! What a kind of record does not have is `None` or empty. Words are kept as text, so that a CLI shows what a newer agent
//! says.

use serde::Deserialize;

use super::RouteHeader;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FlowLine {
    /// `connection` or `request`.
    pub kind: String,
    /// The record's own number.
    pub id: u64,
    /// A request's connection.
    pub connection: Option<u64>,
    /// RFC 3339, UTC, microseconds.
    pub time: String,
    /// The workload at whose border it was intercepted.
    pub workload: String,
    /// `outbound` or `inbound`.
    pub direction: String,
    /// `ip:port` of the caller.
    pub client: String,
    /// `ip:port` that the caller asked for.
    pub original_destination: String,
    /// `name.space` of the service behind it.
    pub service: Option<String>,
    /// What was spoken.
    pub protocol: String,
    /// How that was known.
    pub protocol_from: String,
    /// A request's method.
    pub method: Option<String>,
    /// A request's path.
    pub path: Option<String>,
    /// A request's Host.
    pub host: Option<String>,
    /// The answer's status.
    pub status: Option<u16>,
    /// The route header that a request came with.
    pub route_header: Option<RouteHeader>,
    /// Whether the agent added one.
    pub injected: Option<bool>,
    /// A request's space.
    pub space: Option<String>,
    /// Where that was read.
    pub space_from: Option<String>,
    /// The spaces that were tried.
    #[serde(default)]
    pub chain: Vec<FlowStep>,
    /// Where it went.
    pub target: Option<FlowTarget>,
    /// What became of it.
    pub verdict: String,
    /// Why.
    pub reason: String,
    /// Why routing decided so.
    pub route_reason: Option<String>,
    /// Which side was at fault.
    pub side: Option<String>,
    /// What failed, in words.
    pub error: Option<String>,
    /// Requests on a connection.
    pub requests: Option<u64>,
    /// Bytes from the caller.
    pub bytes_in: u64,
    /// Bytes to the caller.
    pub bytes_out: u64,
    /// How long connecting took.
    pub connect_us: Option<u64>,
    /// Until the response's head.
    pub first_byte_us: Option<u64>,
    /// In all.
    pub duration_us: u64,
    /// What else is worth knowing of a request, as words.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What the kernel knows of the application's socket.
    pub kernel: Option<FlowKernel>,
}

/// One space that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FlowStep {
    /// The space.
    pub space: String,
    /// What was found there.
    pub outcome: String,
}

/// Where a request or connection went.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FlowTarget {
    /// `original`, `application` or `endpoint`.
    pub kind: String,
    /// `ip:port` that was dialled.
    pub address: String,
    /// The service's name.
    pub service: Option<String>,
    /// Its space.
    pub space: Option<String>,
}

/// What the kernel knows of the application's socket.
pub type FlowKernel = super::KernelFacts;

/// The line between records that tells how many were lost.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LostLine {
    /// `lost`.
    pub kind: String,
    /// How many.
    pub count: u64,
}
