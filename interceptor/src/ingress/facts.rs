//! What the planner knows of the cluster: the few fields of namespaces, services and Ingress objects that decide.
//!
//! [`objects`](super::objects) fills them from API objects; the planner's tests write them by hand. Nothing here reads or
//! judges a value: annotations are kept as their owners wrote them.

/// Everything that a plan is made of. The order of the lists does not matter: the planner sorts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// All namespaces.
    pub namespaces: Vec<Namespace>,
    /// All services.
    pub services: Vec<Service>,
    /// All Ingress objects, our own and others'.
    pub ingresses: Vec<Existing>,
}

/// A namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Whether it carries the space label.
    pub space: bool,
    /// The space that it derives from.
    pub parent: Option<String>,
    /// Whether it is being deleted: nothing new can be made in it.
    pub terminating: bool,
    /// Its annotation `azds.io/ingress`.
    pub ingress: Option<String>,
}

/// What a service's name resolves to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ServiceKind {
    /// A virtual address.
    #[default]
    Virtual,
    /// The addresses of its pods.
    Headless,
    /// Another DNS name: there is nothing behind it in this cluster.
    External,
}

/// A service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Service {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What its name resolves to.
    pub kind: ServiceKind,
    /// Its annotation `azds.io/ingress`.
    pub ingress: Option<String>,
    /// Its annotation `azds.io/ingress-port`.
    pub port: Option<String>,
    /// Its ports.
    pub ports: Vec<Port>,
}

/// A port of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Port {
    /// Its name; empty where the service has a single one.
    pub name: String,
    /// Its number.
    pub number: i32,
    /// Whether it is a TCP port; nothing else carries HTTP/1 and HTTP/2.
    pub tcp: bool,
}

/// An Ingress object that is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Existing {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether it carries our label of ownership.
    pub ours: bool,
    /// Its class, where it names one.
    pub class: Option<String>,
    /// The hosts of its rules.
    pub hosts: Vec<String>,
}
