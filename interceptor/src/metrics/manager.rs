//! The metric families of the ingress manager, which is a process of its own with a registry of its own.
//!
//! `ingress` registers and moves them; they stand here so that docs/metrics.md holds every family of the project.

use super::table::{FamilyDoc, FamilyKind};

const fn family(
    name: &'static str,
    kind: FamilyKind,
    labels: &'static [&'static str],
    help: &'static str,
) -> FamilyDoc {
    FamilyDoc { name, kind, labels, help }
}

pub(crate) const LEADING: FamilyDoc =
    family("interceptor_ingress_leading", FamilyKind::Gauge, &[], "1 for the manager that holds the lease and writes");
pub(crate) const OBJECTS: FamilyDoc = family(
    "interceptor_ingress_objects",
    FamilyKind::Gauge,
    &["state"],
    "Ingress objects that there should be (wanted), and those of them that are as they should be (in_force)",
);
pub(crate) const PROBLEMS: FamilyDoc = family(
    "interceptor_ingress_problems",
    FamilyKind::Gauge,
    &["reason"],
    "What cannot be done as asked, by reason; /status and Events say which objects",
);
pub(crate) const WRITES: FamilyDoc = family(
    "interceptor_ingress_writes_total",
    FamilyKind::Counter,
    &["verb", "result"],
    "Writes to the API server: apply or delete, ok or failed",
);

/// Every family of the manager, in the order of the documentation.
pub const FAMILIES: &[FamilyDoc] = &[LEADING, OBJECTS, PROBLEMS, WRITES];
