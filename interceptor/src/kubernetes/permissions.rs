//! Every right that the agent and the ingress manager need: verb by verb, in one place.
//!
//! The ClusterRoles of deploy/kubernetes grant these; a test holds the manifests to the lists, and the lists to what a
//! test API server was asked.

/// One right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permission {
    /// What is done.
    pub verb: &'static str,
    /// The API group; empty for the core.
    pub group: &'static str,
    /// The resource's plural.
    pub resource: &'static str,
    /// In all namespaces; otherwise only in that of the program itself.
    pub everywhere: bool,
}

const fn everywhere(verb: &'static str, group: &'static str, resource: &'static str) -> Permission {
    Permission { verb, group, resource, everywhere: true }
}

const fn at_home(verb: &'static str, group: &'static str, resource: &'static str) -> Permission {
    Permission { verb, group, resource, everywhere: false }
}

/// What the agent needs: it reads, and no Secret.
pub const AGENT: &[Permission] = &[
    everywhere("list", "", "namespaces"),
    everywhere("watch", "", "namespaces"),
    everywhere("list", "", "pods"),
    everywhere("watch", "", "pods"),
    everywhere("list", "", "services"),
    everywhere("watch", "", "services"),
    everywhere("list", "discovery.k8s.io", "endpointslices"),
    everywhere("watch", "discovery.k8s.io", "endpointslices"),
];

/// What the ingress manager needs. Server-side apply is a patch, and the API server asks for the right to create where
/// there is nothing to patch.
pub const MANAGER: &[Permission] = &[
    everywhere("list", "", "namespaces"),
    everywhere("watch", "", "namespaces"),
    everywhere("list", "", "services"),
    everywhere("watch", "", "services"),
    everywhere("list", "networking.k8s.io", "ingresses"),
    everywhere("watch", "networking.k8s.io", "ingresses"),
    everywhere("create", "networking.k8s.io", "ingresses"),
    everywhere("patch", "networking.k8s.io", "ingresses"),
    everywhere("delete", "networking.k8s.io", "ingresses"),
    everywhere("create", "events.k8s.io", "events"),
    at_home("create", "coordination.k8s.io", "leases"),
    at_home("get", "coordination.k8s.io", "leases"),
    at_home("update", "coordination.k8s.io", "leases"),
];
