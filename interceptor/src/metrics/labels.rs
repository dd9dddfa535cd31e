//! Label sets. Closed ones are fetched once and indexed by value; open ones are made of static words, so that counting
//! allocates nothing.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::{Family, MetricConstructor};

use crate::flow::Verdict;
use crate::route::Direction;

/// The labels of `interceptor_connections_total`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ConnectionLabels {
    pub(super) direction: &'static str,
    pub(super) protocol: &'static str,
    pub(super) verdict: &'static str,
    pub(super) reason: &'static str,
}

/// The labels of `interceptor_requests_total`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    pub(super) direction: &'static str,
    pub(super) verdict: &'static str,
    pub(super) reason: &'static str,
    pub(super) status_class: &'static str,
}

/// The class of a status as a label.
pub(super) fn status_class(status: Option<u16>) -> &'static str {
    match status.map(|status| status / 100) {
        None => "none",
        Some(1) => "1xx",
        Some(2) => "2xx",
        Some(3) => "3xx",
        Some(4) => "4xx",
        Some(5) => "5xx",
        Some(_) => "other",
    }
}

/// A closed family's labels: a few static pairs.
pub(super) type Pairs = Vec<(&'static str, &'static str)>;

/// One metric for each direction.
#[derive(Debug)]
pub(super) struct PerDirection<T> {
    outbound: T,
    inbound: T,
}

impl<T> PerDirection<T> {
    pub(super) fn new(make: impl Fn(Direction) -> T) -> Self {
        Self { outbound: make(Direction::Outbound), inbound: make(Direction::Inbound) }
    }

    pub(super) fn of(&self, direction: Direction) -> &T {
        match direction {
            Direction::Outbound => &self.outbound,
            Direction::Inbound => &self.inbound,
        }
    }
}

/// One metric for each verdict.
#[derive(Debug)]
pub(super) struct PerVerdict<T> {
    forwarded: T,
    redirected: T,
    refused: T,
    error: T,
}

impl<T> PerVerdict<T> {
    pub(super) fn new(make: impl Fn(Verdict) -> T) -> Self {
        Self {
            forwarded: make(Verdict::Forwarded),
            redirected: make(Verdict::Redirected),
            refused: make(Verdict::Refused),
            error: make(Verdict::Error),
        }
    }

    pub(super) fn of(&self, verdict: Verdict) -> &T {
        match verdict {
            Verdict::Forwarded => &self.forwarded,
            Verdict::Redirected => &self.redirected,
            Verdict::Refused => &self.refused,
            Verdict::Error => &self.error,
        }
    }
}

/// The metric of a closed family with these labels; it shows from the start, as 0.
pub(super) fn fetch<M: Clone, C: MetricConstructor<M>>(
    family: &Family<Pairs, M, C>,
    labels: &[(&'static str, &'static str)],
) -> M {
    family.get_or_create_owned(&labels.to_vec())
}
