//! What a name, a header or a suffix may look like: pure rules on text, no positions, no messages.
//!
//! The readers call these; each rule says why it exists.

/// Kubernetes' bound on names, and DNS's.
const MAX_NAME: usize = 253;

/// A space, service, workload or port name. Upper case is allowed where Kubernetes has none: Consul-like sources and
/// hand-written files have it.
pub(super) fn is_name(text: &str) -> bool {
    let ends = |end: Option<u8>| end.is_some_and(|b| b.is_ascii_alphanumeric());
    text.len() <= MAX_NAME
        && ends(text.bytes().next())
        && ends(text.bytes().last())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// A header name as RFC 9110 has it: one or more `tchar`.
pub(super) fn is_header_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Headers that frame a message, concern one hop only or name its target. Reading a space from them makes no sense, and
/// adding one could desynchronise the two ends.
const FRAMING: [&str; 12] = [
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether a header (lower case) must not carry a space.
pub(super) fn is_framing_header(lower: &str) -> bool {
    FRAMING.contains(&lower)
}

/// A DNS name without dots at its ends, as a host's suffix.
pub(super) fn is_dns_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    text.len() <= MAX_NAME && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let longest = "a".repeat(MAX_NAME);
        for good in ["a", "serviceB", "my-app_v1.2", "123", "1e3", longest.as_str()] {
            assert!(is_name(good), "{good}");
        }
        let too_long = "a".repeat(MAX_NAME + 1);
        for bad in ["", "-a", "a-", ".a", "a b", "ä", "a/b", "a\n", too_long.as_str()] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn headers() {
        assert!(is_header_name("azds-route-as") && is_header_name("X_y.z"));
        assert!(!is_header_name("") && !is_header_name("a b") && !is_header_name("a:b") && !is_header_name("ä"));
        assert!(FRAMING.iter().all(|name| is_header_name(name) && is_framing_header(name)));
        assert!(!is_framing_header("baggage"));
    }

    #[test]
    fn dns_names() {
        assert!(is_dns_name("fedcba09.eus.azds.io") && is_dns_name("localhost"));
        for bad in ["", ".", "a..b", "-a.b", "a-.b", "*.a", "a:80", "a_b", &"a".repeat(64)] {
            assert!(!is_dns_name(bad), "{bad}");
        }
    }
}
