//! The interceptor's agent and CLI.
//!
//! ```text
//! source → Snapshot ─┬→ capture → kernel maps, listeners, links        (control thread)
//!                    └→ route ← proxy: accept → detect → http1 | opaque (worker threads)
//!                                  └→ flow records → hub → admin → CLI
//!                                                  └→ metrics
//! ```
//! `docs/architecture.md` says which module may do what; `tests/tidy` enforces what can be enforced.

pub mod admin;
pub mod agent;
pub mod bpf;
pub mod capture;
pub mod captured;
pub mod cgroup;
pub mod cli;
pub mod config;
pub mod discovery;
pub mod dns;
pub mod explain;
pub mod flow;
pub mod headers;
pub mod ingress;
pub mod kernel;
pub mod kubernetes;
pub mod metrics;
pub mod net;
pub mod preflight;
pub mod privileges;
pub mod propagate;
pub mod proxy;
pub mod query;
pub mod room;
pub mod route;
pub mod snapshot;
pub mod sock_diag;
pub mod source;
pub mod status;
pub mod sys;
pub mod takeover;
pub mod telemetry;
pub mod view;
pub mod vital;
pub mod wanted;
mod worker;
