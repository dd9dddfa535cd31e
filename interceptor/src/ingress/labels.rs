//! The labels and annotations of the ingress manager: what its users write, and what it writes itself.

/// Label of a Namespace: `"true"` makes it a space.
pub const SPACE: &str = "azds.io/space";
/// Label of a Namespace: the space that it derives from.
pub const PARENT: &str = "azds.io/parent-space";
/// Annotation of a Service or Namespace: `"true"` exposes, `"false"` opts out.
pub const INGRESS: &str = "azds.io/ingress";
/// Annotation of a Service: the name or number of the port that is exposed.
pub const INGRESS_PORT: &str = "azds.io/ingress-port";

/// The label by which the manager knows its own objects. What lacks it is never touched.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`], and the manager's name as an owner of fields.
pub const MANAGER: &str = "interceptor-ingress-manager";
/// Label of our objects: the service that they lead to.
pub const SERVICE: &str = "interceptor.azds.io/service";
/// Label of our objects: the root of the space tree.
pub const ROOT: &str = "interceptor.azds.io/root-space";
/// Annotation of our objects: a digest of what was applied, so that what is in force is not applied again.
pub const APPLIED: &str = "interceptor.azds.io/applied";
