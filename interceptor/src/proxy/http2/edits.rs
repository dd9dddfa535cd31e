//! What is changed of a request's fields: those that are added, a member that is merged, or all carriers of a space taken
//! off. Everything else goes out as it came, in its order.

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::flow::{Note, Notes};
use crate::headers::{Found, Injection, Reader, Stripped};

const BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// Something to add.
pub(super) enum Addition {
    /// A field.
    Field(HeaderName, HeaderValue),
    /// A member at the end of the last field `baggage`.
    Member(String),
}

/// What is to be added for a space to a request whose fields say `found`.
pub(super) fn additions(
    reader: &Reader,
    found: &Found<&[u8]>,
    space: Option<&Arc<str>>,
    strips: bool,
    notes: &mut Notes,
) -> Vec<Addition> {
    let mut added = Vec::new();
    for injection in space.into_iter().flat_map(|space| reader.injections(space, found.baggage.as_ref())) {
        let Some(space) = space else { break };
        let field = |name: HeaderName, value: &str| Some(Addition::Field(name, HeaderValue::from_str(value).ok()?));
        added.extend(match injection {
            Injection::Header(name) => HeaderName::from_bytes(name.as_bytes()).ok().and_then(|name| field(name, space)),
            // What is left of stripped baggage may be nothing: a field of its own is as good as a member.
            Injection::Member(key) if strips => field(BAGGAGE, &format!("{key}={space}")),
            Injection::Baggage(key) => field(BAGGAGE, &format!("{key}={space}")),
            Injection::Member(key) => Some(Addition::Member(format!(",{key}={space}"))),
            Injection::NoRoom => {
                notes.add(Note::BaggageFull);
                None
            }
        });
    }
    added
}

/// Adds it.
pub(super) fn add(added: Vec<Addition>, fields: &mut HeaderMap) {
    for addition in added {
        match addition {
            Addition::Field(name, value) => {
                fields.append(name, value);
            }
            Addition::Member(member) => {
                if let http::header::Entry::Occupied(mut entry) = fields.entry(BAGGAGE)
                    && let Some(last) = entry.iter_mut().last()
                    && let Ok(mut value) = HeaderValue::from_bytes(&[last.as_bytes(), member.as_bytes()].concat())
                {
                    value.set_sensitive(last.is_sensitive());
                    *last = value;
                }
            }
        }
    }
}

/// Takes every carrier of a space off.
pub(super) fn strip(reader: &Reader, fields: &mut HeaderMap) {
    let mut kept = HeaderMap::with_capacity(fields.keys_len());
    for (name, value) in &*fields {
        match reader.strip(name.as_str().as_bytes(), value.as_bytes()) {
            Stripped::Dropped => {}
            Stripped::Kept => {
                kept.append(name, value.clone());
            }
            Stripped::Value(left) => {
                if let Ok(value) = HeaderValue::from_bytes(&left) {
                    kept.append(name, value);
                }
            }
        }
    }
    *fields = kept;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Carrier, Routing};

    fn changed(fields: &[(&'static str, &'static str)], strips: bool) -> Vec<(String, String)> {
        let carriers = ["azds-route-as", "baggage/space"].map(|text| Carrier::parse(text).unwrap()).to_vec();
        let reader =
            Reader::new(&Routing { route_headers: carriers.clone(), inject: Some(carriers), ..Routing::default() });
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_static(value));
        }
        let found = reader.read(map.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())));
        let added = additions(&reader, &found, Some(&Arc::from("user")), strips, &mut Notes::default());
        if strips {
            strip(&reader, &mut map);
        }
        add(added, &mut map);
        map.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
    }

    #[test]
    fn fields_and_members_are_added_and_the_rest_stays_as_it_was() {
        let pairs = |fields: &[(&str, &str)]| -> Vec<_> {
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let none = changed(&[("x-a", "1")], false);
        assert_eq!(none, pairs(&[("x-a", "1"), ("azds-route-as", "user"), ("baggage", "space=user")]));
        let merged = changed(&[("baggage", "a=b"), ("x-a", "1"), ("baggage", "c=d")], false);
        let expected = [("baggage", "a=b"), ("baggage", "c=d,space=user"), ("x-a", "1"), ("azds-route-as", "user")];
        assert_eq!(merged, pairs(&expected));
        let stripped = changed(&[("azds-route-as", "evil"), ("baggage", "a=b,space=evil"), ("x-a", "1")], true);
        let expected = [("baggage", "a=b"), ("baggage", "space=user"), ("x-a", "1"), ("azds-route-as", "user")];
        assert_eq!(stripped, pairs(&expected));
    }
}
