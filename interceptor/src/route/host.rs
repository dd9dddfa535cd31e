//! Rule R1: `[<space>.s.]<root>.<service>.<suffix>`, compared without case and port.
//!
//! Pure slicing of the Host's bytes; bytes that are no host name simply match nothing.

use crate::snapshot::{Snapshot, SpaceId};

/// The labels of an ingress host name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Labels<'a> {
    /// The derived space, if the host names one.
    pub(crate) space: Option<&'a [u8]>,
    /// The root space.
    pub(crate) root: &'a [u8],
    /// The service.
    pub(crate) service: &'a [u8],
}

/// Takes an ingress host name apart; `None` for any other host.
pub(crate) fn parse<'a>(host: &'a [u8], suffixes: &[String]) -> Option<Labels<'a>> {
    let host = without_port(host);
    let rest = suffixes.iter().find_map(|suffix| strip_suffix(host, suffix.as_bytes()))?;
    let mut labels = rest.split(|byte| *byte == b'.');
    let all = [labels.next(), labels.next(), labels.next(), labels.next(), labels.next()];
    let labels = match all {
        [Some(root), Some(service), None, ..] if !service.is_empty() => Labels { space: None, root, service },
        [Some(space), Some(s), Some(root), Some(service), None]
            if s.eq_ignore_ascii_case(b"s") && !service.is_empty() && !space.is_empty() =>
        {
            Labels { space: Some(space), root, service }
        }
        _ => return None,
    };
    (!labels.root.is_empty()).then_some(labels)
}

/// The space of that name, compared without case.
pub(crate) fn find_space(snapshot: &Snapshot, label: &[u8]) -> Option<SpaceId> {
    let name = std::str::from_utf8(label).ok()?;
    // Namespaces are lower case; the slow way is for static configurations with other names.
    snapshot.space_named(name).or_else(|| {
        let same = snapshot.spaces().find(|space| space.name.eq_ignore_ascii_case(name))?;
        snapshot.space_named(&same.name)
    })
}

/// The first label of a cluster-internal host name: the service's name.
pub(super) fn service_label(host: &[u8]) -> Option<&[u8]> {
    without_port(host).split(|byte| *byte == b'.').next().filter(|label| !label.is_empty())
}

fn without_port(host: &[u8]) -> &[u8] {
    let end = match host.iter().rposition(|byte| *byte == b':') {
        Some(colon) if host[colon + 1..].iter().all(u8::is_ascii_digit) && !host[..colon].contains(&b':') => colon,
        _ => host.len(),
    };
    let host = &host[..end];
    host.strip_suffix(b".").unwrap_or(host)
}

/// What stands before `.suffix`.
fn strip_suffix<'a>(host: &'a [u8], suffix: &[u8]) -> Option<&'a [u8]> {
    let at = host.len().checked_sub(suffix.len())?;
    if !host[at..].eq_ignore_ascii_case(suffix) {
        return None;
    }
    host[..at].strip_suffix(b".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(host: &str) -> Option<(Option<String>, String)> {
        let suffixes = vec!["fedcba09.eus.azds.io".to_owned()];
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        parse(host.as_bytes(), &suffixes).map(|l| (l.space.map(text), text(l.root)))
    }

    #[test]
    fn r1_a_host_of_a_space_or_of_a_root_is_taken_apart() {
        let derived = Some((Some("azureuser".to_owned()), "default".to_owned()));
        for host in [
            "azureuser.s.default.serviceA.fedcba09.eus.azds.io",
            "azureuser.S.default.SERVICEA.FEDCBA09.EUS.azds.io",
            "azureuser.s.default.serviceA.fedcba09.eus.azds.io:8080",
            "azureuser.s.default.serviceA.fedcba09.eus.azds.io.",
        ] {
            assert_eq!(labels(host), derived, "{host}");
        }
        assert_eq!(labels("default.serviceA.fedcba09.eus.azds.io"), Some((None, "default".to_owned())));
    }

    #[test]
    fn r1_any_other_host_is_left_alone() {
        for host in [
            "",
            ".",
            ":",
            ":80",
            "serviceB",
            "serviceB.default.svc.cluster.local",
            "fedcba09.eus.azds.io",
            ".fedcba09.eus.azds.io",
            "default.fedcba09.eus.azds.io",
            "..fedcba09.eus.azds.io",
            "a.b.default.serviceA.fedcba09.eus.azds.io",
            ".s.default.serviceA.fedcba09.eus.azds.io",
            "azureuser.s..serviceA.fedcba09.eus.azds.io",
            "azureuser.s.default..fedcba09.eus.azds.io",
            "x.azureuser.s.default.serviceA.fedcba09.eus.azds.io",
            "default.serviceAfedcba09.eus.azds.io",
            "default.serviceA.fedcba09.eus.azds.io.evil.example",
            "[fd00::1]:80",
            "default.serviceA.fedcba09.eus.azds.io:8x",
        ] {
            assert_eq!(labels(host), None, "{host}");
        }
    }

    #[test]
    fn the_service_is_the_first_label_without_port() {
        for (host, label) in
            [("serviceB", "serviceB"), ("serviceB:80", "serviceB"), ("serviceB.default.svc:80", "serviceB")]
        {
            assert_eq!(service_label(host.as_bytes()), Some(label.as_bytes()));
        }
        assert_eq!(service_label(b""), None);
    }
}
