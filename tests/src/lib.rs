//! What the test tiers, the demo and the benchmarks share.
//!
//! [`lab`] lays out one Kubernetes node on this machine (namespaces, cgroups, ClusterIPs), [`app`] holds the small
//! programs that run in its pods (through the `pod` binary), [`agent`] runs the interceptor in it, [`http`] is a client
//! and server side of HTTP/1.1 that shows bytes as they were sent, and [`demo`] is the walk of `cargo xtask demo`.
//!
//! Nothing here is part of the product: the agent never depends on this crate.

pub mod agent;
pub mod apiserver;
pub mod app;
pub mod bins;
pub mod bpftool;
pub mod cgroup;
pub mod cluster_ip;
pub mod config;
pub mod demo;
pub mod foreign;
pub mod frozen;
pub mod guardian;
pub mod http;
pub mod kubelet;
pub mod lab;
pub mod link;
pub mod listening;
pub mod manifests;
pub mod netns;
pub mod place;
pub mod pod;
pub mod process;
pub mod sockets;
mod sys;
pub mod tun;
pub mod wait;

pub use agent::Agent;
pub use config::{Config, Service};
pub use lab::Lab;
pub use pod::Pod;
pub use process::Process;
