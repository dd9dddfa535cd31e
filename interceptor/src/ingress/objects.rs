//! From API objects to the planner's facts. Pure; a field that is missing is one that was not given.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::networking::v1 as networking;

use super::facts::{Existing, Namespace, Port, Service, ServiceKind};
use super::labels::{MANAGED_BY, MANAGER};
use crate::kubernetes::names::{INGRESS, INGRESS_PORT, PARENT_SPACE, SPACE};

type Texts = Option<BTreeMap<String, String>>;

/// A namespace's facts.
pub fn namespace(object: &core::Namespace) -> Namespace {
    let meta = &object.metadata;
    Namespace {
        name: meta.name.clone().unwrap_or_default(),
        space: value(&meta.labels, SPACE).as_deref() == Some("true"),
        parent: value(&meta.labels, PARENT_SPACE),
        terminating: meta.deletion_timestamp.is_some(),
        ingress: value(&meta.annotations, INGRESS),
    }
}

/// A service's facts.
pub fn service(object: &core::Service) -> Service {
    let meta = &object.metadata;
    let spec = object.spec.as_ref();
    let kind = match spec {
        Some(spec) if spec.type_.as_deref() == Some("ExternalName") => ServiceKind::External,
        Some(spec) if spec.cluster_ip.as_deref() == Some("None") => ServiceKind::Headless,
        _ => ServiceKind::Virtual,
    };
    let ports = spec.and_then(|spec| spec.ports.as_ref()).into_iter().flatten();
    Service {
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
        kind,
        ingress: value(&meta.annotations, INGRESS),
        port: value(&meta.annotations, INGRESS_PORT),
        ports: ports
            .map(|port| Port {
                name: port.name.clone().unwrap_or_default(),
                number: port.port,
                tcp: port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"),
            })
            .collect(),
    }
}

/// An Ingress's facts.
pub fn existing(object: &networking::Ingress) -> Existing {
    let meta = &object.metadata;
    let spec = object.spec.as_ref();
    let rules = spec.and_then(|spec| spec.rules.as_ref()).into_iter().flatten();
    // The annotation is what the class was before the field; controllers still read it.
    let class = spec.and_then(|spec| spec.ingress_class_name.clone());
    Existing {
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
        ours: is_ours(object),
        class: class.or_else(|| value(&meta.annotations, "kubernetes.io/ingress.class")),
        hosts: rules.filter_map(|rule| rule.host.clone()).collect(),
    }
}

/// Whether the manager made it.
pub fn is_ours(object: &networking::Ingress) -> bool {
    value(&object.metadata.labels, MANAGED_BY).as_deref() == Some(MANAGER)
}

fn value(texts: &Texts, key: &str) -> Option<String> {
    texts.as_ref()?.get(key).cloned()
}
