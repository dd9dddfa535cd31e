//! Members of `baggage` (W3C Baggage) and `tracestate` (W3C Trace Context, section 3.3), within those documents' limits.

use std::borrow::Cow;

/// Members of a request's baggage that are looked at, and that it may have with ours (W3C Baggage, section 3.3.2).
pub(super) const MAX_MEMBERS: usize = 64;
/// Bytes of a request's baggage that are looked at, and that it may have with ours (same place).
pub(super) const MAX_BYTES: usize = 8192;
/// Members of a request's tracestate (W3C Trace Context, section 3.3.1.1).
pub(super) const MAX_STATES: usize = 32;

/// What there is of baggage, over all fields of that name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Baggage<V> {
    /// The whole value of the last field, to which a member can be added.
    pub last: V,
    /// Members in all.
    pub members: usize,
    /// Bytes in all, as one value.
    pub bytes: usize,
}

/// The members of a value as key and value, properties left out. What is no member is passed over.
pub(super) fn members(value: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    value.split(|byte| *byte == b',').filter_map(|member| {
        let member = member.split(|byte| *byte == b';').next().unwrap_or_default();
        let equals = member.iter().position(|byte| *byte == b'=')?;
        let (key, value) = member.split_at_checked(equals)?;
        let key = key.trim_ascii();
        (!key.is_empty()).then(|| (key, value.get(1..).unwrap_or_default().trim_ascii()))
    })
}

/// What of a value fits into so many bytes, without the member that does not fit.
pub(super) fn whole_members(value: &[u8], room: usize) -> &[u8] {
    let Some(part) = value.get(..room).filter(|part| part.len() < value.len()) else { return value };
    let end = part.iter().rposition(|byte| *byte == b',').unwrap_or(0);
    part.get(..end).unwrap_or_default()
}

/// How many members a value has, those without `=` included: they take their place, too.
pub(super) fn count(value: &[u8]) -> usize {
    value.split(|byte| *byte == b',').filter(|member| !member.trim_ascii().is_empty()).count()
}

/// A baggage value without its percent-encoding. What is no `%` with two digits stays as it is.
pub fn decode(value: &[u8]) -> Cow<'_, [u8]> {
    if !value.contains(&b'%') {
        return Cow::Borrowed(value);
    }
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [first, after @ ..] = rest {
        if let ([high, low, after @ ..], b'%') = (after, first)
            && let (Some(high), Some(low)) = (char::from(*high).to_digit(16), char::from(*low).to_digit(16))
        {
            decoded.push(u8::try_from(high * 16 + low).unwrap_or_default());
            rest = after;
        } else {
            decoded.push(*first);
            rest = after;
        }
    }
    Cow::Owned(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_have_a_key_a_value_and_properties_that_do_not_count() {
        let value = b"a=1, sd-routing-key = my%2Dspace ;ttl=5;x , broken,=none,, b=c=d ,e=";
        let all: Vec<_> = members(value).collect();
        let expected: [(&[u8], &[u8]); 4] =
            [(b"a", b"1"), (b"sd-routing-key", b"my%2Dspace"), (b"b", b"c=d"), (b"e", b"")];
        assert_eq!(all, expected);
        assert_eq!(count(value), 6, "each that takes a place");
        assert_eq!((members(b"").count(), count(b" , ,")), (0, 0));
    }

    #[test]
    fn percent_encoding_is_undone_once_and_nothing_else_is_touched() {
        for (encoded, decoded) in [
            ("plain", "plain"),
            ("a%2Db%2dc", "a-b-c"),
            ("%41", "A"),
            ("%2525", "%25"),
            ("100%", "100%"),
            ("%4", "%4"),
            ("%zz%41", "%zzA"),
            ("", ""),
        ] {
            assert_eq!(decode(encoded.as_bytes()), decoded.as_bytes(), "{encoded}");
        }
        assert_eq!(*decode(b"%ff"), [0xff]);
    }
}
