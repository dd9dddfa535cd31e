//! Where would this request go, and why? A pure function over the snapshot.
//!
//! The admin socket calls it for `interceptor explain`. It only finds the inputs (which service a host name means, which
//! header counts) and words the outcome; the decision itself is [`route::decide`]'s, the same that routes traffic.

mod resolve;
mod url;
mod words;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub(crate) use resolve::{address_of, by_short_name};
pub use url::UrlError;
pub use words::NotRouted;

use crate::headers::TraceIds;
use crate::propagate::Recalled;
use crate::route::{self, Decision, Direction, Query, SpaceFrom, Step, Target};
use crate::snapshot::Snapshot;
use crate::wanted::Wanted;
use resolve::{Resolved, Unresolved};
use url::Url;

/// What to explain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// The workload at whose border the request is.
    pub workload: String,
    /// The URL that is called; a host alone will do.
    pub url: String,
    /// The method; it does not matter to routing and is only shown.
    #[serde(default)]
    pub method: Option<String>,
    /// The request's headers.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Which way; left out, a call of the workload, unless the host is an ingress host of a service that it is behind.
    #[serde(default)]
    pub direction: Option<Direction>,
}

/// Where a request would go and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The workload at whose border the request is.
    pub workload: String,
    /// Which way it goes.
    pub direction: Direction,
    /// The method, as asked.
    pub method: Option<String>,
    /// The URL, as asked.
    pub url: String,
    /// The Host that the request has.
    pub host: String,
    /// The destination that the host name leads to.
    pub destination: Option<SocketAddr>,
    /// The service behind it, `name.space`.
    pub service: Option<String>,
    /// How the host name was understood, where that is not plain.
    pub note: Option<String>,
    /// Whether the agent sees the request's connection.
    pub intercepted: bool,
    /// The route header that counts.
    pub route_header: Option<Named>,
    /// The space that the request belongs to.
    pub space: Option<String>,
    /// Where that space was read.
    pub space_from: SpaceFrom,
    /// The spaces that were tried.
    pub chain: Vec<Step>,
    /// Where it goes; `None` where the destination is not known.
    pub target: Option<TargetView>,
    /// The header that the agent adds.
    pub inject: Option<Named>,
    /// How the space of such a request is found again, where that could matter.
    #[serde(default)]
    pub propagation: Option<String>,
    /// Why, in a stable word.
    pub reason: String,
    /// Why, and what to do about it, in a sentence.
    pub text: String,
}

/// A header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetView {
    /// `original`, `application` or `endpoint`.
    pub kind: String,
    /// Its address.
    pub address: SocketAddr,
    /// The service's name.
    pub service: Option<String>,
    /// Its space.
    pub space: Option<String>,
}

impl TargetView {
    /// The target of a decision about a request to that destination.
    pub(crate) fn new(decision: &Decision<'_>, direction: Direction, destination: SocketAddr) -> Self {
        let (kind, address, service) = match (&decision.target, direction) {
            (Target::Endpoint { address, service }, _) => ("endpoint", *address, Some(*service)),
            (Target::Original, Direction::Outbound) => ("original", destination, decision.service),
            (Target::Original, Direction::Inbound) => ("application", destination, decision.service),
        };
        Self {
            kind: kind.to_owned(),
            address,
            service: service.map(|service| service.name.as_ref().to_owned()),
            space: service.map(|service| service.space.as_ref().to_owned()),
        }
    }
}

/// Explains one request.
///
/// `recall` asks the workload's memory what it knows of a request with these trace ids that names no space.
///
/// # Errors
/// Where the URL cannot be read. A workload or host that is not known is an answer, not an error.
pub fn explain(
    snapshot: &Snapshot,
    wanted: &Wanted<'_>,
    request: &ExplainRequest,
    recall: impl FnOnce(&TraceIds) -> Recalled,
) -> Result<Explanation, UrlError> {
    let url = Url::parse(&request.url)?;
    let mut answer = blank(request, &url);
    let Some(workload) = snapshot.workload(&request.workload) else {
        return Ok(answer.not_routed(words::unknown_workload(snapshot, request)));
    };
    answer.direction = request.direction.unwrap_or_else(|| resolve::direction(snapshot, workload, &url.host));
    let resolved = match answer.direction {
        Direction::Outbound => resolve::outbound(snapshot, workload, &url),
        Direction::Inbound => resolve::inbound(snapshot, workload, &url),
    };
    let destination = match resolved {
        Ok(Resolved { destination, note }) => {
            answer.destination = Some(destination);
            answer.note = note;
            destination
        }
        Err(Unresolved { reason, text }) => return Ok(answer.not_routed((reason, text))),
    };
    let Some(behind) = snapshot.destination(destination) else {
        return Ok(answer.not_routed((NotRouted::OutsideSpaceTrees, words::outside(destination))));
    };
    answer.intercepted = match answer.direction {
        Direction::Outbound => wanted.outbound(workload, &behind),
        Direction::Inbound => wanted.inbound(&behind),
    };
    let fields = request.headers.iter().map(|(name, value)| (name.trim().as_bytes(), value.trim().as_bytes()));
    let found = snapshot.reader().read(fields);
    let carried = found.route.map(|(place, value)| (place, snapshot.reader().decoded(place, value)));
    let recalled = match answer.direction {
        Direction::Outbound if carried.is_none() => recall(&found.ids),
        _ => Recalled::Unknown,
    };
    let decision = route::decide(
        snapshot,
        &Query {
            direction: answer.direction,
            workload: &workload.name,
            destination,
            header: carried.as_ref().map(|(_, value)| value.as_ref()),
            host: Some(answer.host.as_bytes()),
            recalled: recalled.space(),
            turn: 0,
        },
    );
    answer.service = decision.service.map(ToString::to_string);
    let passed = if !answer.intercepted {
        let service = answer.service.as_deref();
        Some((NotRouted::OnlyCopy, words::only_copy(answer.direction, wanted.calls_to(&behind), service)))
    } else if url.tls {
        Some((NotRouted::NotHttp, words::not_http(answer.direction)))
    } else {
        None
    };
    if let Some(why) = passed {
        let mut kept = decision;
        kept.target = Target::Original;
        answer.target = Some(TargetView::new(&kept, answer.direction, destination));
        return Ok(answer.not_routed(why));
    }
    answer.target = Some(TargetView::new(&decision, answer.direction, destination));
    let said = carried.as_ref().map(|(_, value)| String::from_utf8_lossy(value).into_owned());
    answer.text = words::decided(snapshot, &decision, &answer.host, said.as_deref());
    let name = carried.as_ref().and_then(|(place, _)| snapshot.route_header(*place)).map(ToString::to_string);
    answer.route_header = name.zip(said).map(|(name, value)| Named { name, value });
    answer.propagation = words::propagation(snapshot.propagate_mode(workload), &found, &recalled, answer.direction);
    answer.inject = injected(snapshot, &decision);
    answer.space = decision.space_name().map(|name| name.as_ref().to_owned());
    answer.space_from = decision.space_from;
    answer.chain = decision.chain().iter().collect();
    answer.reason = decision.reason.as_str().to_owned();
    Ok(answer)
}

/// An answer that says nothing yet but what was asked.
fn blank(request: &ExplainRequest, url: &Url) -> Explanation {
    Explanation {
        workload: request.workload.clone(),
        direction: request.direction.unwrap_or(Direction::Outbound),
        method: request.method.clone(),
        url: request.url.clone(),
        host: header(request, "host").unwrap_or(&url.authority).to_owned(),
        destination: None,
        service: None,
        note: None,
        intercepted: false,
        route_header: None,
        space: None,
        space_from: SpaceFrom::None,
        chain: Vec::new(),
        target: None,
        inject: None,
        propagation: None,
        reason: String::new(),
        text: String::new(),
    }
}

impl Explanation {
    fn not_routed(self, (reason, text): (NotRouted, String)) -> Self {
        Self { reason: reason.as_str().to_owned(), text, ..self }
    }
}

/// What the agent adds.
fn injected(snapshot: &Snapshot, decision: &Decision<'_>) -> Option<Named> {
    let all = snapshot.routing.injected().iter().filter(|_| decision.inject).map(ToString::to_string);
    let name = all.collect::<Vec<_>>().join(", ");
    (!name.is_empty()).then_some(Named { name, value: decision.space_name()?.as_ref().to_owned() })
}

/// The first value of that name.
fn header<'a>(request: &'a ExplainRequest, name: &str) -> Option<&'a str> {
    let found = request.headers.iter().find(|(key, _)| key.trim().eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests;
