//! What routing answers: the target, the space and where it came from, the chain that was tried, the reason.
//!
//! Made by [`decide`](super::decide); read by `proxy` (what to do), `flow` (what to record) and `explain` (what to print).

use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::tree::MAX_DERIVED_LEVELS;
use crate::snapshot::{ServiceRef, Space};

/// Where a request goes and why. It borrows from the snapshot: what outlives a request is copied by who keeps it.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'s> {
    /// Where it goes.
    pub target: Target<'s>,
    /// The space that it belongs to.
    pub space: Option<&'s Space>,
    /// Where that space was read.
    pub space_from: SpaceFrom,
    /// Whether the route header is to be added with that space (rules R1, R2, R4).
    pub inject: bool,
    /// What was found in the spaces of that space's chain, as far as they were tried.
    pub(super) outcomes: [Option<Outcome>; MAX_STEPS],
    /// The service that the original destination stands for.
    pub service: Option<&'s ServiceRef>,
    /// Why.
    pub reason: Reason,
}

impl<'s> Decision<'s> {
    /// The original destination, with nothing known of the space.
    pub(super) fn original(reason: Reason) -> Self {
        Self {
            target: Target::Original,
            space: None,
            space_from: SpaceFrom::None,
            inject: false,
            outcomes: [None; MAX_STEPS],
            service: None,
            reason,
        }
    }

    /// The name of the space that it belongs to.
    pub fn space_name(&self) -> Option<&'s Arc<str>> {
        self.space.map(|space| &space.name)
    }

    /// The spaces that were tried, in order.
    pub fn chain(&self) -> Chain {
        let spaces = self.space.map(|space| Arc::clone(&space.chain_names)).unwrap_or_default();
        Chain { spaces, outcomes: self.outcomes }
    }
}

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'s> {
    /// Where the caller sent it: the original destination, or (inbound) the application of this pod.
    Original,
    /// A ready endpoint that the agent chose.
    Endpoint {
        /// Its address.
        address: SocketAddr,
        /// The service that it belongs to.
        service: &'s ServiceRef,
    },
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
    /// That of the requests with the same trace id that came into the workload.
    Trace,
    /// The one that all requests in the workload had when this one went out.
    Flight,
    /// That of the request that the same thread had read.
    Thread,
    /// Nothing names one.
    None,
}

impl SpaceFrom {
    /// Every place, in order.
    pub const ALL: [Self; 7] =
        [Self::Header, Self::Host, Self::Caller, Self::Trace, Self::Flight, Self::Thread, Self::None];
}

/// The longest chain: a root and three derived levels.
const MAX_STEPS: usize = MAX_DERIVED_LEVELS + 1;

/// The spaces that were tried, in order. It shares their names with the snapshot: a record allocates nothing for it.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    spaces: Arc<[Arc<str>]>,
    outcomes: [Option<Outcome>; MAX_STEPS],
}

impl Chain {
    /// The steps in order.
    pub fn iter(&self) -> impl Iterator<Item = Step> {
        let tried = self.spaces.iter().zip(self.outcomes.iter().flatten());
        tried.map(|(space, outcome)| Step { space: Arc::clone(space), outcome: *outcome })
    }
}

impl FromIterator<Step> for Chain {
    /// Steps beyond the longest chain that a snapshot holds are left out.
    fn from_iter<I: IntoIterator<Item = Step>>(steps: I) -> Self {
        let mut outcomes = [None; MAX_STEPS];
        let filled = steps.into_iter().zip(&mut outcomes).map(|(step, slot)| {
            *slot = Some(step.outcome);
            step.space
        });
        Self { spaces: filled.collect(), outcomes }
    }
}

impl PartialEq for Chain {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Chain {}

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
display_as_json_name!(SpaceFrom {
    Header => "header", Host => "host", Caller => "caller", Trace => "trace", Flight => "flight", Thread => "thread",
    None => "none",
});
