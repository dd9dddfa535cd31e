//! The labels and annotations that people and Kubernetes itself write, by which objects are understood.
//!
//! Used by the source, the ingress manager and their documentation; a name that is not here means nothing to us.

/// Label of a namespace: `"true"` makes it a space.
pub const SPACE: &str = "azds.io/space";
/// Label of a namespace that is a space: the space that it derives from.
pub const PARENT_SPACE: &str = "azds.io/parent-space";
/// Annotation of a service or a namespace: whether it has URLs of its own.
pub const INGRESS: &str = "azds.io/ingress";
/// Annotation of a service: the name or number of the port that its URLs lead to.
pub const INGRESS_PORT: &str = "azds.io/ingress-port";
/// Annotation of a pod: `"true"` captures it outside of spaces, too, `"false"` leaves it alone.
pub const CAPTURE: &str = "interceptor.azds.io/capture";
/// Annotation of a headless service: `route` routes connections to its pods.
pub const HEADLESS: &str = "interceptor.azds.io/headless";
/// Annotation of a pod, or of a namespace that is a space: how requests find their space again, `off`, `trace`,
/// `single-flight` or `thread`.
pub const PROPAGATE: &str = "interceptor.azds.io/propagate";

/// What is kept of labels and annotations begins with one of these, or is one of them.
pub(crate) const KEPT: [&str; 4] = ["azds.io/", "interceptor.azds.io/", SERVICE_NAME, CONFIG_HASH];

/// Label of an EndpointSlice: its service.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Annotation of a mirror pod: the UID by which the kubelet knows the static pod.
pub const CONFIG_HASH: &str = "kubernetes.io/config.hash";
