//! What every task of one fanout process shares, and why a task stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use roost_storage::{Storage, StorageError, WorkerId};
use tokio::sync::watch;

use crate::retry::Backoff;
use crate::{FanoutConfig, FanoutMetrics};

/// One life of one fanout process.
pub(crate) struct Context {
    pub(crate) storage: Storage,
    pub(crate) config: FanoutConfig,
    pub(crate) metrics: Arc<FanoutMetrics>,
    pub(crate) worker: WorkerId,
    held: AtomicUsize,
}

impl Context {
    pub(crate) fn new(storage: Storage, config: FanoutConfig, metrics: Arc<FanoutMetrics>, worker: WorkerId) -> Self {
        Self { storage, config, metrics, worker, held: AtomicUsize::new(0) }
    }

    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(self.config.retry_wait_min, self.config.retry_wait_max)
    }

    /// How many members one partition may keep cached: the process's bound, shared over the partitions it holds.
    pub(crate) fn members_cache_share(&self) -> usize {
        self.config.members_cache_max / self.held.load(Ordering::Relaxed).max(1)
    }
}

/// Completes when a stop is asked for, or when whoever could ask for one is gone.
pub(crate) async fn stopped(stop: &watch::Receiver<bool>) {
    // An error says that the sender is gone.
    let _ = stop.clone().wait_for(|stop| *stop).await;
}

/// Counts one held partition for as long as it lives, and takes its lag out of the sum at the end.
pub(crate) struct Held {
    context: Arc<Context>,
    lag: i64,
}

impl Held {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        context.held.fetch_add(1, Ordering::Relaxed);
        context.metrics.partitions_held.inc();
        Self { context, lag: 0 }
    }

    /// This partition's part of the lag.
    pub(crate) fn set_lag(&mut self, lag: u64) {
        let lag = i64::try_from(lag).unwrap_or(i64::MAX);
        self.context.metrics.lag_events.add(lag - self.lag);
        self.lag = lag;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.context.held.fetch_sub(1, Ordering::Relaxed);
        self.context.metrics.partitions_held.dec();
        self.context.metrics.lag_events.sub(self.lag);
    }
}

/// Why work on a partition ended before it was done. Nothing of it was committed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Interrupted {
    /// Another worker has the partition: no side effect from here on.
    #[error("the partition's lease was lost")]
    LeaseLost,
    /// The storage did not do what was asked.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
