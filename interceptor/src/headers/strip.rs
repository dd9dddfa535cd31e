//! What is left of a request's fields without what carries a space (`routing.strip_from_outside`).

use super::baggage;
use super::reader::{Meaning, Reader};
use crate::config::Carrier;

/// What becomes of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stripped {
    /// It stays as it is.
    Kept,
    /// It goes.
    Dropped,
    /// It stays with this value.
    Value(Vec<u8>),
}

impl Reader {
    /// What becomes of a field when nothing that carries a space may stay.
    pub fn strip(&self, name: &[u8], value: &[u8]) -> Stripped {
        for meaning in self.meanings(name) {
            let carries = |key: &[u8]| {
                self.carriers.iter().any(|carrier| match (carrier, meaning) {
                    (Carrier::Baggage(own), Meaning::Baggage) => own.as_bytes() == key,
                    (Carrier::Tracestate(own), Meaning::Tracestate) => own.as_bytes() == key,
                    _ => false,
                })
            };
            match meaning {
                Meaning::Carrier(_) => return Stripped::Dropped,
                Meaning::Baggage | Meaning::Tracestate => return without(value, carries),
                Meaning::Trace(_) => {}
            }
        }
        Stripped::Kept
    }
}

fn without(value: &[u8], carries: impl Fn(&[u8]) -> bool) -> Stripped {
    let ours = |member: &&[u8]| baggage::members(member).next().is_some_and(|(key, _)| carries(key));
    let members = value.split(|byte| *byte == b',');
    if !members.clone().any(|member| ours(&member)) {
        return Stripped::Kept;
    }
    let left: Vec<&[u8]> = members.filter(|member| !ours(member)).collect();
    if left.iter().all(|member| member.trim_ascii().is_empty()) {
        return Stripped::Dropped;
    }
    Stripped::Value(left.join(&b','))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Routing;

    #[test]
    fn only_what_carries_a_space_goes() {
        let carriers = ["azds-route-as", "baggage/sd-routing-key", "tracestate/space"];
        let route_headers = carriers.map(|text| Carrier::parse(text).unwrap()).to_vec();
        let reader = Reader::new(&Routing { route_headers, ..Routing::default() });
        let value = |text: &str| Stripped::Value(text.as_bytes().to_vec());
        for (name, text, left) in [
            ("Azds-Route-As", "a", Stripped::Dropped),
            ("host", "a", Stripped::Kept),
            ("traceparent", "a", Stripped::Kept),
            ("baggage", "a=1,b=2", Stripped::Kept),
            ("baggage", "sd-routing-key=a", Stripped::Dropped),
            ("baggage", "sd-routing-key=a;p, ", Stripped::Dropped),
            ("BAGGAGE", "a=1, sd-routing-key=a;p,b=2", value("a=1,b=2")),
            ("tracestate", "space=a,sd-routing-key=b", value("sd-routing-key=b")),
        ] {
            assert_eq!(reader.strip(name.as_bytes(), text.as_bytes()), left, "{name}: {text}");
        }
    }

    #[test]
    fn members_beyond_the_limits_go_too() {
        let route_headers = vec![Carrier::Baggage("k".to_owned())];
        let reader = Reader::new(&Routing { route_headers, ..Routing::default() });
        let many = format!("{}k=a", "x=y,".repeat(baggage::MAX_MEMBERS));
        assert_eq!(
            reader.strip(b"baggage", many.as_bytes()),
            Stripped::Value(many.as_bytes()[..many.len() - 4].to_vec())
        );
    }
}
