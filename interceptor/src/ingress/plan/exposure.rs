//! Whether a service is to be exposed, and by which port.
//!
//! The nearest word counts: the service's own annotation, then its namespace's, then those of the same service and
//! namespace one level up, to the root. So a copy that says nothing is exposed as what it is a copy of.

use std::collections::HashMap;

use crate::ingress::facts::{Namespace, Port, Service, ServiceKind};
use crate::ingress::problem::{Object, Problem, Reason};
use crate::kubernetes::names::{INGRESS, INGRESS_PORT};

/// What the annotations say of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exposure {
    /// Nothing, or that it is not to be exposed.
    Hidden,
    /// That every service of a namespace is.
    ByNamespace,
    /// That this service is.
    ByService,
}

impl Exposure {
    /// Looks from the service's own space to the root.
    pub(super) fn of(
        service: &Service,
        chain: &[&Namespace],
        copies: &HashMap<(&str, &str), &Service>,
    ) -> Result<Self, Problem> {
        for namespace in chain {
            let copy = copies.get(&(&*namespace.name, &*service.name));
            if let Some(text) = copy.and_then(|copy| copy.ingress.as_deref()) {
                let about = || Object::service(&namespace.name, &service.name);
                return Ok(if flag(text, about)? { Self::ByService } else { Self::Hidden });
            }
            if let Some(text) = namespace.ingress.as_deref() {
                let about = || Object::namespace(&namespace.name);
                return Ok(if flag(text, about)? { Self::ByNamespace } else { Self::Hidden });
            }
        }
        Ok(Self::Hidden)
    }

    /// Whether this service is among those that are meant. What is said of a whole namespace does not mean what no browser
    /// can use: names of other places, and services that applications find pod by pod (databases, mostly).
    pub(super) fn is_exposed(self, service: &Service) -> bool {
        match self {
            Self::Hidden => false,
            // The API server itself, for whoever makes `default` a space.
            _ if service.namespace == "default" && service.name == "kubernetes" => false,
            Self::ByNamespace => service.kind == ServiceKind::Virtual,
            Self::ByService => true,
        }
    }

    /// The port: the one that the annotation names, or the only one, or the one called `http`.
    pub(super) fn port(self, service: &Service) -> Result<i32, (Reason, String)> {
        if service.kind == ServiceKind::External {
            let message = "an ExternalName service leads out of the cluster and cannot be exposed; \
                           remove its annotation azds.io/ingress";
            return Err((Reason::ExternalService, message.to_owned()));
        }
        let tcp = || service.ports.iter().filter(|port| port.tcp);
        if let Some(wanted) = service.port.as_deref() {
            let is_it = |port: &&Port| port.name == wanted || wanted.parse() == Ok(port.number);
            return tcp().find(is_it).map(|port| port.number).ok_or_else(|| {
                let message = format!(
                    "{INGRESS_PORT}: {wanted:?} names none of its TCP ports ({}); name one of them",
                    listed(service)
                );
                (Reason::NoPort, message)
            });
        }
        let mut ports = tcp();
        match (ports.next(), ports.next()) {
            (Some(only), None) => Ok(only.number),
            (None, _) => Err((Reason::NoPort, "it has no TCP port that could be exposed".to_owned())),
            _ => tcp().find(|port| port.name == "http").map(|port| port.number).ok_or_else(|| {
                let message = format!(
                    "none of its TCP ports ({}) is called http; say which one is meant by the annotation {INGRESS_PORT}",
                    listed(service)
                );
                (Reason::NoPort, message)
            }),
        }
    }
}

/// `true` or `false`.
fn flag(text: &str, about: impl FnOnce() -> Object) -> Result<bool, Problem> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => {
            let message = format!("the annotation {INGRESS} is {text:?}; write \"true\" or \"false\"");
            Err(about().has(Reason::BadAnnotation, message))
        }
    }
}

fn listed(service: &Service) -> String {
    let port = |port: &Port| match &*port.name {
        "" => port.number.to_string(),
        name => format!("{name} {}", port.number),
    };
    service.ports.iter().filter(|port| port.tcp).map(port).collect::<Vec<_>>().join(", ")
}
