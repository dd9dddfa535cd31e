//! The netns tier: the real agent with real eBPF on pods made of network namespaces and cgroups. Needs root.
//!
//! `cargo xtask test` runs it. Every test lays out its own node and shares nothing with another one; a rule of the
//! mission (R1 to R11) is named by the tests that prove it and its opposite.

mod bodies;
mod crash;
mod http1;
mod opaque;
mod reload;
mod scale;
mod wire;
