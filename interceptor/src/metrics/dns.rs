//! What became of DNS queries, counted by transport.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::labels::{Pairs, fetch};

macro_rules! words {
    ($(#[$doc:meta])* $type:ident { $($(#[$of:meta])* $name:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type {
            $($(#[$of])* $name,)*
        }

        impl $type {
            const ALL: [(Self, &str); [$($word),*].len()] = [$((Self::$name, $word)),*];
        }
    };
}

words! {
    /// How a query came.
    DnsTransport {
        /// As a datagram.
        Udp = "udp",
        /// Over a connection.
        Tcp = "tcp",
    }
}

words! {
    /// What became of a query.
    DnsOutcome {
        /// The agent answered with an ancestor's service.
        Answered = "answered",
        /// It went to its server.
        Forwarded = "forwarded",
        /// It was not understood and went to its server.
        Malformed = "malformed",
        /// Too many were under way.
        Dropped = "dropped",
        /// Its server could not be reached.
        Failed = "failed",
    }
}

/// One counter for each transport and outcome, by their places.
#[derive(Debug)]
pub(super) struct DnsQueries(Vec<Vec<Counter>>);

impl DnsQueries {
    pub(super) fn new(family: &Family<Pairs, Counter>) -> Self {
        let counters = |transport| {
            let counter = |(_, outcome)| fetch(family, &[("transport", transport), ("outcome", outcome)]);
            DnsOutcome::ALL.map(counter).to_vec()
        };
        Self(DnsTransport::ALL.map(|(_, transport)| counters(transport)).to_vec())
    }

    pub(super) fn count(&self, transport: DnsTransport, outcome: DnsOutcome) {
        if let Some(counter) = self.0.get(transport as usize).and_then(|counters| counters.get(outcome as usize)) {
            counter.inc();
        }
    }

    /// How many had that outcome, over both transports.
    pub(super) fn total(&self, outcome: DnsOutcome) -> u64 {
        self.0.iter().filter_map(|counters| counters.get(outcome as usize)).map(Counter::get).sum()
    }
}
