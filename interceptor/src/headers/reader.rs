//! The table of names that mean something, and what it finds in a request.

use super::baggage::{self, Baggage, decode};
use super::trace::{Format, TraceIds};
use crate::config::{Carrier, Routing};

/// What was found in a request's fields. `V` is a part of a field's value: bytes, or where they lie in a buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<V> {
    /// The first configured carrier of a space that is there: its place in the configuration and what it says.
    pub route: Option<(usize, V)>,
    /// Whether another one says something else.
    pub differ: bool,
    /// The ids of the traces that it belongs to.
    pub ids: TraceIds,
    /// Its baggage, where that carries spaces.
    pub baggage: Option<Baggage<V>>,
    /// Members of tracestate that were looked at.
    states: usize,
}

impl<V> Default for Found<V> {
    fn default() -> Self {
        Self { route: None, differ: false, ids: TraceIds::default(), baggage: None, states: 0 }
    }
}

impl<V> Found<V> {
    /// The same with other parts in the place of these.
    pub fn map<W>(self, other: impl Fn(V) -> W) -> Found<W> {
        let Self { route, differ, ids, baggage, states } = self;
        let route = route.map(|(place, value)| (place, other(value)));
        let baggage = baggage.map(|Baggage { last, members, bytes }| Baggage { last: other(last), members, bytes });
        Found { route, differ, ids, baggage, states }
    }

    /// The same without what it says of its space, as if no carrier had been there.
    pub fn without_route(self) -> Self {
        Self { route: None, differ: false, ..self }
    }
}

/// What a field of some name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Its value is what the carrier at that place says.
    Carrier(usize),
    /// Members of it may be carriers.
    Baggage,
    /// The same.
    Tracestate,
    /// It has a trace id.
    Trace(Format),
}

/// Knows the names of fields that mean something, and reads them.
#[derive(Debug, Default)]
pub struct Reader {
    /// In order of precedence.
    pub(super) carriers: Vec<Carrier>,
    /// What is added to a request that lacks all of them.
    pub(super) inject: Vec<Carrier>,
    /// By the length of the name, which tells most fields apart.
    by_length: Vec<Vec<(Box<str>, Meaning)>>,
}

impl Reader {
    /// A reader of what the rules name.
    pub fn new(routing: &Routing) -> Self {
        let carriers = routing.route_headers.clone();
        let mut reader = Self { inject: routing.injected().to_vec(), ..Self::default() };
        for (place, carrier) in carriers.iter().enumerate() {
            match carrier {
                Carrier::Header(name) => reader.know(name, Meaning::Carrier(place)),
                Carrier::Baggage(_) => reader.know("baggage", Meaning::Baggage),
                Carrier::Tracestate(_) => reader.know("tracestate", Meaning::Tracestate),
            }
        }
        for name in &routing.propagate.trace_ids {
            reader.know(name, Meaning::Trace(Format::of(name)));
        }
        Self { carriers, ..reader }
    }

    fn know(&mut self, name: &str, meaning: Meaning) {
        if self.by_length.len() <= name.len() {
            self.by_length.resize(name.len() + 1, Vec::new());
        }
        if let Some(names) = self.by_length.get_mut(name.len())
            && !names.iter().any(|known| *known == (Box::from(name), meaning))
        {
            names.push((name.into(), meaning));
        }
    }

    /// What fields of that name mean. One header may be a carrier and have a trace id.
    pub(super) fn meanings(&self, name: &[u8]) -> impl Iterator<Item = Meaning> {
        let same_length = self.by_length.get(name.len()).map(Vec::as_slice).unwrap_or_default();
        same_length.iter().filter(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name)).map(|(_, meaning)| *meaning)
    }

    /// What all fields of a request say.
    pub fn read<'a>(&self, fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Found<&'a [u8]> {
        let mut found = Found::default();
        fields.into_iter().for_each(|(name, value)| self.see(&mut found, name, value));
        found
    }

    /// Takes one field into account. Names are compared without case.
    #[inline]
    pub fn see<'a>(&self, found: &mut Found<&'a [u8]>, name: &[u8], value: &'a [u8]) {
        for meaning in self.meanings(name) {
            self.take(found, meaning, name, value);
        }
    }

    fn take<'a>(&self, found: &mut Found<&'a [u8]>, meaning: Meaning, name: &[u8], value: &'a [u8]) {
        match meaning {
            Meaning::Carrier(place) => self.add(found, place, value.trim_ascii()),
            Meaning::Trace(format) => format.read(name, value).into_iter().for_each(|id| found.ids.add(id)),
            Meaning::Baggage => {
                let mut all = found.baggage.take().unwrap_or_default();
                let room = baggage::MAX_MEMBERS.saturating_sub(all.members);
                let seen = baggage::whole_members(value, baggage::MAX_BYTES.saturating_sub(all.bytes));
                for (key, value) in baggage::members(seen).take(room) {
                    self.member(found, key, value, |carrier| match carrier {
                        Carrier::Baggage(key) => Some(key),
                        _ => None,
                    });
                }
                // As one value, with a comma between fields.
                all.bytes += value.len() + usize::from(all.members > 0);
                all.members += baggage::count(value);
                all.last = value;
                found.baggage = Some(all);
            }
            Meaning::Tracestate => {
                let room = baggage::MAX_STATES.saturating_sub(found.states);
                for (key, value) in baggage::members(value).take(room) {
                    self.member(found, key, value, |carrier| match carrier {
                        Carrier::Tracestate(key) => Some(key),
                        _ => None,
                    });
                }
                found.states += baggage::count(value);
            }
        }
    }

    fn member<'a>(
        &self,
        found: &mut Found<&'a [u8]>,
        key: &[u8],
        value: &'a [u8],
        own: impl Fn(&Carrier) -> Option<&String>,
    ) {
        let place = self.carriers.iter().position(|carrier| own(carrier).is_some_and(|own| own.as_bytes() == key));
        place.into_iter().for_each(|place| self.add(found, place, value));
    }

    fn add<'a>(&self, found: &mut Found<&'a [u8]>, place: usize, value: &'a [u8]) {
        match found.route {
            None => found.route = Some((place, value)),
            Some((earlier, said)) => {
                found.differ |= self.decoded(earlier, said) != self.decoded(place, value);
                if place < earlier {
                    found.route = Some((place, value));
                }
            }
        }
    }

    /// What the carrier at that place says with a value as it is written.
    pub fn decoded<'a>(&self, place: usize, value: &'a [u8]) -> std::borrow::Cow<'a, [u8]> {
        match self.carriers.get(place) {
            Some(Carrier::Baggage(_)) => decode(value),
            _ => value.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(carriers: &[&str]) -> Reader {
        let route_headers = carriers.iter().map(|text| Carrier::parse(text).unwrap()).collect();
        Reader::new(&Routing { route_headers, ..Routing::default() })
    }

    fn found<'a>(carriers: &[&str], fields: &[(&'a str, &'a str)]) -> Found<&'a [u8]> {
        reader(carriers).read(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    const ALL: [&str; 4] = ["azds-route-as", "baggage/sd-routing-key", "tracestate/space", "x-space"];

    #[test]
    fn the_first_configured_carrier_wins_and_a_differing_one_is_noted() {
        for (fields, route, differ) in [
            (&[("AZDS-Route-As", " a ")][..], Some((0, "a")), false),
            (&[("x-space", "a"), ("azds-route-as", "a")], Some((0, "a")), false),
            (&[("x-space", "b"), ("azds-route-as", "a")], Some((0, "a")), true),
            (&[("azds-route-as", "a"), ("azds-route-as", "b")], Some((0, "a")), true),
            (&[("baggage", "k=1,sd-routing-key=a;p=1")], Some((1, "a")), false),
            (&[("baggage", "k=1"), ("Baggage", "sd-routing-key=a")], Some((1, "a")), false),
            (&[("baggage", "sd-routing-key=a%2db"), ("x-space", "a-b")], Some((1, "a%2db")), false),
            (&[("tracestate", "o=1, space=a"), ("baggage", "sd-routing-key=b")], Some((1, "b")), true),
            (&[("tracestate", "space=a")], Some((2, "a")), false),
            (&[("x-space", "")], Some((3, "")), false),
            (&[("baggage", "SD-Routing-Key=a"), ("tracestate", "sd-routing-key=a"), ("space", "a")], None, false),
        ] {
            let found = found(&ALL, fields);
            let said = found.route.map(|(place, value)| (place, std::str::from_utf8(value).unwrap()));
            assert_eq!((said, found.differ), (route, differ), "{fields:?}");
        }
    }

    #[test]
    fn members_beyond_the_limits_of_the_documents_do_not_count() {
        let fits = format!("{}sd-routing-key=a", "k=v,".repeat(baggage::MAX_MEMBERS - 1));
        assert!(found(&ALL, &[("baggage", &fits)]).route.is_some());
        let one_more = format!("k=v,{fits}");
        assert!(found(&ALL, &[("baggage", &one_more)]).route.is_none());
        assert!(
            found(&ALL, &[("baggage", &fits[..fits.len() - 17]), ("baggage", "k=v,sd-routing-key=a")]).route.is_none()
        );
        let of_len = |len: usize| format!("k={},sd-routing-key=abc", "v".repeat(len - ",sd-routing-key=abc".len() - 2));
        assert!(found(&ALL, &[("baggage", &of_len(baggage::MAX_BYTES))]).route.is_some());
        assert!(found(&ALL, &[("baggage", &of_len(baggage::MAX_BYTES + 1))]).route.is_none(), "not the half of it");
        let states = format!("{}space=a", "k=v,".repeat(baggage::MAX_STATES - 1));
        assert!(found(&ALL, &[("tracestate", &states)]).route.is_some());
        assert!(found(&ALL, &[("tracestate", &format!("k=v,{states}"))]).route.is_none());
    }

    #[test]
    fn trace_ids_of_all_configured_headers_are_found() {
        let fields = [
            ("X-Request-Id", "abc"),
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            ("b3", "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1"),
            ("x-other-id", "abc"),
        ];
        assert_eq!(found(&ALL, &fields).ids.iter().count(), 2, "traceparent and b3 have the same");
        let mut routing = Routing::default();
        routing.propagate.trace_ids = vec!["x-other-id".to_owned()];
        let own = Reader::new(&routing).read(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        assert_eq!(own.ids.iter().count(), 1);
    }

    #[test]
    fn with_nothing_configured_nothing_is_found() {
        let fields = [("azds-route-as", "a"), ("baggage", "a=b"), ("traceparent", "x")];
        let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        assert_eq!(Reader::default().read(fields), Found::default());
    }

    #[test]
    fn baggage_is_counted_over_all_its_fields() {
        let found = found(&ALL, &[("baggage", "a=1,b=2"), ("baggage", " c=3")]);
        assert_eq!(found.baggage, Some(Baggage { last: &b" c=3"[..], members: 3, bytes: 12 }));
        assert_eq!(reader(&["azds-route-as"]).read([(&b"baggage"[..], &b"a=1"[..])]).baggage, None);
    }
}
