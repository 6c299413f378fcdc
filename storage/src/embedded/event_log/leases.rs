//! Leases, cursors and who lives. Leases and announcements are in memory, epochs and cursors in the store.

use std::time::Duration;

use tokio::time::Instant;

use super::{HeadState, Holder, LogState};
use crate::embedded::keys;
use crate::embedded::records::PartitionRecord;
use crate::embedded::writer::Batch;
use crate::{Acquired, Commit, Epoch, Lease, PartitionId, Position, Renewal, WorkerId};

impl HeadState {
    /// Whether `lease` is still the newest: its time may have run out, but nobody took it.
    fn is_held_by(&self, lease: &Lease) -> bool {
        self.epoch == lease.epoch.0 && self.holder.as_ref().is_some_and(|holder| holder.worker == lease.worker)
    }

    fn record(&self) -> PartitionRecord {
        PartitionRecord { cursor: self.cursor, epoch: self.epoch }
    }
}

impl LogState {
    /// The epoch is on the disk before the lease is granted, so no later life of the store grants it again.
    pub(super) fn acquire(
        &self,
        batch: &mut Batch<'_>,
        partition: PartitionId,
        worker: WorkerId,
        ttl: Duration,
    ) -> Acquired {
        let mut head = self.head(partition).lock();
        let now = Instant::now();
        match &head.holder {
            Some(holder) if holder.worker == worker => {}
            Some(holder) if holder.until > now => return Acquired::Taken,
            _ => {
                head.epoch += 1;
                batch.put(&batch.spaces.partitions, keys::partition(partition), &head.record());
                batch.promise();
            }
        }
        head.holder = Some(Holder { worker: worker.clone(), until: now + ttl });
        let lease = Lease { partition, worker, epoch: Epoch(head.epoch) };
        Acquired::Held { lease, cursor: Position(0, head.cursor) }
    }

    pub(super) fn renew(&self, lease: &Lease, ttl: Duration) -> Renewal {
        let mut head = self.head(lease.partition).lock();
        if !head.is_held_by(lease) {
            return Renewal::Lost;
        }
        head.holder = Some(Holder { worker: lease.worker.clone(), until: Instant::now() + ttl });
        Renewal::Kept
    }

    /// Promises nothing by itself: if it is lost in a crash, entries are read again.
    pub(super) fn commit(&self, batch: &mut Batch<'_>, lease: &Lease, through: u64) -> Commit {
        let mut head = self.head(lease.partition).lock();
        if !head.is_held_by(lease) {
            return Commit::LeaseLost;
        }
        let through = through.min(head.last);
        if through > head.cursor {
            for position in head.cursor + 1..=through {
                batch.remove(&batch.spaces.events, keys::event(lease.partition, position));
            }
            head.cursor = through;
            batch.put(&batch.spaces.partitions, keys::partition(lease.partition), &head.record());
        }
        Commit::Done
    }

    pub(super) fn release(&self, lease: &Lease) {
        let mut head = self.head(lease.partition).lock();
        if head.is_held_by(lease) {
            head.holder = None;
        }
    }

    pub(super) fn announce(&self, worker: &WorkerId, ttl: Duration) -> Vec<WorkerId> {
        let now = Instant::now();
        let mut workers = self.workers.lock().expect("the workers' lock is never poisoned");
        workers.insert(worker.clone(), now + ttl);
        workers.retain(|_, until| *until > now);
        workers.keys().cloned().collect()
    }

    pub(super) fn retire(&self, worker: &WorkerId) {
        self.workers.lock().expect("the workers' lock is never poisoned").remove(worker);
    }
}
