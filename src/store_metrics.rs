//! The embedded store's numbers as metrics, read when they are scraped.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntGauge};
use roost_storage::embedded::{Embedded, EmbeddedStats};

type Read = fn(&EmbeddedStats) -> u64;

/// Collects [`EmbeddedStats`].
pub(crate) struct StoreMetrics {
    store: Arc<Embedded>,
    gauges: Vec<(IntGauge, Read)>,
    counters: Vec<(IntCounter, Read)>,
}

impl StoreMetrics {
    /// Of this store.
    ///
    /// # Errors
    /// Never in practice: when a name is not a metric's name.
    pub(crate) fn new(store: Arc<Embedded>) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str, read: Read| Ok::<_, prometheus::Error>((IntGauge::new(name, help)?, read));
        let counter =
            |name: &str, help: &str, read: Read| Ok::<_, prometheus::Error>((IntCounter::new(name, help)?, read));
        Ok(Self {
            store,
            gauges: vec![
                gauge(
                    "roost_store_write_queue",
                    "Writes that wait for the store's writer; bounded by roost_store_write_queue_limit",
                    |stats| stats.write_queue_depth,
                )?,
                gauge("roost_store_write_queue_limit", "Writes that may wait for the store's writer", |stats| {
                    stats.write_queue_max
                })?,
                gauge("roost_store_log_entries", "Event log entries above the cursors", |stats| stats.log_entries)?,
                gauge("roost_store_mailbox_entries", "Mailbox entries not confirmed", |stats| stats.mailbox_entries)?,
                gauge("roost_store_pending_rows", "Pending notifications stored", |stats| stats.pending_rows)?,
            ],
            counters: vec![
                counter("roost_store_writes_total", "Writes done", |stats| stats.writes_total)?,
                counter("roost_store_batches_total", "Transactions the writes were done in", |stats| {
                    stats.batches_total
                })?,
                counter("roost_store_syncs_total", "Transactions that were synced to the disk", |stats| {
                    stats.syncs_total
                })?,
                counter("roost_store_signals_lost_total", "Signals that slow receivers have lost", |stats| {
                    stats.signals_lost_total
                })?,
            ],
        })
    }
}

impl Collector for StoreMetrics {
    fn desc(&self) -> Vec<&Desc> {
        let gauges = self.gauges.iter().flat_map(|(gauge, _)| gauge.desc());
        gauges.chain(self.counters.iter().flat_map(|(counter, _)| counter.desc())).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let stats = self.store.stats();
        for (gauge, read) in &self.gauges {
            gauge.set(read(&stats).try_into().unwrap_or(i64::MAX));
        }
        for (counter, read) in &self.counters {
            counter.inc_by(read(&stats).saturating_sub(counter.get()));
        }
        let gauges = self.gauges.iter().flat_map(|(gauge, _)| gauge.collect());
        gauges.chain(self.counters.iter().flat_map(|(counter, _)| counter.collect())).collect()
    }
}
