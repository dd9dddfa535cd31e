//! One plain sentence for every outcome: what happens, and what to do if something else was meant.

use std::net::SocketAddr;

use super::ExplainRequest;
use crate::config::{Carrier, PropagateMode};
use crate::headers::Found;
use crate::propagate::Recalled;
use crate::route::{Decision, Direction, Reason, SpaceFrom, Target};
use crate::snapshot::{Service, Snapshot, Workload};
use crate::wanted::Calls;

/// Why a request is not routed at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotRouted {
    /// The workload is not captured on this node.
    WorkloadNotCaptured,
    /// The host name is no service of a space tree.
    UnknownHost,
    /// The service has no such port, or no address.
    NoSuchPort,
    /// The destination is in no space tree (rule R11).
    OutsideSpaceTrees,
    /// It has only one copy in its tree, so that it is not captured (`capture.services: overridden`).
    OnlyCopy,
    /// It is not HTTP to the agent (rule R8).
    NotHttp,
}

impl NotRouted {
    /// The name that JSON uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WorkloadNotCaptured => "workload_not_captured",
            Self::UnknownHost => "unknown_host",
            Self::NoSuchPort => "no_such_port",
            Self::OutsideSpaceTrees => "outside_space_trees",
            Self::OnlyCopy => "only_copy",
            Self::NotHttp => "not_http",
        }
    }
}

/// Names that a sentence lists.
const MAX_NAMED: usize = 8;

pub(super) fn unknown_workload(snapshot: &Snapshot, request: &ExplainRequest) -> (NotRouted, String) {
    let mut names: Vec<&str> = snapshot.workloads().map(|workload| &*workload.name).collect();
    names.sort_unstable();
    let known = match names.len() {
        0 => "this node has none".to_owned(),
        count if count > MAX_NAMED => format!("this node has {count}; see `interceptor workloads`"),
        _ => format!("this node has {}", names.join(", ")),
    };
    let text = format!("No captured workload is named {:?}, so its traffic is left alone; {known}.", request.workload);
    (NotRouted::WorkloadNotCaptured, text)
}

pub(super) fn unknown_host(workload: &Workload, host: &str) -> String {
    let short = !host.contains('.');
    let hint = match (&workload.space_name, short) {
        (None, true) => "the workload lives in no space, so write the service as name.space",
        (Some(_), true) => "neither the workload's space nor its parents have it",
        _ => "see `interceptor services` for those that there are",
    };
    format!("{host:?} is no service of a space tree, so the connection is left alone; {hint}.")
}

pub(super) fn no_such_port(service: &Service, port: u16) -> String {
    let name = &service.id;
    if service.addresses.is_empty() {
        return format!(
            "{name} is headless and none of its ready endpoints listens on port {port}; see `interceptor services -o wide`."
        );
    }
    let ports = service.ports.iter().map(|port| port.port.to_string()).collect::<Vec<_>>().join(", ");
    format!("{name} has no port {port}, so the connection is left alone; it has {ports}.")
}

pub(super) fn behind_no_service(workload: &Workload) -> String {
    format!("No service of a space tree has {} as an endpoint, so connections to it are left alone.", workload.name)
}

pub(super) fn outside(destination: SocketAddr) -> String {
    format!(
        "{destination} belongs to no service of a space tree, so the connection never leaves the kernel's own path."
    )
}

pub(super) fn only_copy(direction: Direction, calls: Calls, service: Option<&str>) -> String {
    let service = service.unwrap_or("the service");
    let why = match (direction, calls) {
        (Direction::Outbound, Calls::OutsideRoots) => {
            format!("{service} has only one copy in its tree and the workload lives in a root space")
        }
        (Direction::Inbound, Calls::All | Calls::OutsideRoots) => {
            format!("{service} has only one copy in its tree and there are no routing.ingress_suffixes")
        }
        _ => format!("No service in the tree of {service} has a second copy"),
    };
    format!(
        "{} (capture.services is overridden): the connection never leaves the kernel's own path, as routing could change \
         nothing.",
        why
    )
}

pub(super) fn not_http(direction: Direction) -> String {
    let to = match direction {
        Direction::Outbound => "its original destination",
        Direction::Inbound => "the application",
    };
    format!(
        "TLS passes byte for byte to {to}: the agent does not see the request inside it. Call it by http to have it routed."
    )
}

/// The sentence for a decision of routing.
pub(super) fn decided(snapshot: &Snapshot, decision: &Decision<'_>, host: &str, header: Option<&str>) -> String {
    let space = decision.space_name().map(|name| &**name).unwrap_or_default();
    let service = decision.service.map_or_else(|| "the destination".to_owned(), ToString::to_string);
    let named = match (decision.space_from, header) {
        (SpaceFrom::Header, Some(value)) => format!("the route header's {value:?}"),
        (SpaceFrom::Host, _) => format!("the space that the host {host} names"),
        _ => format!("space {space:?}"),
    };
    match decision.reason {
        Reason::Routed => match &decision.target {
            Target::Endpoint { address, service } => {
                format!(
                    "{service} is the first copy on the chain of space {space}; one of its ready endpoints ({address}) is used."
                )
            }
            Target::Original => format!("{service} is the first copy on the chain of space {space}."),
        },
        Reason::SameSpace => match &decision.target {
            Target::Endpoint { address, .. } => {
                format!(
                    "{service} is the first copy on the chain of space {space}, and where the caller sends it already; one of its ready endpoints ({address}) is used."
                )
            }
            Target::Original => {
                format!(
                    "{service} is the first copy on the chain of space {space}, and where the caller sends it already."
                )
            }
        },
        Reason::NoSpaceNamed => {
            let how = match snapshot.routing.route_headers.first() {
                Some(Carrier::Header(name)) => format!("`{name}: <space>`"),
                Some(Carrier::Baggage(key)) => format!("`baggage: {key}=<space>`"),
                Some(Carrier::Tracestate(key)) => format!("`tracestate: {key}=<space>`"),
                None => String::new(),
            };
            format!(
                "The request names no space and none is assumed, so it stays at {service}. Send {how} to choose one."
            )
        }
        Reason::UnknownSpace => {
            format!("There is no such space as {named}, so the request stays at {service}. See `interceptor spaces`.")
        }
        Reason::FaultySpace => {
            format!(
                "The place of {named} in its tree is broken, so the request stays at {service}. See `interceptor spaces` for the fault."
            )
        }
        Reason::OtherTree => {
            format!("{} is not in the tree of {service}, so the request stays there.", capitalised(&named))
        }
        Reason::NoCopy => {
            format!(
                "No space of the chain has a ready endpoint, so the request goes to its original destination. Check the pods behind {service}."
            )
        }
        Reason::AmbiguousService => {
            "The pod is behind several services and the Host does not tell which is meant. Call it by a service's name."
                .to_owned()
        }
        Reason::NotCaptured => "The destination belongs to no space tree.".to_owned(),
    }
}

/// How the space of a request that names none is found again.
pub(super) fn propagation(
    mode: PropagateMode,
    found: &Found<&[u8]>,
    recalled: &Recalled,
    direction: Direction,
) -> Option<String> {
    if direction == Direction::Inbound || found.route.is_some() {
        return None;
    }
    let what = match recalled {
        Recalled::Space(_, SpaceFrom::Trace) => "a request with the same trace id is in the workload, or was just now",
        Recalled::Space(..) => "all requests that are in the workload now have one space",
        Recalled::Ambiguous(SpaceFrom::Trace) => "requests of different spaces came with its trace id: not used",
        Recalled::Ambiguous(_) => "requests of different spaces are in the workload now: not used",
        Recalled::Unknown if mode == PropagateMode::Off => "off for this workload",
        Recalled::Unknown if found.ids.is_empty() && mode == PropagateMode::Trace => {
            "by trace id; the request has none, so only what the application passes on counts"
        }
        Recalled::Unknown if mode == PropagateMode::Thread => {
            "by the thread that sends it, which only the request itself shows; see its flow record"
        }
        Recalled::Unknown if found.ids.is_empty() => "nothing that is in the workload now tells its space",
        Recalled::Unknown => "no request with its trace id and a space is in the workload now, or was just now",
    };
    Some(format!("{}: {what}", mode.as_str()))
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
