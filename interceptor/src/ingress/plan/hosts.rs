//! What a host name may look like, by RFC 1123 and the API server's own check.
//!
//! Names of Kubernetes objects are bounded alone; put together with a suffix they may be too long.

/// The bound on a label, RFC 1035 section 2.3.4.
const MAX_LABEL: usize = 63;
/// The bound on a whole name, as the API server has it.
const MAX_HOST: usize = 253;

/// Why a text is no host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum HostFault {
    #[error("the host {host} would have {} characters, {MAX_HOST} are the most; choose a shorter suffix or name", .host.len())]
    TooLong { host: String },
    #[error("{label:?} in the host {host} has {} characters, a host's label has at most {MAX_LABEL}; choose a shorter name", .label.len())]
    LongLabel { host: String, label: String },
    #[error(
        "{label:?} in the host {host} is no DNS label (lower-case letters, digits and '-', not at its ends); choose another name"
    )]
    NoLabel { host: String, label: String },
}

/// Checks a host, which may begin with a wildcard.
pub(super) fn check(host: &str) -> Result<(), HostFault> {
    let exact = host.strip_prefix("*.").unwrap_or(host);
    for label in exact.split('.') {
        if label.len() > MAX_LABEL {
            return Err(HostFault::LongLabel { host: host.to_owned(), label: label.to_owned() });
        }
        if !is_label(label) {
            return Err(HostFault::NoLabel { host: host.to_owned(), label: label.to_owned() });
        }
    }
    if host.len() > MAX_HOST {
        return Err(HostFault::TooLong { host: host.to_owned() });
    }
    Ok(())
}

fn is_label(label: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_bounded_as_dns_bounds_them() {
        let label = |length| "a".repeat(length);
        for good in ["a.b", "*.s.dev.servicea.example.test", "1.x-2.y", &label(63)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let longest = format!("{0}.{0}.{0}.{1}", label(63), label(61));
        assert_eq!((longest.len(), check(&longest)), (253, Ok(())));
        assert!(matches!(check(&format!("a{longest}")), Err(HostFault::LongLabel { .. })));
        assert!(matches!(check(&format!("*.{longest}")), Err(HostFault::TooLong { .. })));
        for bad in ["", "a..b", "-a.b", "a-.b", "A.b", "a_b", "a.*.b", "**.a", "*"] {
            assert!(matches!(check(bad), Err(HostFault::NoLabel { .. })), "{bad}");
        }
    }
}
