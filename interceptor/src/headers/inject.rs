//! What is added to a request whose space was decided and which no carrier names (rules R1, R2, R4).
//!
//! Nothing that is there is changed, with one exception: a member can be added at the end of a `baggage` value.

use super::baggage::{Baggage, MAX_BYTES, MAX_MEMBERS};
use super::reader::Reader;
use crate::config::Carrier;

/// One thing to add to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Injection<'r> {
    /// A field of that name with the space as its value.
    Header(&'r str),
    /// A field `baggage` with a member of that key.
    Baggage(&'r str),
    /// `,KEY=SPACE` at the end of the value of the last `baggage` field.
    Member(&'r str),
    /// Nothing: with that member the baggage would be larger than it may be.
    NoRoom,
}

impl Reader {
    /// What is added to a request with that baggage, for a space.
    pub fn injections<V: AsRef<[u8]>>(
        &self,
        space: &str,
        baggage: Option<&Baggage<V>>,
    ) -> impl Iterator<Item = Injection<'_>> {
        let (mut members, mut bytes) = baggage.map_or((0, 0), |baggage| (baggage.members, baggage.bytes));
        let value_len = space.len();
        // A member is added to a value that has some; after an empty one a comma would stand for nothing.
        let merges = baggage.is_some_and(|baggage| !baggage.last.as_ref().trim_ascii().is_empty());
        self.inject.iter().filter_map(move |carrier| match carrier {
            Carrier::Header(name) => Some(Injection::Header(name)),
            Carrier::Baggage(key) => {
                let with = bytes + usize::from(members > 0) + key.len() + 1 + value_len;
                if members >= MAX_MEMBERS || with > MAX_BYTES {
                    return Some(Injection::NoRoom);
                }
                (members, bytes) = (members + 1, with);
                Some(if merges { Injection::Member(key) } else { Injection::Baggage(key) })
            }
            // A list of tracing systems' own states: nothing of ours can be told apart from theirs.
            Carrier::Tracestate(_) => None,
        })
    }

    /// Whether injecting may add to a value that is there.
    pub fn merges_baggage(&self) -> bool {
        self.inject.iter().any(|carrier| matches!(carrier, Carrier::Baggage(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Routing;

    fn reader() -> Reader {
        let inject = ["azds-route-as", "baggage/sd-routing-key"].map(|text| Carrier::parse(text).unwrap()).to_vec();
        Reader::new(&Routing { route_headers: inject.clone(), inject: Some(inject), ..Routing::default() })
    }

    fn injected<'r>(reader: &'r Reader, baggage: &[&str]) -> Vec<Injection<'r>> {
        let found = reader.read(baggage.iter().map(|value| (&b"baggage"[..], value.as_bytes())));
        reader.injections("user", found.baggage.as_ref()).collect()
    }

    #[test]
    fn a_member_is_merged_where_there_is_baggage_and_a_field_is_added_where_there_is_none() {
        let reader = reader();
        let with = |last| vec![Injection::Header("azds-route-as"), last];
        assert_eq!(injected(&reader, &[]), with(Injection::Baggage("sd-routing-key")));
        assert_eq!(injected(&reader, &["a=b"]), with(Injection::Member("sd-routing-key")));
        assert_eq!(injected(&reader, &["a=b", " "]), with(Injection::Baggage("sd-routing-key")));
    }

    #[test]
    fn baggage_never_grows_beyond_its_limits() {
        let reader = reader();
        let last = |value: &str| injected(&reader, &[value]).pop().unwrap();
        let members = |count: usize| vec!["k=v"; count].join(",");
        assert_eq!(last(&members(MAX_MEMBERS - 1)), Injection::Member("sd-routing-key"));
        assert_eq!(last(&members(MAX_MEMBERS)), Injection::NoRoom);
        let room = MAX_BYTES - ",sd-routing-key=user".len();
        let of_len = |len: usize| format!("k={}", "v".repeat(len - 2));
        assert_eq!(last(&of_len(room)), Injection::Member("sd-routing-key"));
        assert_eq!(last(&of_len(room + 1)), Injection::NoRoom);
    }

    #[test]
    fn left_out_the_first_header_is_injected_and_never_a_tracestate() {
        let rules = |list: &[&str]| {
            let route_headers = list.iter().map(|text| Carrier::parse(text).unwrap()).collect();
            Reader::new(&Routing { route_headers, ..Routing::default() })
        };
        let of = |reader: &Reader| {
            reader.injections::<&[u8]>("user", None).map(|one| format!("{one:?}")).collect::<Vec<_>>()
        };
        assert_eq!(of(&rules(&["x-a", "x-b"])), ["Header(\"x-a\")"]);
        assert_eq!(of(&rules(&["tracestate/s", "baggage/k"])), ["Baggage(\"k\")"]);
        assert!(of(&rules(&["tracestate/s"])).is_empty());
    }
}
