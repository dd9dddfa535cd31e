//! The admin API: JSON over HTTP on a unix socket, for the CLI; and the metrics endpoint on TCP.
//!
//! `agent` binds both and runs them on the control runtime. They only read: nothing here changes what the agent does.
//! Whatever a client sends or fails to send is bounded by size, time and number, and ends in an answer that says so.

pub(crate) mod answer;
pub(crate) mod body;
mod handle;
mod health;
pub(crate) mod server;
mod socket;

use std::sync::Arc;

use arc_swap::ArcSwap;

pub(crate) use answer::ErrorBody;
pub use health::{MetricsServer, MetricsServerError};
pub use socket::{AdminError, AdminHandle, AdminSocket};

use crate::config::CapturedServices;
use crate::flow::Hub;
use crate::metrics::Metrics;
use crate::propagate::Neighbours;
use crate::snapshot::Snapshot;
use crate::status::StatusBoard;

/// What the admin API shows.
#[derive(Debug, Clone)]
pub struct AdminState {
    /// The picture in force.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Which services are captured.
    pub services: CapturedServices,
    /// The flow records.
    pub hub: Arc<Hub>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// How the agent is.
    pub status: Arc<StatusBoard>,
    /// What the workloads remember of their requests.
    pub neighbours: Arc<Neighbours>,
}

#[cfg(test)]
pub(crate) mod tests;
