//! What is redirected and where it arrives: destinations, workloads, listeners, links.
//!
//! The control thread owns the [`Controller`] and gives it every new snapshot with what differs; it brings the kernel's maps,
//! the links and the listeners to that state by difference, never by clearing. What is to be captured says
//! [`wanted`](crate::wanted). Workers see only what [`captured`](crate::captured) holds.

mod addresses;
mod attach;
mod cgroups;
mod close;
mod controller;
mod dns;
mod handover;
mod heartbeat;
mod leftovers;
mod listening;
mod threads;

pub use controller::{Controller, ControllerParts};
pub use heartbeat::{Heartbeat, HeartbeatError, HeartbeatParts};
