//! What goes wrong around the agent: each a clear error or a counted refusal, one bad workload never stops the others, and
//! the last good configuration stays.

mod admin;
mod configuration;
mod exposure;
mod start;
mod values;
mod workloads;
