//! The ingress manager as a program, on a cluster: the test API server, or a real one.
//!
//! `cargo xtask test` runs this tier. Everything is done to the cluster through kubectl, so that the same tests run on a
//! real API server: `INTERCEPTOR_TEST_KUBECONFIG` names its kubeconfig (a cluster without an ingress manager of its own).
//! Tests that make an API server fail, or read what it was asked, need the test API server and say so.

mod cluster;
mod dry_run;
mod election;
mod manager;
mod manifests;
mod outage;
mod rights;
