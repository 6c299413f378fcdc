//! One fanout process: announces itself, holds the partitions that belong to it, runs the reaper.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use roost_storage::{PartitionId, Storage, StorageError, WorkerId};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};

use crate::assignment::owner;
use crate::context::{Context, stopped};
use crate::partition::{Ended, Partition, chain};
use crate::reaper::Reaper;
use crate::retry::Backoff;
use crate::{FanoutConfig, FanoutMetrics};

/// Why fanout can not go on. The process should exit with it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FanoutFailure {
    /// The storage failed for good.
    #[error("the storage failed")]
    Storage(#[source] Arc<StorageError>),
    /// A task panicked: a bug.
    #[error("a task of the fanout panicked")]
    Panicked,
}

/// The fanout of one process. Dropping it stops everything at once, as a crash would: nothing is lost, leases run out.
pub struct Fanout {
    stop: watch::Sender<bool>,
    failure: watch::Receiver<Option<FanoutFailure>>,
    announced: Announced,
    coordinator: JoinHandle<()>,
}

/// Whether a fanout is known to the others: shared, and good after it has ended.
#[derive(Debug, Clone)]
pub struct Announced {
    until: watch::Receiver<Option<Instant>>,
}

impl Announced {
    /// Whether its last announcement is believed now. Before the first one, after a stop and after a failure it is not.
    pub fn now(&self) -> bool {
        self.until.borrow().is_some_and(|until| Instant::now() < until)
    }
}

impl Fanout {
    /// Starts reading and reaping on the current tokio runtime, as a new worker.
    pub fn start(storage: Storage, config: FanoutConfig, metrics: Arc<FanoutMetrics>) -> Fanout {
        let worker = WorkerId::random();
        info!(worker.id = %worker, "fanout started");
        let context = Arc::new(Context::new(storage, config, metrics, worker));
        let (stop, stopped) = watch::channel(false);
        let (failed, failure) = watch::channel(None);
        let (announced, until) = watch::channel(None);
        let coordinator = tokio::spawn(Coordinator::new(context, stopped, failed, announced).run());
        Fanout { stop, failure, announced: Announced { until }, coordinator }
    }

    /// Whether it is announced, for readiness.
    pub fn announced(&self) -> Announced {
        self.announced.clone()
    }

    /// Lets every partition finish its batch (for [`FanoutConfig::stop_timeout`] at most), gives the leases back and
    /// takes the announcement back, so that other workers need not wait.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        // An error is a panic, and that was reported as a failure.
        let _ = (&mut self.coordinator).await;
    }

    /// Completes when fanout can not go on, with the reason; never otherwise. Cancel safe.
    pub async fn failed(&self) -> FanoutFailure {
        let mut failure = self.failure.clone();
        if let Ok(failure) = failure.wait_for(Option::is_some).await {
            return failure.clone().expect("waited for one");
        }
        if *self.stop.borrow() { std::future::pending().await } else { FanoutFailure::Panicked }
    }
}

impl Drop for Fanout {
    fn drop(&mut self) {
        self.coordinator.abort();
    }
}

struct Coordinator {
    context: Arc<Context>,
    stop: watch::Receiver<bool>,
    failed: watch::Sender<Option<FanoutFailure>>,
    /// Until when the last announcement is believed.
    announced: watch::Sender<Option<Instant>>,
    tasks: JoinSet<(PartitionId, Ended)>,
    /// How to stop the task of each partition that has one.
    running: HashMap<PartitionId, watch::Sender<bool>>,
    /// Not started again by this process.
    halted: HashSet<PartitionId>,
}

impl Coordinator {
    fn new(
        context: Arc<Context>,
        stop: watch::Receiver<bool>,
        failed: watch::Sender<Option<FanoutFailure>>,
        announced: watch::Sender<Option<Instant>>,
    ) -> Self {
        Self {
            context,
            stop,
            failed,
            announced,
            tasks: JoinSet::new(),
            running: HashMap::new(),
            halted: HashSet::new(),
        }
    }

    async fn run(mut self) {
        let mut reaper = JoinSet::new();
        reaper.spawn(Reaper::new(self.context.clone(), self.stop.clone()).run());
        let mut backoff = self.context.backoff();
        let mut announce_at = Instant::now();
        let stop = self.stop.clone();
        let outcome = loop {
            tokio::select! {
                () = stopped(&stop) => break Ok(()),
                Some(ended) = self.tasks.join_next() => if let Err(failure) = self.on_ended(ended) { break Err(failure) },
                Some(reaped) = reaper.join_next() => match reaped {
                    // It ends by itself only after a stop, which the first branch sees next.
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => break Err(FanoutFailure::Storage(Arc::new(error))),
                    Err(_) => break Err(FanoutFailure::Panicked),
                },
                () = sleep_until(announce_at) => match self.announce(&mut backoff).await {
                    Ok(next) => announce_at = next,
                    Err(error) => break Err(FanoutFailure::Storage(Arc::new(error))),
                },
            }
        };
        self.announced.send_replace(None);
        match outcome {
            Ok(()) => self.leave(reaper).await,
            Err(failure) => {
                error!(error = %chain(&failure), "fanout can not go on");
                self.tasks.shutdown().await;
                reaper.shutdown().await;
                self.failed.send_replace(Some(failure));
            }
        }
    }

    /// Says that this worker lives, and shares the partitions over those that do. Returns when to do it again.
    async fn announce(&mut self, backoff: &mut Backoff) -> Result<Instant, StorageError> {
        let (context, asked) = (self.context.clone(), Instant::now());
        match context.storage.log.announce(&context.worker, context.config.lease_ttl).await {
            Ok(workers) => {
                backoff.reset();
                self.announced.send_replace(Some(asked + context.config.lease_ttl));
                self.assign(&workers);
                Ok(Instant::now() + context.config.lease_renew_interval)
            }
            Err(error) if error.is_transient() => {
                context.metrics.retries_unavailable.inc();
                warn!(error = %chain(&error), "storage unavailable, worker not announced");
                Ok(Instant::now() + backoff.next_wait())
            }
            Err(error) => Err(error),
        }
    }

    fn assign(&mut self, workers: &[WorkerId]) {
        for partition in self.context.storage.log.partitions().all() {
            let ours = owner(partition, workers) == Some(&self.context.worker) && !self.halted.contains(&partition);
            match self.running.get(&partition) {
                Some(stop) if !ours => {
                    stop.send_replace(true);
                }
                None if ours => {
                    let (stop, stopped) = watch::channel(false);
                    self.running.insert(partition, stop);
                    let task = Partition::new(self.context.clone(), partition, stopped);
                    self.tasks.spawn(async move { (partition, task.run().await) });
                }
                _ => {}
            }
        }
    }

    fn on_ended(&mut self, ended: Result<(PartitionId, Ended), JoinError>) -> Result<(), FanoutFailure> {
        let Ok((partition, ended)) = ended else { return Err(FanoutFailure::Panicked) };
        self.running.remove(&partition);
        match ended {
            Ended::Stopped => Ok(()),
            Ended::Halted => {
                self.context.metrics.partitions_halted.inc();
                self.halted.insert(partition);
                Ok(())
            }
            Ended::Failed(error) => Err(FanoutFailure::Storage(Arc::new(error))),
        }
    }

    async fn leave(mut self, mut reaper: JoinSet<Result<(), StorageError>>) {
        for stop in self.running.values() {
            stop.send_replace(true);
        }
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(failure) = self.on_ended(ended) {
                error!(error = %chain(&failure), "fanout failed while it stopped");
                self.failed.send_replace(Some(failure));
            }
        }
        // What it did not finish the next worker repeats.
        reaper.shutdown().await;
        if let Err(error) = self.context.storage.log.retire(&self.context.worker).await {
            warn!(error = %chain(&error), "announcement not taken back, it will run out");
        }
        info!(worker.id = %self.context.worker, "fanout stopped");
    }
}
