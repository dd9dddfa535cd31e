//! Who is compared: the direct connection, the agent, and the proxies that do the same job.
//!
//! The names are those of JSON and tables; [`ground`](crate::ground) knows where each is called.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A way from the client to the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Subject {
    /// Nothing in between.
    Direct,
    /// The agent, by capture.
    Ours,
    /// HAProxy on the client's loopback.
    HaProxy,
    /// nginx on the client's loopback.
    Nginx,
    /// Envoy on the client's loopback.
    Envoy,
}

impl Subject {
    /// All, in the order of a round.
    pub(crate) const ALL: [Subject; 5] =
        [Subject::Direct, Subject::Ours, Subject::HaProxy, Subject::Nginx, Subject::Envoy];
    /// The proxies of others.
    pub(crate) const PEERS: [Subject; 3] = [Subject::HaProxy, Subject::Nginx, Subject::Envoy];

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Subject::Direct => "direct",
            Subject::Ours => "ours",
            Subject::HaProxy => "haproxy",
            Subject::Nginx => "nginx",
            Subject::Envoy => "envoy",
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
