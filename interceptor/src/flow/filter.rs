//! Which records somebody wants to see. Written by the CLI's options, sent as a query string, applied by the hub.
//!
//! Every condition that is given must hold. A condition about something that a kind of record does not have (the status
//! of a connection) leaves records of that kind out.

use std::str::FromStr;

use super::{ConnectionRecord, Protocol, Record, RequestRecord, TargetRecord, Verdict};
use crate::query;
use crate::route::ServiceRef;

/// Which records to show; the default shows all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The workload at whose border it was intercepted.
    pub workload: Option<String>,
    /// The space of the request; of a connection, that of the service it was for or went to.
    pub space: Option<String>,
    /// The service it was for or went to: `name` or `name.space`.
    pub service: Option<String>,
    /// What became of it.
    pub verdict: Option<Verdict>,
    /// The status of the answer.
    pub status: Option<StatusFilter>,
    /// What was spoken.
    pub protocol: Option<Protocol>,
    /// Connections or requests only.
    pub kind: Option<RecordKind>,
}

/// A kind of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// One per connection.
    Connection,
    /// One per HTTP request.
    Request,
}

/// A status or a class of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusFilter {
    /// One status: `503`.
    Exact(u16),
    /// All of a class, by its first digit: `5xx`.
    Class(u16),
}

/// A filter that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The query string itself.
    #[error(transparent)]
    Query(#[from] query::QueryError),
    /// A key that filters nothing.
    #[error("there is no filter {0:?}; there are {KEYS}")]
    UnknownKey(String),
    /// A value that its filter does not know.
    #[error("{value:?} is no {key}; use {expected}")]
    BadValue {
        /// The filter.
        key: &'static str,
        /// What it was given.
        value: String,
        /// What it takes.
        expected: &'static str,
    },
}

const KEYS: &str = "workload, space, service, verdict, status, protocol, kind";
const VERDICTS: &str = "forwarded, redirected, refused or error";
const STATUSES: &str = "a status (503) or a class (5xx)";
const PROTOCOLS: &str = "http1, http2, tls, opaque or unknown";
const KINDS: &str = "connection or request";

impl Filter {
    /// Whether a record is to be shown.
    pub fn matches(&self, record: &Record) -> bool {
        match record {
            Record::Connection(record) => self.matches_connection(record),
            Record::Request(record) => self.matches_request(record),
        }
    }

    fn matches_connection(&self, record: &ConnectionRecord) -> bool {
        self.kind.is_none_or(|kind| kind == RecordKind::Connection)
            && self.status.is_none()
            && self.workload.as_deref().is_none_or(|name| *name == *record.workload)
            && self.verdict.is_none_or(|verdict| verdict == record.verdict)
            && self.protocol.is_none_or(|protocol| protocol == record.protocol)
            && self.matches_service(record.service.as_ref(), record.target.as_ref())
            && self.space.as_deref().is_none_or(|space| {
                services(record.service.as_ref(), record.target.as_ref()).any(|service| *service.space == *space)
            })
    }

    fn matches_request(&self, record: &RequestRecord) -> bool {
        self.kind.is_none_or(|kind| kind == RecordKind::Request)
            && self.workload.as_deref().is_none_or(|name| *name == *record.workload)
            && self.verdict.is_none_or(|verdict| verdict == record.verdict)
            && self.protocol.is_none_or(|protocol| protocol == record.protocol)
            && self.status.is_none_or(|status| record.status.is_some_and(|code| status.holds(code)))
            && self.matches_service(record.service.as_ref(), record.target.as_ref())
            && self.space.as_deref().is_none_or(|space| record.space.as_deref() == Some(space))
    }

    fn matches_service(&self, service: Option<&ServiceRef>, target: Option<&TargetRecord>) -> bool {
        self.service.as_deref().is_none_or(|wanted| services(service, target).any(|service| is_named(service, wanted)))
    }

    /// Reads a filter from a query string.
    ///
    /// # Errors
    /// For an unknown key or value, each with what there is.
    pub fn from_query(query: &str) -> Result<Self, FilterError> {
        let mut filter = Self::default();
        for (key, value) in query::pairs(query)? {
            if !filter.set(&key, &value)? {
                return Err(FilterError::UnknownKey(key));
            }
        }
        Ok(filter)
    }

    /// Sets one condition; false if there is none of that name. An empty value sets nothing.
    ///
    /// # Errors
    /// For a value that the condition does not know.
    pub fn set(&mut self, key: &str, value: &str) -> Result<bool, FilterError> {
        if value.is_empty() {
            return Ok(KEYS.split(", ").any(|known| known == key));
        }
        match key {
            "workload" => self.workload = Some(value.to_owned()),
            "space" => self.space = Some(value.to_owned()),
            "service" => self.service = Some(value.to_owned()),
            "verdict" => self.verdict = Some(word("verdict", value, VERDICTS, Verdict::from_word)?),
            "status" => self.status = Some(value.parse()?),
            "protocol" => self.protocol = Some(word("protocol", value, PROTOCOLS, Protocol::from_word)?),
            "kind" => self.kind = Some(value.parse()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The query string that [`Filter::from_query`] reads back.
    pub fn to_query(&self) -> String {
        let mut query = String::new();
        let mut push =
            |key, value: Option<&str>| value.into_iter().for_each(|value| query::push(&mut query, key, value));
        push("workload", self.workload.as_deref());
        push("space", self.space.as_deref());
        push("service", self.service.as_deref());
        push("verdict", self.verdict.map(Verdict::as_str));
        push("status", self.status.map(|status| status.to_string()).as_deref());
        push("protocol", self.protocol.map(Protocol::as_str));
        push("kind", self.kind.map(RecordKind::as_str));
        query
    }
}

/// The services that a record names: the one it was for, and the one it went to.
fn services<'a>(
    service: Option<&'a ServiceRef>,
    target: Option<&'a TargetRecord>,
) -> impl Iterator<Item = &'a ServiceRef> {
    service.into_iter().chain(target.and_then(|target| target.service.as_ref()))
}

/// Compares without formatting: this runs per record. A name may itself hold dots.
fn is_named(service: &ServiceRef, wanted: &str) -> bool {
    let qualified = || wanted.strip_prefix(&*service.name)?.strip_prefix('.').map(|space| *space == *service.space);
    *service.name == *wanted || qualified() == Some(true)
}

fn word<T>(
    key: &'static str,
    value: &str,
    expected: &'static str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<T, FilterError> {
    read(value).ok_or_else(|| FilterError::BadValue { key, value: value.chars().take(64).collect(), expected })
}

impl RecordKind {
    /// The name that JSON uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Request => "request",
        }
    }
}

impl FromStr for RecordKind {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let all = [Self::Connection, Self::Request];
        word("kind", text, KINDS, |text| all.into_iter().find(|kind| kind.as_str() == text))
    }
}

impl StatusFilter {
    fn holds(self, status: u16) -> bool {
        match self {
            Self::Exact(code) => code == status,
            Self::Class(class) => class == status / 100,
        }
    }
}

impl FromStr for StatusFilter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        word("status", text, STATUSES, |text| match text.as_bytes() {
            [class @ b'1'..=b'9', b'x' | b'X', b'x' | b'X'] => Some(Self::Class(u16::from(class - b'0'))),
            _ => text.parse().ok().filter(|code| (100..=999).contains(code)).map(Self::Exact),
        })
    }
}

impl std::fmt::Display for StatusFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(code) => write!(f, "{code}"),
            Self::Class(class) => write!(f, "{class}xx"),
        }
    }
}

#[cfg(test)]
mod tests;
