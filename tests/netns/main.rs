//! The netns tier: the real agent with real eBPF on pods made of network namespaces and cgroups. Needs root.
//!
//! `cargo xtask test` runs it. Every test lays out its own node and shares nothing with another one; a rule of the
//! mission (R1 to R11) is named by the tests that prove it and its opposite.

// `cfg(test)` is always true here; it tells clippy that helpers, too, may unwrap and panic.
#[cfg(test)]
mod attack;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod bodies;
#[cfg(test)]
mod capture_map;
#[cfg(test)]
mod captured;
#[cfg(test)]
mod closed;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod established;
#[cfg(test)]
mod families;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod flows;
#[cfg(test)]
mod hang;
#[cfg(test)]
mod http1;
#[cfg(test)]
mod kubernetes;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod opaque;
#[cfg(test)]
mod overload;
#[cfg(test)]
mod pods;
#[cfg(test)]
mod probes;
#[cfg(test)]
mod propagation;
#[cfg(test)]
mod real;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod scale;
#[cfg(test)]
mod short_names;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod state;
#[cfg(test)]
mod takeover;
#[cfg(test)]
mod threads;
#[cfg(test)]
mod upgrades;
#[cfg(test)]
mod wire;
#[cfg(test)]
mod worked_example;
