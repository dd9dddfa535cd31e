//! The ingress manager (rule R12): keeps the Ingress objects that give every service of every space its URL.
//!
//! ```text
//! watches → facts → plan (pure) → difference to what is there → server-side apply, delete
//!                      └ problems → Events, /status, log
//! ```
//! `interceptor ingress-manager` runs it as a Deployment of its own, apart from the agents: it writes to the API server
//! and needs no privilege on any node. It never touches an object without its own label.

mod endpoint;
mod events;
pub mod facts;
pub mod files;
pub mod labels;
mod lease;
mod manager;
pub mod objects;
mod pace;
pub mod plan;
pub mod problem;
pub mod render;
mod report;
mod view;
mod writer;

pub use lease::LEASE;
pub use manager::{ManagerOptions, ask, run};
