//! Connections that found no place, by workload and reason.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::room::Refused as Reason;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RefusedLabels {
    workload: String,
    reason: &'static str,
}

pub(super) type Refused = Family<RefusedLabels, Counter>;

/// One workload's counters.
#[derive(Debug)]
pub struct RefusedConnections([Counter; Reason::ALL.len()]);

impl RefusedConnections {
    /// Those of a workload, which show from now on.
    pub(super) fn of(family: &Refused, workload: &str) -> Self {
        Self(Reason::ALL.map(|reason| family.get_or_create_owned(&labels(workload, reason))))
    }

    /// Counts one.
    pub fn count(&self, reason: Reason) {
        let [workload, agent] = &self.0;
        match reason {
            Reason::Workload => workload,
            Reason::Agent => agent,
        }
        .inc();
    }
}

/// Shows a workload no more.
pub(super) fn forget(family: &Refused, workload: &str) {
    for reason in Reason::ALL {
        family.remove(&labels(workload, reason));
    }
}

fn labels(workload: &str, reason: Reason) -> RefusedLabels {
    RefusedLabels { workload: workload.to_owned(), reason: reason.as_str() }
}
