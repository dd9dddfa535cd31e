//! What is redirected and where it arrives: destinations, workloads, listeners, links.
//!
//! The control thread owns the [`Controller`] and gives it every new snapshot with what differs; it brings the kernel's maps, the links and
//! the listeners to that state by difference, never by clearing. Workers see only what [`captured`](crate::captured) holds.

mod addresses;
mod attach;
mod controller;
mod dns;
mod heartbeat;
mod wanted;

pub use controller::{Controller, ControllerParts};
pub use heartbeat::Heartbeat;
