//! Placeholder.
pub mod config;
pub mod flow;
pub mod query;
pub mod route;
pub mod snapshot;
