//! Trace ids in the headers that tracers and proxies write them to.
//!
//! The hexadecimal ones are one and the same id whichever header it stands in: a tracer may read W3C's header and write
//! B3's. Others count as text, together with the header's name.

use std::hash::{DefaultHasher, Hasher as _};
use std::num::NonZeroU128;

/// An id that a request shares with what it causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(NonZeroU128);

/// The ids of one request, the first four that it has: three are common (traceparent, b3, x-request-id).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TraceIds([Option<TraceId>; 4]);

impl TraceIds {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0[0].is_none()
    }

    /// Each id once.
    pub fn iter(&self) -> impl Iterator<Item = TraceId> {
        self.0.into_iter().flatten()
    }

    /// Adds one; a fifth is left out.
    pub fn add(&mut self, id: TraceId) {
        if !self.0.contains(&Some(id))
            && let Some(free) = self.0.iter_mut().find(|place| place.is_none())
        {
            *free = Some(id);
        }
    }
}

impl FromIterator<TraceId> for TraceIds {
    fn from_iter<I: IntoIterator<Item = TraceId>>(ids: I) -> Self {
        let mut all = Self::default();
        ids.into_iter().for_each(|id| all.add(id));
        all
    }
}

/// How a header writes an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// `00-<32 hex>-<16 hex>-<2 hex>` (W3C Trace Context).
    Traceparent,
    /// `<16 or 32 hex>-<16 hex>[-…]`, or a sampling decision alone (B3, single header).
    B3,
    /// 1 to 32 hexadecimal digits.
    Hex,
    /// `<1 to 32 hex>:<span>:<parent>:<flags>`, the colons perhaps escaped (Jaeger).
    Jaeger,
    /// `Root=1-<8 hex>-<24 hex>;…` in any order (AWS X-Ray).
    XRay,
    /// `<32 hex>/<span>;o=…` (Google Cloud).
    Cloud,
    /// A decimal 64-bit number (Datadog).
    Decimal,
    /// Anything: x-request-id and headers of one's own.
    Text,
}

/// The longest text that is taken for an id; longer ones are rather a cookie.
const MAX_TEXT: usize = 128;

impl Format {
    /// How the header of that name, lower case, writes it.
    pub(super) fn of(name: &str) -> Self {
        match name {
            "traceparent" => Self::Traceparent,
            "b3" => Self::B3,
            "x-b3-traceid" => Self::Hex,
            "uber-trace-id" => Self::Jaeger,
            "x-amzn-trace-id" => Self::XRay,
            "x-cloud-trace-context" => Self::Cloud,
            "sentry-trace" => Self::B3,
            "x-datadog-trace-id" => Self::Decimal,
            _ => Self::Text,
        }
    }

    /// The id in a value; `None` where there is none, or not one that the format knows.
    pub(super) fn read(self, name: &[u8], value: &[u8]) -> Option<TraceId> {
        let value = value.trim_ascii();
        match self {
            Self::Traceparent => traceparent(value),
            Self::B3 => {
                let mut parts = value.split(|byte| *byte == b'-');
                let id = parts.next().filter(|id| matches!(id.len(), 16 | 32))?;
                parts.next()?;
                hex(id)
            }
            Self::Hex => hex(value),
            Self::Jaeger => {
                let end = value.iter().position(|byte| matches!(byte, b':' | b'%'))?;
                hex(value.get(..end)?)
            }
            Self::XRay => value.split(|byte| *byte == b';').find_map(x_ray),
            Self::Cloud => hex(value.split(|byte| *byte == b'/').next().filter(|id| id.len() == 32)?),
            Self::Decimal => {
                let number: u64 = std::str::from_utf8(value).ok()?.parse().ok()?;
                id_of(number.into()).filter(|_| value.first() != Some(&b'+'))
            }
            Self::Text => text(name, value),
        }
    }
}

fn traceparent(value: &[u8]) -> Option<TraceId> {
    let mut parts = value.splitn(5, |byte| *byte == b'-');
    let (version, id) = (parts.next()?, parts.next()?);
    let (span, flags, more) = (parts.next()?, parts.next()?, parts.next());
    // Version 00 ends here; later ones may go on.
    let known = version.len() == 2 && version != b"ff" && (version != b"00" || more.is_none());
    let lower = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let shaped = id.len() == 32 && span.len() == 16 && flags.len() == 2;
    (known && shaped && lower(version) && lower(id) && lower(span) && lower(flags)).then(|| hex(id))?
}

fn x_ray(part: &[u8]) -> Option<TraceId> {
    let part = part.trim_ascii();
    let root = part.strip_prefix(b"Root=").or_else(|| part.strip_prefix(b"root="))?;
    let mut parts = root.split(|byte| *byte == b'-');
    let (version, time, id) = (parts.next()?, parts.next()?, parts.next()?);
    if version != b"1" || time.len() != 8 || id.len() != 24 || parts.next().is_some() {
        return None;
    }
    // Side by side they are the id that W3C's header has for it.
    id_of((number(time)? << 96) | number(id)?)
}

/// 1 to 32 hexadecimal digits, not all zero.
fn hex(value: &[u8]) -> Option<TraceId> {
    id_of(number(value)?)
}

fn number(digits: &[u8]) -> Option<u128> {
    if !(1..=32).contains(&digits.len()) {
        return None;
    }
    digits.iter().try_fold(0, |number, byte| Some((number << 4) | u128::from(char::from(*byte).to_digit(16)?)))
}

fn id_of(number: u128) -> Option<TraceId> {
    NonZeroU128::new(number).map(TraceId)
}

/// Text has no room in a number: two independent hashes stand for it.
fn text(name: &[u8], value: &[u8]) -> Option<TraceId> {
    if value.is_empty() || value.len() > MAX_TEXT {
        return None;
    }
    let half = |which: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(which);
        hasher.write_usize(name.len());
        name.iter().for_each(|byte| hasher.write_u8(byte.to_ascii_lowercase()));
        hasher.write(value);
        u128::from(hasher.finish())
    };
    id_of((half(0) << 64) | half(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, value: &str) -> Option<u128> {
        Format::of(name).read(name.as_bytes(), value.as_bytes()).map(|TraceId(id)| id.get())
    }

    const ID: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
    const HEX: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn one_id_is_the_same_in_every_header_that_has_it() {
        for (name, value) in [
            ("traceparent", format!("00-{HEX}-00f067aa0ba902b7-01")),
            ("traceparent", format!("cc-{HEX}-00f067aa0ba902b7-01-what-comes-later")),
            ("b3", format!("{HEX}-00f067aa0ba902b7-1")),
            ("b3", format!(" {HEX}-00f067aa0ba902b7 ")),
            ("x-b3-traceid", HEX.to_ascii_uppercase()),
            ("uber-trace-id", format!("{HEX}:1:0:1")),
            ("uber-trace-id", format!("{HEX}%3A1%3A0%3A1")),
            ("x-amzn-trace-id", "Self=1-1-2;Root=1-4bf92f35-77b34da6a3ce929d0e0e4736;Sampled=1".to_owned()),
            ("x-cloud-trace-context", format!("{HEX}/123;o=1")),
            ("x-cloud-trace-context", HEX.to_owned()),
            ("sentry-trace", format!("{HEX}-00f067aa0ba902b7-1")),
        ] {
            assert_eq!(read(name, &value), Some(ID), "{name}: {value}");
        }
    }

    #[test]
    fn short_ids_are_those_of_64_bits() {
        assert_eq!(read("b3", "a3ce929d0e0e4736-00f067aa0ba902b7"), Some(0xa3ce_929d_0e0e_4736));
        assert_eq!(read("x-b3-traceid", "a3ce929d0e0e4736"), Some(0xa3ce_929d_0e0e_4736));
        assert_eq!(read("x-datadog-trace-id", "11803532876627986230"), Some(0xa3ce_929d_0e0e_4736));
        assert_eq!(read("uber-trace-id", "1f:1:0:1"), Some(0x1f));
    }

    #[test]
    fn what_is_no_id_is_none() {
        let zero = "0".repeat(32);
        let upper = HEX.to_ascii_uppercase();
        for (name, value) in [
            ("traceparent", ""),
            ("traceparent", HEX),
            ("traceparent", &format!("ff-{HEX}-00f067aa0ba902b7-01")),
            ("traceparent", &format!("00-{HEX}-00f067aa0ba902b7-01-more")),
            ("traceparent", &format!("00-{HEX}-00f067aa0ba902b7")),
            ("traceparent", &format!("00-{upper}-00f067aa0ba902b7-01")),
            ("traceparent", &format!("00-{zero}-00f067aa0ba902b7-01")),
            ("traceparent", &format!("00-{}-00f067aa0ba902b7-01", &HEX[1..])),
            ("b3", "0"),
            ("b3", "1"),
            ("b3", "abc-def"),
            ("x-b3-traceid", ""),
            ("x-b3-traceid", &format!("{HEX}0")),
            ("x-b3-traceid", "12g4"),
            ("x-b3-traceid", &zero),
            ("uber-trace-id", HEX),
            ("x-amzn-trace-id", "Self=1-67891234-12456789abcdef012345678"),
            ("x-amzn-trace-id", "Root=2-4bf92f35-77b34da6a3ce929d0e0e4736"),
            ("x-amzn-trace-id", "Root=1-4bf92f35-77b34da6a3ce929d0e0e47"),
            ("x-cloud-trace-context", "abc/1"),
            ("x-datadog-trace-id", "0"),
            ("x-datadog-trace-id", "+5"),
            ("x-datadog-trace-id", "18446744073709551616"),
            ("x-request-id", "  "),
            ("x-request-id", &"x".repeat(MAX_TEXT + 1)),
        ] {
            assert_eq!(read(name, value), None, "{name}: {value}");
        }
    }

    #[test]
    fn text_counts_with_its_headers_name_and_as_it_is_written() {
        let id = read("x-request-id", "7f-A");
        assert!(id.is_some() && id == read("X-Request-ID", " 7f-A "));
        assert_ne!(id, read("x-request-id", "7f-a"));
        assert_ne!(id, read("x-correlation-id", "7f-A"));
    }

    #[test]
    fn a_request_has_four_ids_at_most_each_once() {
        let ids: TraceIds = [1, 2, 1, 3, 4, 5].into_iter().filter_map(id_of).collect();
        assert_eq!(ids.iter().collect::<Vec<_>>(), [1, 2, 3, 4].map(|id| id_of(id).unwrap()));
        assert!(!ids.is_empty() && TraceIds::default().is_empty());
    }
}
