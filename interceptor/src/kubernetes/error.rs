//! What can go wrong with a list or a watch, in words that say what to do.
//!
//! Made by [`request`](super::request) and [`watch`](super::watch); shown in `status`, `/metrics` (by [`WatchError::kind`])
//! and the log.

use std::time::Duration;

/// What was asked for, as RBAC names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// `list` or `watch`.
    pub verb: &'static str,
    /// The resource's plural.
    pub resource: &'static str,
    /// Its API group; empty for the core.
    pub group: &'static str,
}

/// Why a list or watch failed.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The API server refused.
    #[error("{verb} {resource}: the API server answered {code} ({message}){hint}", verb = .asked.verb,
            resource = .asked.resource, hint = hint(.asked, *.code))]
    Refused {
        /// What was asked.
        asked: Asked,
        /// The HTTP status.
        code: u16,
        /// What it said.
        message: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// It could not be reached, or the connection broke.
    #[error("{verb} {resource}: {message}; {hint}; retried", verb = .asked.verb, resource = .asked.resource,
            hint = reach_hint(.message))]
    Unreachable {
        /// What was asked.
        asked: Asked,
        /// The error and its causes.
        message: String,
    },
    /// There was no answer in time.
    #[error("{verb} {resource}: no answer within {after:?}; retried", verb = .asked.verb, resource = .asked.resource)]
    Silent {
        /// What was asked.
        asked: Asked,
        /// How long it was waited.
        after: Duration,
    },
    /// The answer is none of an API server.
    #[error("{verb} {resource}: the answer cannot be read ({message}); what answers there may be no API server",
            verb = .asked.verb, resource = .asked.resource)]
    Garbage {
        /// What was asked.
        asked: Asked,
        /// Why.
        message: String,
    },
    /// Watches end as soon as they begin.
    #[error("watch {resource}: the API server (or a proxy before it) ends it at once; retried", resource = .asked.resource)]
    Short {
        /// What was asked.
        asked: Asked,
    },
}

impl WatchError {
    /// What kind of trouble it is, as metrics have it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Refused { code: 401, .. } => "unauthorized",
            Self::Refused { code: 403, .. } => "forbidden",
            Self::Refused { code: 410, .. } => "expired",
            Self::Refused { code: 429, .. } => "throttled",
            Self::Refused { .. } => "refused",
            Self::Unreachable { .. } => "unreachable",
            Self::Silent { .. } => "silent",
            Self::Garbage { .. } => "garbage",
            Self::Short { .. } => "short",
        }
    }

    /// Whether the version that was asked for is too old: only a new list helps.
    pub(super) fn is_expired(&self) -> bool {
        matches!(self, Self::Refused { code: 410, .. })
    }

    /// When the server wants to be asked again.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

fn reach_hint(message: &str) -> &'static str {
    // As rustls words it, whatever is wrong with the certificate.
    if message.contains("invalid peer certificate") {
        "its certificate is not signed by the authority that the kubeconfig (certificate-authority, \
         certificate-authority-data) or the service account (ca.crt) names, has run out, or is for another address"
    } else if message.contains("invalid bearer token") {
        "a header cannot hold that token: is there a line's end in its file? Write it with `printf %s`, not `echo`"
    } else {
        "check that the API server runs and that nothing (a NetworkPolicy, a firewall) stands between"
    }
}

fn hint(asked: &Asked, code: u16) -> String {
    let Asked { verb, resource, group } = asked;
    match code {
        401 => "; its service account's token is missing, expired or of another cluster".to_owned(),
        403 => format!(
            "; let its service account {verb} {resource} (API group \"{group}\") in all namespaces, as the ClusterRole in \
             deploy/kubernetes does"
        ),
        404 => "; this API server has no such resource".to_owned(),
        _ => "; retried".to_owned(),
    }
}
