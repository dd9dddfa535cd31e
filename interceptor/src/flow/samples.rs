//! Records for unit tests: the flows of the worked example. Used by the tests of this module, metrics, admin and CLI.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{
    ConnectionRecord, KernelFacts, Notes, Protocol, ProtocolFrom, Record, RequestRecord, RouteHeader, TargetKind,
    TargetRecord, Verdict,
};
use crate::route::{Direction, Outcome, Reason, ServiceRef, SpaceFrom, Step};

/// 2026-03-14T15:09:26.535897Z.
pub(crate) fn time() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(1_773_500_966_535_897)
}

pub(crate) fn service(name: &str, space: &str) -> ServiceRef {
    ServiceRef::new(Arc::from(name), Arc::from(space))
}

/// An opaque connection to Redis that went where the caller sent it.
pub(crate) fn connection_record(id: u64) -> ConnectionRecord {
    ConnectionRecord {
        id,
        time: time(),
        workload: Arc::from("serviceA-azureuser"),
        direction: Direction::Outbound,
        client: "10.1.0.3:40000".parse().unwrap(),
        original_destination: "10.96.0.9:6379".parse().unwrap(),
        service: Some(service("redis", "default")),
        protocol: Protocol::Opaque,
        protocol_from: ProtocolFrom::ServerFirst,
        target: Some(TargetRecord {
            kind: TargetKind::Original,
            address: "10.96.0.9:6379".parse().unwrap(),
            service: Some(service("redis", "default")),
        }),
        requests: 0,
        bytes_in: 14,
        bytes_out: 7,
        connect: Some(Duration::from_micros(210)),
        duration: Duration::from_micros(15_000),
        verdict: Verdict::Forwarded,
        reason: "end_of_stream",
        error: None,
        kernel: Some(KernelFacts { srtt_us: 40, retransmits: 0, bytes_sent: 14, bytes_received: 7, open_us: None }),
    }
}

/// The request of step 4 of the worked example: serviceA.azureuser calls serviceB.
pub(crate) fn request_record(id: u64) -> RequestRecord {
    let steps = [("azureuser", Outcome::NoService), ("default", Outcome::Taken)];
    let step = |(space, outcome)| Step { space: Arc::from(space), outcome };
    RequestRecord {
        id,
        connection: 7,
        time: time(),
        workload: Arc::from("serviceA-azureuser"),
        direction: Direction::Outbound,
        client: "10.1.0.3:40000".parse().unwrap(),
        original_destination: "10.96.0.2:80".parse().unwrap(),
        service: Some(service("serviceB", "default")),
        protocol: Protocol::Http1,
        protocol_from: ProtocolFrom::ClientBytes,
        method: "GET".into(),
        path: "/".into(),
        host: Some("serviceB".into()),
        route_header: Some(RouteHeader { name: Arc::from("azds-route-as"), value: "azureuser".into() }),
        injected: false,
        space: Some(Arc::from("azureuser")),
        space_from: SpaceFrom::Header,
        chain: steps.map(step).into_iter().collect(),
        route_reason: Some(Reason::SameSpace),
        target: Some(TargetRecord {
            kind: TargetKind::Original,
            address: "10.96.0.2:80".parse().unwrap(),
            service: Some(service("serviceB", "default")),
        }),
        status: Some(200),
        grpc_status: None,
        bytes_in: 120,
        bytes_out: 310,
        connect: Some(Duration::from_micros(180)),
        first_byte: Some(Duration::from_micros(900)),
        duration: Duration::from_micros(1_234),
        verdict: Verdict::Forwarded,
        reason: "same_space",
        side: None,
        error: None,
        notes: Notes::default(),
    }
}

pub(crate) fn connection(id: u64) -> Record {
    Record::Connection(connection_record(id))
}

pub(crate) fn request(id: u64) -> Record {
    Record::Request(request_record(id))
}

pub(crate) fn id(record: &Record) -> u64 {
    match record {
        Record::Connection(record) => record.id,
        Record::Request(record) => record.id,
    }
}
