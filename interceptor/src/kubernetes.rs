//! The Kubernetes API as the agent and the ingress manager use it: a client, labels, objects cut down to what is kept, and
//! lists that go on as watches.
//!
//! `source::kubernetes` and `ingress` build on it. Nothing here decides what an object means.

mod client;
pub mod names;

pub use client::{Access, Cluster, ConnectError, connect};
