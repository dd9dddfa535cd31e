//! Which pods are captured: a pure function of what the API says of one pod.
//!
//! The Kubernetes source calls [`decide`] for every pod of this node and shows the reason of those that are skipped.

use std::net::IpAddr;

use crate::config::PodUid;

/// What counts of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodFacts<'a> {
    /// `metadata.uid`.
    pub uid: &'a str,
    /// The annotation `kubernetes.io/config.hash` of a mirror pod: the UID by which the kubelet knows a static pod.
    pub config_hash: Option<&'a str>,
    /// Whether its namespace is a space.
    pub in_space: bool,
    /// The annotation that asks for capture or forbids it.
    pub annotation: Option<&'a str>,
    /// `spec.hostNetwork`.
    pub host_network: bool,
    /// `status.phase`.
    pub phase: &'a str,
    /// `status.podIPs`.
    pub addresses: &'a [IpAddr],
}

/// What becomes of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is captured; the kubelet's cgroups have this UID.
    Capture(PodUid),
    /// It keeps its direct traffic.
    Skip(Skip),
}

/// Why a pod is not captured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Skip {
    /// Nobody asked for it.
    #[error("its namespace is no space, and its annotation interceptor.azds.io/capture does not ask for it")]
    Outside,
    /// Its annotation forbids it.
    #[error("its annotation interceptor.azds.io/capture says \"false\"")]
    Forbidden,
    /// Its annotation says neither.
    #[error("its annotation interceptor.azds.io/capture says {0:?}: write \"true\" or \"false\"")]
    Annotation(String),
    /// It shares the node's network namespace.
    #[error(
        "it uses the host's network, in which it cannot be told from other such pods; give it a network of its own"
    )]
    HostNetwork,
    /// All its containers have ended for good.
    #[error("it has ended ({0})")]
    Ended(String),
    /// It has no network yet.
    #[error("it has no address yet")]
    NoAddress,
    /// Its UID cannot be the name of a cgroup.
    #[error("its UID {0:?} is none that a kubelet gives")]
    Uid(String),
}

/// Decides one pod. What is in doubt is skipped: its traffic stays as it is.
pub fn decide(pod: &PodFacts<'_>) -> Verdict {
    match verdict(pod) {
        Ok(uid) => Verdict::Capture(uid),
        Err(skip) => Verdict::Skip(skip),
    }
}

fn verdict(pod: &PodFacts<'_>) -> Result<PodUid, Skip> {
    match (pod.annotation, pod.in_space) {
        (Some("true"), _) | (None, true) => {}
        (Some("false"), _) => return Err(Skip::Forbidden),
        (Some(other), _) => return Err(Skip::Annotation(other.to_owned())),
        (None, false) => return Err(Skip::Outside),
    }
    if pod.host_network {
        return Err(Skip::HostNetwork);
    }
    // Pending counts: init containers run in that phase. So does Unknown: a node that is back goes on with its pods.
    if matches!(pod.phase, "Succeeded" | "Failed") {
        return Err(Skip::Ended(pod.phase.to_owned()));
    }
    if pod.addresses.is_empty() {
        return Err(Skip::NoAddress);
    }
    let uid = pod.config_hash.unwrap_or(pod.uid);
    PodUid::new(uid).ok_or_else(|| Skip::Uid(uid.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const UID: &str = "3f2b1c9a-5d61-4be8-9f5e-0a6c1d2e3f40";
    const HASH: &str = "8b7d1c5e9f0a4b3c2d1e0f9a8b7c6d5e";
    const POD: PodFacts<'static> = PodFacts {
        uid: UID,
        config_hash: None,
        in_space: true,
        annotation: None,
        host_network: false,
        phase: "Running",
        addresses: &[IpAddr::V4(Ipv4Addr::new(10, 244, 0, 2))],
    };

    #[test]
    fn pods_of_spaces_and_those_that_ask_for_it_are_captured() {
        let capture = |uid| Verdict::Capture(PodUid::new(uid).unwrap());
        for pod in [
            POD,
            PodFacts { annotation: Some("true"), ..POD },
            PodFacts { in_space: false, annotation: Some("true"), ..POD },
            PodFacts { phase: "Pending", ..POD },
            PodFacts { phase: "Unknown", ..POD },
        ] {
            assert_eq!(decide(&pod), capture(UID), "{pod:?}");
        }
        assert_eq!(decide(&PodFacts { config_hash: Some(HASH), ..POD }), capture(HASH));
    }

    #[test]
    fn every_other_is_skipped_with_the_reason() {
        for (pod, skip) in [
            (PodFacts { in_space: false, ..POD }, Skip::Outside),
            (PodFacts { annotation: Some("false"), ..POD }, Skip::Forbidden),
            (PodFacts { in_space: false, annotation: Some("false"), ..POD }, Skip::Forbidden),
            (PodFacts { annotation: Some("yes"), ..POD }, Skip::Annotation("yes".to_owned())),
            (PodFacts { annotation: Some("True"), ..POD }, Skip::Annotation("True".to_owned())),
            (PodFacts { host_network: true, ..POD }, Skip::HostNetwork),
            (PodFacts { host_network: true, annotation: Some("true"), ..POD }, Skip::HostNetwork),
            // Nobody asked: that it also uses the host's network is no news.
            (PodFacts { host_network: true, in_space: false, ..POD }, Skip::Outside),
            (PodFacts { phase: "Succeeded", ..POD }, Skip::Ended("Succeeded".to_owned())),
            (PodFacts { phase: "Failed", addresses: &[], ..POD }, Skip::Ended("Failed".to_owned())),
            (PodFacts { addresses: &[], ..POD }, Skip::NoAddress),
            (PodFacts { uid: "../x", ..POD }, Skip::Uid("../x".to_owned())),
        ] {
            assert_eq!(decide(&pod), Verdict::Skip(skip), "{pod:?}");
        }
    }
}
