//! One partition: acquire it, read it in order, hand it over.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use roost_storage::{Acquired, Lease, LogEntry, PartitionId, Position, Renewal, StorageError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, error, warn};

use crate::batch::Batches;
use crate::context::{Context, Held, Interrupted, stopped};
use crate::removals;

/// Why a partition's task ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It was asked to stop; the lease is given back.
    Stopped,
    /// A record is corrupt. Nothing was skipped; someone must act.
    Halted,
    /// The storage failed for good.
    Failed(StorageError),
}

/// The task of one partition.
pub(crate) struct Partition {
    context: Arc<Context>,
    id: PartitionId,
    stop: watch::Receiver<bool>,
}

/// What became of acquiring.
enum Start {
    Held(Lease, Position),
    Stop,
}

impl Partition {
    pub(crate) fn new(context: Arc<Context>, id: PartitionId, stop: watch::Receiver<bool>) -> Self {
        Self { context, id, stop }
    }

    /// Acquires and reads until it is asked to stop or can not go on. Every error begins again at acquiring: the cursor
    /// in memory may point past what a new primary of the storage knows.
    pub(crate) async fn run(self) -> Ended {
        let mut backoff = self.context.backoff();
        loop {
            let reading = match self.acquire().await {
                Ok(Start::Stop) => return Ended::Stopped,
                Ok(Start::Held(lease, cursor)) => self.hold(lease, cursor, || backoff.reset()).await,
                Err(error) => Err(Interrupted::Storage(error)),
            };
            match reading {
                Ok(()) => return Ended::Stopped,
                Err(Interrupted::LeaseLost) => {
                    self.context.metrics.lease_losses.inc();
                    warn!(partition = self.id.0, "lease lost, partition dropped");
                }
                Err(Interrupted::Storage(error)) if error.is_transient() => {
                    self.context.metrics.retries_unavailable.inc();
                    warn!(partition = self.id.0, error = %chain(&error), "storage unavailable, batch will be repeated");
                }
                Err(Interrupted::Storage(StorageError::Corrupt { what })) => {
                    error!(partition = self.id.0, record = what, "corrupt record, partition halted");
                    return Ended::Halted;
                }
                Err(Interrupted::Storage(error)) => return Ended::Failed(error),
            }
            if self.stopped_within(backoff.next_wait()).await {
                return Ended::Stopped;
            }
        }
    }

    async fn acquire(&self) -> Result<Start, StorageError> {
        let config = &self.context.config;
        while !*self.stop.borrow() {
            let acquired = self.context.storage.log.acquire(self.id, &self.context.worker, config.lease_ttl).await?;
            if let Acquired::Held { lease, cursor } = acquired {
                return Ok(Start::Held(lease, cursor));
            }
            if self.stopped_within(config.acquire_interval).await {
                break;
            }
        }
        Ok(Start::Stop)
    }

    /// Reads under a lease and gives it back at the end, unless it is lost or is wanted again at once.
    async fn hold(&self, lease: Lease, cursor: Position, progress: impl FnMut()) -> Result<(), Interrupted> {
        debug!(partition = self.id.0, epoch = lease.epoch.0, "partition acquired");
        let outcome = self.read(&lease, cursor, progress).await;
        let give_back = match &outcome {
            Ok(()) => true,
            Err(Interrupted::LeaseLost) => false,
            Err(Interrupted::Storage(error)) => !error.is_transient(),
        };
        if give_back && let Err(error) = self.context.storage.log.release(&lease).await {
            warn!(partition = self.id.0, error = %chain(&error), "lease not given back, it will run out");
        }
        outcome
    }

    /// `Ok` when asked to stop.
    async fn read(&self, lease: &Lease, cursor: Position, mut progress: impl FnMut()) -> Result<(), Interrupted> {
        let context = &self.context;
        let mut held = Held::new(context.clone());
        let mut batches = Batches::new(context.clone(), lease.clone());
        let mut position = cursor;
        self.under_lease(lease, async { Ok(removals::catch_up(context, self.id).await?) }).await?;
        held.set_lag(context.storage.log.lag(self.id).await?);
        let (mut renewed, mut measured) = (Instant::now(), Instant::now());
        while !*self.stop.borrow() {
            let entries = self.next_entries(position).await?;
            // What is acted on must have survived: with a replicated storage, touching the lease here is what proves it.
            if !entries.is_empty() || renewed.elapsed() >= context.config.lease_renew_interval {
                renewed = Instant::now();
                self.renew(lease).await?;
            }
            if measured.elapsed() >= context.config.lease_renew_interval {
                measured = Instant::now();
                held.set_lag(context.storage.log.lag(self.id).await?);
            }
            let Some(last) = entries.last().map(|entry| entry.position) else { continue };
            if !self.act(lease, &mut batches, entries).await? {
                return Ok(());
            }
            position = last;
            progress();
        }
        Ok(())
    }

    /// Empty when none came, or when asked to stop.
    async fn next_entries(&self, after: Position) -> Result<Vec<LogEntry>, StorageError> {
        let config = &self.context.config;
        let wait = config.read_wait.min(config.lease_renew_interval);
        tokio::select! {
            biased;
            () = stopped(&self.stop) => Ok(Vec::new()),
            entries = self.context.storage.log.read(self.id, after, config.batch_max.max(1), wait) => entries,
        }
    }

    /// Processes a batch while the lease is kept. False when a stop did not leave it the time: nothing after the last
    /// commit counts, the next holder repeats it.
    async fn act(&self, lease: &Lease, batches: &mut Batches, entries: Vec<LogEntry>) -> Result<bool, Interrupted> {
        let (context, count, begun) = (&self.context, entries.len(), Instant::now());
        let out_of_time = async {
            stopped(&self.stop).await;
            sleep(context.config.stop_timeout).await;
        };
        tokio::select! {
            biased;
            done = self.under_lease(lease, batches.process(entries)) => done?,
            () = out_of_time => return Ok(false),
        }
        context.metrics.batches.inc();
        context.metrics.batch_events.observe(count as f64);
        context.metrics.batch_duration.observe(begun.elapsed().as_secs_f64());
        Ok(true)
    }

    /// Does `work`, renewing the lease meanwhile; drops it as soon as the lease is lost or may have run out.
    async fn under_lease<T>(
        &self,
        lease: &Lease,
        work: impl Future<Output = Result<T, Interrupted>>,
    ) -> Result<T, Interrupted> {
        let config = &self.context.config;
        let mut work = pin!(work);
        let mut renewed = Instant::now();
        let mut next = renewed + config.lease_renew_interval;
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = sleep_until(next) => {}
            }
            let asked = Instant::now();
            match self.renew(lease).await {
                Ok(()) => renewed = asked,
                Err(Interrupted::Storage(error)) if error.is_transient() && renewed.elapsed() < config.lease_ttl => {}
                Err(interrupted) => return Err(interrupted),
            }
            next = Instant::now() + config.lease_renew_interval;
        }
    }

    async fn renew(&self, lease: &Lease) -> Result<(), Interrupted> {
        match self.context.storage.log.renew(lease, self.context.config.lease_ttl).await? {
            Renewal::Kept => Ok(()),
            Renewal::Lost => Err(Interrupted::LeaseLost),
        }
    }

    /// Waits; true when asked to stop meanwhile.
    async fn stopped_within(&self, wait: Duration) -> bool {
        timeout(wait, stopped(&self.stop)).await.is_ok()
    }
}

/// An error with its causes, for a log line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
