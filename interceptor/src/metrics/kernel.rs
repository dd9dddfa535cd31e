//! What the hooks count, read at scrape time: the kernel keeps the numbers, nothing is copied in between.

use std::sync::{Mutex, PoisonError};

use interceptor_common::counters;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use serde::{Deserialize, Serialize};

use super::table;

/// Reads the hooks' counters, by the index of [`counters::ALL`].
pub type KernelReader = Box<dyn Fn() -> Vec<u64> + Send + Sync>;

/// One counter of the hooks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelCount {
    /// `outbound` or `inbound`.
    pub direction: String,
    /// `redirected`, or why the hook left a connection alone.
    pub reason: String,
    /// Connections.
    pub connections: u64,
}

/// Holds the reader; empty until the hooks are loaded.
#[derive(Default)]
pub(super) struct KernelCounters {
    reader: Mutex<Option<KernelReader>>,
}

impl KernelCounters {
    pub(super) fn set_reader(&self, reader: KernelReader) {
        *self.reader.lock().unwrap_or_else(PoisonError::into_inner) = Some(reader);
    }

    /// Every counter; none while there is no reader.
    pub(super) fn read(&self) -> Vec<KernelCount> {
        self.values()
            .map(|(direction, reason, connections)| KernelCount {
                direction: direction.to_owned(),
                reason: reason.to_owned(),
                connections,
            })
            .collect()
    }

    fn values(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let values = reader.as_ref().map(|read| read()).unwrap_or_default();
        counters::ALL.iter().zip(values).map(|((_, direction, reason), value)| (*direction, *reason, value))
    }
}

impl std::fmt::Debug for KernelCounters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KernelCounters").finish_non_exhaustive()
    }
}

/// Registered with the registry, which wants to own its collectors.
#[derive(Debug)]
pub(super) struct KernelCollector(pub(super) std::sync::Arc<KernelCounters>);

impl Collector for KernelCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut values = self.0.values().peekable();
        if values.peek().is_none() {
            return Ok(());
        }
        let family = table::KERNEL_CONNECTIONS;
        // The registry adds the full stop for other families; a collector writes its own.
        let help = format!("{}.", family.help);
        let mut metric = encoder.encode_descriptor(family.registered_name(), &help, None, MetricType::Counter)?;
        for (direction, reason, value) in values {
            let labels = [("direction", direction), ("reason", reason)];
            ConstCounter::new(value).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
