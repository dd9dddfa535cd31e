//! What routing answers: the target, the space and where it came from, the chain that was tried, the reason.
//!
//! Made by [`decide`](super::decide); read by `proxy` (what to do), `flow` (what to record) and `explain` (what to print).

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::snapshot::Service;

/// Where a request goes and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Where it goes.
    pub target: Target,
    /// The space that it belongs to.
    pub space: Option<Arc<str>>,
    /// Where that space was read.
    pub space_from: SpaceFrom,
    /// Whether the route header is to be added with that space (rules R1, R2, R4).
    pub inject: bool,
    /// The spaces that were tried, in order.
    pub chain: Chain,
    /// The service that the original destination stands for.
    pub service: Option<ServiceRef>,
    /// Why.
    pub reason: Reason,
}

impl Decision {
    /// The original destination, with nothing known of the space.
    pub(super) fn original(reason: Reason) -> Self {
        Self {
            target: Target::Original,
            space: None,
            space_from: SpaceFrom::None,
            inject: false,
            chain: Chain::default(),
            service: None,
            reason,
        }
    }
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Where the caller sent it: the original destination, or (inbound) the application of this pod.
    Original,
    /// A ready endpoint that the agent chose.
    Endpoint {
        /// Its address.
        address: SocketAddr,
        /// The service that it belongs to.
        service: ServiceRef,
    },
}

/// A service by name and space.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServiceRef {
    /// Its name.
    pub name: Arc<str>,
    /// The space that it lives in.
    pub space: Arc<str>,
}

impl ServiceRef {
    pub(super) fn new(service: &Service) -> Self {
        Self { name: Arc::clone(&service.name), space: Arc::clone(&service.space_name) }
    }
}

impl std::fmt::Display for ServiceRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.name, self.space)
    }
}

/// Where the space of a request was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpaceFrom {
    /// The route header.
    Header,
    /// The Host (rule R1).
    Host,
    /// The space that the calling workload lives in (rule R4).
    Caller,
    /// Nothing names one.
    None,
}

/// The longest chain: a root and three derived levels.
const MAX_STEPS: usize = 4;

/// The spaces that were tried, in order. Held in place: a request allocates nothing for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    steps: [Option<Step>; MAX_STEPS],
}

impl Chain {
    /// Adds a step; one beyond the longest chain that a snapshot holds is left out.
    pub(super) fn push(&mut self, step: Step) {
        if let Some(free) = self.steps.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(step);
        }
    }

    /// The steps in order.
    pub fn iter(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().flatten()
    }
}

/// One space of a chain and what was found there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The space.
    pub space: Arc<str>,
    /// What was found.
    pub outcome: Outcome,
}

/// What was found in one space of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The request goes to this space's copy.
    Taken,
    /// The space has no copy of the service.
    NoService,
    /// Its copy lacks the port.
    NoPort,
    /// None of its endpoints is ready.
    NoReadyEndpoint,
}

/// Why a request went where it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The chain led to a copy in another space.
    Routed,
    /// The chain led to the original destination's own space.
    SameSpace,
    /// Neither header nor Host names a space, and the caller's does not count (rule R4).
    NoSpaceNamed,
    /// No such space, or a Host that names a space outside its root's tree (rule R5).
    UnknownSpace,
    /// The space's place in its tree is broken (cycle, unknown parent, too deep).
    FaultySpace,
    /// The space is not in the destination's tree (rule R5).
    OtherTree,
    /// No space of the chain has a ready endpoint of the service.
    NoCopy,
    /// The pod is behind several services and the Host does not tell which is meant.
    AmbiguousService,
    /// The destination has left every space tree since the connection was made.
    NotCaptured,
}

macro_rules! display_as_json_name {
    ($type:ty { $($variant:ident => $text:literal),* $(,)? }) => {
        impl $type {
            /// The name that JSON, metrics and tables use.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

display_as_json_name!(Reason {
    Routed => "routed", SameSpace => "same_space", NoSpaceNamed => "no_space_named", UnknownSpace => "unknown_space",
    FaultySpace => "faulty_space", OtherTree => "other_tree", NoCopy => "no_copy", AmbiguousService => "ambiguous_service",
    NotCaptured => "not_captured",
});
display_as_json_name!(Outcome {
    Taken => "taken", NoService => "no_service", NoPort => "no_port", NoReadyEndpoint => "no_ready_endpoint",
});
display_as_json_name!(SpaceFrom { Header => "header", Host => "host", Caller => "caller", None => "none" });
