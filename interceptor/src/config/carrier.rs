//! What of a request carries a space: a header of its own, or a member of `baggage` or `tracestate`.
//!
//! The file writes a member as `baggage/KEY`: no header name has a slash, so that the two cannot be mixed up. Read by
//! `headers`, which finds carriers in requests.

use std::fmt;

use super::names::is_header_name;

/// What of a request carries a space. Header names are lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// The value of that header.
    Header(String),
    /// The member of that key of the `baggage` header (W3C Baggage).
    Baggage(String),
    /// The member of that key of the `tracestate` header (W3C Trace Context).
    Tracestate(String),
}

impl Carrier {
    /// Reads `NAME`, `baggage/KEY` or `tracestate/KEY`.
    pub fn parse(text: &str) -> Option<Self> {
        let lower = text.to_ascii_lowercase();
        if let Some(at) = lower.strip_prefix("baggage/").map(|key| text.len() - key.len()) {
            let key = text.get(at..)?;
            return is_header_name(key).then(|| Self::Baggage(key.to_owned()));
        }
        if let Some(key) = lower.strip_prefix("tracestate/") {
            return is_tracestate_key(key).then(|| Self::Tracestate(key.to_owned()));
        }
        is_header_name(text).then_some(Self::Header(lower))
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => f.write_str(name),
            Self::Baggage(key) => write!(f, "baggage/{key}"),
            Self::Tracestate(key) => write!(f, "tracestate/{key}"),
        }
    }
}

/// W3C Trace Context, section 3.3.1.3.1: lower case.
fn is_tracestate_key(key: &str) -> bool {
    (1..=256).contains(&key.len())
        && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-*/@".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_carrier_is_a_header_or_a_member_and_is_written_as_it_was_read() {
        for (text, carrier) in [
            ("Azds-Route-As", Carrier::Header("azds-route-as".to_owned())),
            ("Baggage/sd-Routing", Carrier::Baggage("sd-Routing".to_owned())),
            ("tracestate/a@b", Carrier::Tracestate("a@b".to_owned())),
        ] {
            let read = Carrier::parse(text).unwrap();
            assert_eq!(read, carrier);
            assert_eq!(Carrier::parse(&read.to_string()), Some(read));
        }
        for bad in ["", "a b", "a/b", "baggage/", "baggage/a=b", "tracestate/", "tracestate/ü", "a:b"] {
            assert_eq!(Carrier::parse(bad), None, "{bad}");
        }
    }
}
