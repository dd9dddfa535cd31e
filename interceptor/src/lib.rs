//! Placeholder.
pub mod admin;
pub mod config;
pub mod explain;
pub mod flow;
pub mod metrics;
pub mod query;
pub mod route;
pub mod snapshot;
pub mod status;
pub mod view;
