//! The resources that the test API server knows, and the paths under which an API server has them.
//!
//! A table and a parser: the server's dispatch turns every request's path into a [`Target`]; the tests' client makes
//! paths from it. What is not in the table is answered with 404, as by a server without that API.

/// One kind of object.
#[derive(Debug, PartialEq, Eq)]
pub struct Resource {
    /// The API group; empty for the core.
    pub group: &'static str,
    /// The version, of which there is one each.
    pub version: &'static str,
    /// How it is called in paths and in RBAC rules.
    pub plural: &'static str,
    /// How it is called in objects.
    pub kind: &'static str,
    /// Whether objects lie in namespaces.
    pub namespaced: bool,
}

macro_rules! resources {
    ($($group:literal $version:literal $plural:literal $kind:literal $namespaced:literal;)*) => {
        &[$(Resource { group: $group, version: $version, plural: $plural, kind: $kind, namespaced: $namespaced }),*]
    };
}

/// All resources.
pub static RESOURCES: &[Resource] = resources! {
    "" "v1" "namespaces" "Namespace" false;
    "" "v1" "nodes" "Node" false;
    "" "v1" "pods" "Pod" true;
    "" "v1" "services" "Service" true;
    "" "v1" "configmaps" "ConfigMap" true;
    "" "v1" "secrets" "Secret" true;
    "" "v1" "serviceaccounts" "ServiceAccount" true;
    "" "v1" "events" "Event" true;
    "discovery.k8s.io" "v1" "endpointslices" "EndpointSlice" true;
    "networking.k8s.io" "v1" "ingresses" "Ingress" true;
    "networking.k8s.io" "v1" "ingressclasses" "IngressClass" false;
    "networking.k8s.io" "v1" "networkpolicies" "NetworkPolicy" true;
    "coordination.k8s.io" "v1" "leases" "Lease" true;
    "events.k8s.io" "v1" "events" "Event" true;
    "apps" "v1" "daemonsets" "DaemonSet" true;
    "apps" "v1" "deployments" "Deployment" true;
    "policy" "v1" "poddisruptionbudgets" "PodDisruptionBudget" true;
    "scheduling.k8s.io" "v1" "priorityclasses" "PriorityClass" false;
    "rbac.authorization.k8s.io" "v1" "clusterroles" "ClusterRole" false;
    "rbac.authorization.k8s.io" "v1" "clusterrolebindings" "ClusterRoleBinding" false;
    "rbac.authorization.k8s.io" "v1" "roles" "Role" true;
    "rbac.authorization.k8s.io" "v1" "rolebindings" "RoleBinding" true;
};

impl Resource {
    /// The resource of that name in a group.
    pub fn named(group: &str, plural: &str) -> Option<&'static Resource> {
        RESOURCES.iter().find(|one| one.group == group && one.plural == plural)
    }

    /// The resource of an object with this `apiVersion` and `kind`.
    pub fn of(api_version: &str, kind: &str) -> Option<&'static Resource> {
        RESOURCES.iter().find(|one| one.kind == kind && one.api_version() == api_version)
    }

    /// What objects have as `apiVersion`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// The path of the collection (of a namespace, where one is given) or of one object.
    pub fn path(&self, namespace: Option<&str>, name: Option<&str>) -> String {
        let root = if self.group.is_empty() { "/api" } else { "/apis" };
        let mut path = format!("{root}/{}", self.api_version());
        if let Some(namespace) = namespace.filter(|_| self.namespaced) {
            path = format!("{path}/namespaces/{namespace}");
        }
        match name {
            Some(name) => format!("{path}/{}/{name}", self.plural),
            None => format!("{path}/{}", self.plural),
        }
    }
}

/// What a request's path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) resource: &'static Resource,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
}

impl Target {
    /// Parses a path; `None` for one that names no resource of the table.
    pub(crate) fn parse(path: &str) -> Option<Target> {
        let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
        let (group, rest) = match words.as_slice() {
            ["api", "v1", rest @ ..] => ("", rest),
            ["apis", group, "v1", rest @ ..] => (*group, rest),
            _ => return None,
        };
        // `namespaces/x/status` is a part of the namespace, `namespaces/x/pods` lies in it.
        let (namespace, rest) = match rest {
            ["namespaces", namespace, plural, more @ ..] if Resource::named(group, plural).is_some() => {
                (Some(*namespace), [&[*plural], more].concat())
            }
            rest => (None, rest.to_vec()),
        };
        let (plural, name, subresource) = match rest.as_slice() {
            [plural] => (*plural, None, None),
            [plural, name] => (*plural, Some(*name), None),
            [plural, name, subresource] => (*plural, Some(*name), Some(*subresource)),
            _ => return None,
        };
        let owned = |word: Option<&str>| word.map(str::to_owned);
        let resource = Resource::named(group, plural)?;
        Some(Target { resource, namespace: owned(namespace), name: owned(name), subresource: owned(subresource) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_a_real_server() {
        let parsed = |path| {
            let target = Target::parse(path)?;
            Some((target.resource.kind, target.namespace, target.name, target.subresource))
        };
        let owned = |word: &str| Some(word.to_owned());
        assert_eq!(parsed("/api/v1/namespaces"), Some(("Namespace", None, None, None)));
        assert_eq!(parsed("/api/v1/namespaces/dev"), Some(("Namespace", None, owned("dev"), None)));
        assert_eq!(parsed("/api/v1/namespaces/dev/status"), Some(("Namespace", None, owned("dev"), owned("status"))));
        assert_eq!(parsed("/api/v1/namespaces/dev/pods/p"), Some(("Pod", owned("dev"), owned("p"), None)));
        assert_eq!(parsed("/apis/networking.k8s.io/v1/ingresses"), Some(("Ingress", None, None, None)));
        assert_eq!(parsed("/apis/networking.k8s.io/v1/pods"), None);
        assert_eq!(parsed("/healthz"), None);
        for resource in RESOURCES {
            let path = resource.path(Some("n"), Some("x"));
            assert_eq!(Target::parse(&path).map(|target| target.resource), Some(resource), "{path}");
        }
    }
}
