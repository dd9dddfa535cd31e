//! The labels and annotations that the manager writes. What its users write is in [`names`](crate::kubernetes::names).

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
