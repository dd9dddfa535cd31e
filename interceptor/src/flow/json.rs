//! The stable JSON form of records: one object per line.
//!
//! The admin socket writes the lines straight from the records; the CLI passes them on (`-o json`) or reads them back as
//! [`FlowLine`] for its tables. Names are never changed or given another meaning; new ones may be added at the end.

use std::net::SocketAddr;
use std::time::Duration;

use serde::ser::SerializeSeq as _;
use serde::{Serialize, Serializer};

use super::{
    ConnectionRecord, ErrorSide, KernelFacts, Notes, Protocol, ProtocolFrom, Record, RequestRecord, RouteHeader,
    TargetKind, TargetRecord, Verdict,
};
use crate::route::{Chain, Direction, Reason, ServiceRef, SpaceFrom};

mod line;

pub use line::{FlowKernel, FlowLine, FlowStep, FlowTarget, LostLine};

/// Appends a record as one line.
pub fn write_line(out: &mut Vec<u8>, record: &Record) {
    let written = match record {
        Record::Connection(record) => serde_json::to_writer(&mut *out, &ConnectionLine::new(record)),
        Record::Request(record) => serde_json::to_writer(&mut *out, &RequestLine::new(record)),
    };
    // Writing these types to memory cannot fail: no map keys, no foreign Serialize.
    debug_assert!(written.is_ok(), "{written:?}");
    out.push(b'\n');
}

/// Appends the line that tells a follower how many records it lost.
pub fn write_lost(out: &mut Vec<u8>, count: u64) {
    out.extend_from_slice(format!("{{\"kind\":\"lost\",\"count\":{count}}}\n").as_bytes());
}

#[derive(Serialize)]
struct ConnectionLine<'a> {
    kind: &'static str,
    id: u64,
    #[serde(serialize_with = "time")]
    time: std::time::SystemTime,
    workload: &'a str,
    direction: Direction,
    client: SocketAddr,
    original_destination: SocketAddr,
    service: Option<Qualified<'a>>,
    protocol: Protocol,
    protocol_from: ProtocolFrom,
    target: Option<TargetLine<'a>>,
    verdict: Verdict,
    reason: &'static str,
    error: Option<&'a str>,
    requests: u64,
    bytes_in: u64,
    bytes_out: u64,
    connect_us: Option<u64>,
    duration_us: u64,
    kernel: Option<KernelFacts>,
}

impl<'a> ConnectionLine<'a> {
    fn new(record: &'a ConnectionRecord) -> Self {
        Self {
            kind: "connection",
            id: record.id,
            time: record.time,
            workload: &record.workload,
            direction: record.direction,
            client: record.client,
            original_destination: record.original_destination,
            service: record.service.as_ref().map(Qualified),
            protocol: record.protocol,
            protocol_from: record.protocol_from,
            target: record.target.as_ref().map(TargetLine::new),
            verdict: record.verdict,
            reason: record.reason,
            error: record.error.as_deref(),
            requests: record.requests,
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
            connect_us: record.connect.map(micros),
            duration_us: micros(record.duration),
            kernel: record.kernel,
        }
    }
}

#[derive(Serialize)]
struct RequestLine<'a> {
    kind: &'static str,
    id: u64,
    connection: u64,
    #[serde(serialize_with = "time")]
    time: std::time::SystemTime,
    workload: &'a str,
    direction: Direction,
    client: SocketAddr,
    original_destination: SocketAddr,
    service: Option<Qualified<'a>>,
    protocol: Protocol,
    protocol_from: ProtocolFrom,
    method: &'a str,
    path: &'a str,
    host: Option<&'a str>,
    status: Option<u16>,
    route_header: Option<&'a RouteHeader>,
    injected: bool,
    space: Option<&'a str>,
    space_from: SpaceFrom,
    #[serde(serialize_with = "chain")]
    chain: &'a Chain,
    target: Option<TargetLine<'a>>,
    verdict: Verdict,
    reason: &'static str,
    route_reason: Option<Reason>,
    side: Option<ErrorSide>,
    error: Option<&'a str>,
    bytes_in: u64,
    bytes_out: u64,
    connect_us: Option<u64>,
    first_byte_us: Option<u64>,
    duration_us: u64,
    grpc_status: Option<u16>,
    notes: Notes,
}

impl<'a> RequestLine<'a> {
    fn new(record: &'a RequestRecord) -> Self {
        Self {
            kind: "request",
            id: record.id,
            connection: record.connection,
            time: record.time,
            workload: &record.workload,
            direction: record.direction,
            client: record.client,
            original_destination: record.original_destination,
            service: record.service.as_ref().map(Qualified),
            protocol: record.protocol,
            protocol_from: record.protocol_from,
            method: &record.method,
            path: &record.path,
            host: record.host.as_deref(),
            status: record.status,
            route_header: record.route_header.as_ref(),
            injected: record.injected,
            space: record.space.as_deref(),
            space_from: record.space_from,
            chain: &record.chain,
            target: record.target.as_ref().map(TargetLine::new),
            verdict: record.verdict,
            reason: record.reason,
            route_reason: record.route_reason,
            side: record.side,
            error: record.error.as_deref(),
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
            connect_us: record.connect.map(micros),
            first_byte_us: record.first_byte.map(micros),
            duration_us: micros(record.duration),
            grpc_status: record.grpc_status,
            notes: record.notes,
        }
    }
}

#[derive(Serialize)]
struct TargetLine<'a> {
    kind: TargetKind,
    address: SocketAddr,
    service: Option<&'a str>,
    space: Option<&'a str>,
}

impl<'a> TargetLine<'a> {
    fn new(target: &'a TargetRecord) -> Self {
        let service = target.service.as_ref();
        Self {
            kind: target.kind,
            address: target.address,
            service: service.map(|service| &*service.name),
            space: service.map(|service| &*service.space),
        }
    }
}

/// `name.space`.
struct Qualified<'a>(&'a ServiceRef);

impl Serialize for Qualified<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

fn time<S: Serializer>(time: &std::time::SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_micros(*time))
}

fn chain<S: Serializer>(chain: &Chain, serializer: S) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(None)?;
    for step in chain.iter() {
        list.serialize_element(&step)?;
    }
    list.end()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
