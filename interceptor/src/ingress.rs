//! The ingress manager (rule R12): keeps the Ingress objects that give every service of every space its URL.
//!
//! ```text
//! watches → facts → plan (pure) → difference to what is there → server-side apply, delete
//!                      └ problems → Events, /status, log
//! ```
//! `interceptor ingress-manager` runs it as a Deployment of its own, apart from the agents: it writes to the API server
//! and needs no privilege on any node. It never touches an object without its own label.

pub mod facts;
pub mod labels;
pub mod objects;
pub mod plan;
pub mod problem;
pub mod render;
