//! What became of tracing calls back by thread (`propagate: thread`), by workload.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

/// Where a call came from, or why that cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallOrigin {
    /// A request that is under way.
    Traced,
    /// The hooks have not seen it begin.
    Unseen,
    /// The thread that made it has no request under way.
    NoRequest,
    /// The thread had begun to answer.
    Answered,
    /// Several threads have read of the request.
    SeveralThreads,
    /// The thread works on several requests at once.
    SeveralRequests,
    /// Requests change threads in that process.
    Process,
}

impl CallOrigin {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Traced,
        Self::Unseen,
        Self::NoRequest,
        Self::Answered,
        Self::SeveralThreads,
        Self::SeveralRequests,
        Self::Process,
    ];

    /// The word of the label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Traced => "traced",
            Self::Unseen => "unseen",
            Self::NoRequest => "no_request",
            Self::Answered => "answered",
            Self::SeveralThreads => "several_threads",
            Self::SeveralRequests => "several_requests",
            Self::Process => "process",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CallLabels {
    workload: String,
    origin: &'static str,
}

pub(super) type Calls = Family<CallLabels, Counter>;

/// One workload's counters.
#[derive(Debug)]
pub struct ThreadCalls([Counter; CallOrigin::ALL.len()]);

impl ThreadCalls {
    /// Those of a workload, which show from now on.
    pub(super) fn of(family: &Calls, workload: &str) -> Self {
        Self(CallOrigin::ALL.map(|origin| family.get_or_create_owned(&labels(workload, origin))))
    }

    /// Counts one.
    pub fn count(&self, origin: CallOrigin) {
        let [traced, unseen, no_request, answered, threads, requests, process] = &self.0;
        let counter = match origin {
            CallOrigin::Traced => traced,
            CallOrigin::Unseen => unseen,
            CallOrigin::NoRequest => no_request,
            CallOrigin::Answered => answered,
            CallOrigin::SeveralThreads => threads,
            CallOrigin::SeveralRequests => requests,
            CallOrigin::Process => process,
        };
        counter.inc();
    }
}

/// Shows a workload no more.
pub(super) fn forget(family: &Calls, workload: &str) {
    for origin in CallOrigin::ALL {
        family.remove(&labels(workload, origin));
    }
}

fn labels(workload: &str, origin: CallOrigin) -> CallLabels {
    CallLabels { workload: workload.to_owned(), origin: origin.as_str() }
}
