//! The event log: per partition a counter for positions, and a cursor below which nothing is left.

mod append;
mod leases;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;

use self::append::Sweep;
use super::EmbeddedConfig;
use super::fault::Fault;
use super::keys;
use super::keyspaces::Keyspaces;
use super::records::{EventRecord, PartitionRecord};
use super::store::{Store, View};
use crate::{
    Acquired, AppendError, Appended, Commit, EventLog, Lease, LogEntry, NewEvent, PartitionId, Partitions, Position,
    Renewal, StorageError, WorkerId,
};

/// The embedded [`EventLog`].
pub(super) struct Log {
    store: Arc<Store>,
    state: Arc<LogState>,
}

/// What the writer's closures work on.
pub(super) struct LogState {
    partitions: Partitions,
    heads: Vec<Head>,
    /// Who lives, and until when. In memory: when this process dies, so do they.
    workers: Mutex<BTreeMap<WorkerId, Instant>>,
    sweep: Mutex<Sweep>,
    dedupe_window: Duration,
    entries_max: u64,
}

/// One partition.
struct Head {
    /// Written by the writer thread, but for lease renewals.
    state: Mutex<HeadState>,
    /// The last position whose batch is committed: what readers wait for.
    durable: watch::Sender<u64>,
}

/// Positions count up by one, so `last - cursor` is the number of entries.
struct HeadState {
    last: u64,
    cursor: u64,
    epoch: u64,
    /// In memory: the store belongs to one process, so nobody holds a lease when it is opened.
    holder: Option<Holder>,
}

struct Holder {
    worker: WorkerId,
    until: Instant,
}

impl Log {
    pub(super) fn open(
        store: Arc<Store>,
        spaces: &Keyspaces,
        partitions: Partitions,
        config: &EmbeddedConfig,
    ) -> Result<Self, Fault> {
        let snapshot = spaces.db.read_tx();
        let heads = partitions.all().map(|id| {
            let record: Option<PartitionRecord> = spaces.partitions.get(&snapshot, &keys::partition(id))?;
            let PartitionRecord { cursor, epoch } = record.unwrap_or_default();
            // Not from the partition's beginning: below the cursor are only deleted entries to walk over.
            let mut entries = spaces.events.range(
                &snapshot,
                Bound::Excluded(keys::event(id, cursor)),
                Bound::Included(keys::event(id, u64::MAX)),
            );
            let last = match entries.next_back() {
                Some(entry) => position_of(&entry.key()?),
                None => cursor,
            };
            let state = Mutex::new(HeadState { last, cursor, epoch, holder: None });
            Ok(Head { state, durable: watch::channel(last).0 })
        });
        let state = LogState {
            partitions,
            heads: heads.collect::<Result<_, Fault>>()?,
            workers: Mutex::default(),
            sweep: Mutex::default(),
            dedupe_window: config.dedupe_window,
            entries_max: config.partition_entries_max,
        };
        Ok(Self { store, state: Arc::new(state) })
    }

    /// How many entries stand above the cursors.
    pub(super) fn entries(&self) -> u64 {
        self.state.partitions.all().map(|id| self.state.head(id).lag()).sum()
    }
}

impl LogState {
    /// # Panics
    /// If there is no such partition: ids come from [`Partitions`].
    fn head(&self, id: PartitionId) -> &Head {
        &self.heads[usize::from(id.0)]
    }
}

impl Head {
    fn lock(&self) -> std::sync::MutexGuard<'_, HeadState> {
        self.state.lock().expect("a partition's lock is never poisoned: nothing under it panics")
    }

    fn lag(&self) -> u64 {
        let state = self.lock();
        state.last - state.cursor
    }
}

/// The position inside an event's key.
fn position_of(key: &[u8]) -> u64 {
    key.last_chunk::<8>().map_or(0, |position| u64::from_be_bytes(*position))
}

fn read_entries(view: &View<'_>, partition: PartitionId, after: u64, max: usize) -> Result<Vec<LogEntry>, Fault> {
    let events = &view.spaces.events;
    let from = Bound::Excluded(keys::event(partition, after));
    let to = Bound::Included(keys::event(partition, u64::MAX));
    let entries = events.range(&view.at, from, to).take(max).map(|entry| {
        let (key, value) = entry.into_inner()?;
        let EventRecord { previous, event } = events.parse(&key, &value)?;
        Ok(LogEntry { position: Position(0, position_of(&key)), previous, event })
    });
    entries.collect()
}

#[async_trait]
impl EventLog for Log {
    fn partitions(&self) -> Partitions {
        self.state.partitions
    }

    async fn append(&self, events: Vec<NewEvent>) -> Vec<Result<Appended, AppendError>> {
        append::append(&self.store, &self.state, events).await
    }

    async fn read(
        &self,
        partition: PartitionId,
        after: Position,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<LogEntry>, StorageError> {
        let head = self.state.head(partition);
        // Entries at or below the cursor are gone; waiting for them would end at once, again and again.
        let after = after.1.max(head.lock().cursor);
        let mut durable = head.durable.subscribe();
        tokio::select! {
            biased;
            _ = durable.wait_for(|last| *last > after) => {}
            () = tokio::time::sleep(wait) => return Ok(Vec::new()),
            failure = self.store.failure.wait() => return Err(failure),
        }
        self.store.read(|view| read_entries(view, partition, after, max))
    }

    async fn lag(&self, partition: PartitionId) -> Result<u64, StorageError> {
        Ok(self.state.head(partition).lag())
    }

    async fn announce(&self, worker: &WorkerId, ttl: Duration) -> Result<Vec<WorkerId>, StorageError> {
        Ok(self.state.announce(worker, ttl))
    }

    async fn retire(&self, worker: &WorkerId) -> Result<(), StorageError> {
        self.state.retire(worker);
        Ok(())
    }

    async fn acquire(
        &self,
        partition: PartitionId,
        worker: &WorkerId,
        ttl: Duration,
    ) -> Result<Acquired, StorageError> {
        let (state, worker) = (self.state.clone(), worker.clone());
        self.store.write(1, move |batch| Ok(state.acquire(batch, partition, worker, ttl))).await
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Renewal, StorageError> {
        Ok(self.state.renew(lease, ttl))
    }

    async fn commit(&self, lease: &Lease, through: Position) -> Result<Commit, StorageError> {
        let (state, lease) = (self.state.clone(), lease.clone());
        self.store.write(1, move |batch| Ok(state.commit(batch, &lease, through.1))).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), StorageError> {
        self.state.release(lease);
        Ok(())
    }
}
