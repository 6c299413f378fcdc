//! Which metrics the embedded store has.

use std::sync::Arc;

use roost_storage::embedded::{Embedded, EmbeddedStats};

use crate::stats_metrics::{Metric, StatsMetrics};

const GAUGES: [Metric<EmbeddedStats>; 5] = [
    (
        "roost_store_write_queue",
        "Writes that wait for the store's writer; bounded by roost_store_write_queue_limit",
        |stats| stats.write_queue_depth,
    ),
    ("roost_store_write_queue_limit", "Writes that may wait for the store's writer", |stats| stats.write_queue_max),
    ("roost_store_log_entries", "Event log entries above the cursors", |stats| stats.log_entries),
    ("roost_store_mailbox_entries", "Mailbox entries not confirmed", |stats| stats.mailbox_entries),
    ("roost_store_pending_rows", "Pending notifications stored", |stats| stats.pending_rows),
];

const COUNTERS: [Metric<EmbeddedStats>; 4] = [
    ("roost_store_writes_total", "Writes done", |stats| stats.writes_total),
    ("roost_store_batches_total", "Transactions the writes were done in", |stats| stats.batches_total),
    ("roost_store_syncs_total", "Transactions that were synced to the disk", |stats| stats.syncs_total),
    ("roost_store_signals_lost_total", "Signals that slow receivers have lost", |stats| stats.signals_lost_total),
];

/// Collects [`EmbeddedStats`].
///
/// # Errors
/// Never in practice: when a name is not a metric's name.
pub(crate) fn of(store: Arc<Embedded>) -> Result<StatsMetrics<EmbeddedStats>, prometheus::Error> {
    StatsMetrics::new(move || store.stats(), &GAUGES, &COUNTERS)
}
