//! The event log: accepted events by partition, read in order by the partition's leaseholder.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{ChatId, Epoch, Event, EventBody, PartitionId, Partitions, Sequence, StorageError, WorkerId};

/// Where an entry stands in its partition. Opaque to callers but for its order; two numbers because a Redis stream id
/// is two. [`Position::START`] is before every entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position(pub u64, pub u64);

impl Position {
    /// Before every entry.
    pub const START: Position = Position(0, 0);
}

/// What makes two appends the same: a digest over sender, device, chat, the client's `mobile_ref_id` and the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DedupeKey(pub [u8; 16]);

/// An event to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// The chat it happened in.
    pub chat: ChatId,
    /// What happened.
    pub body: EventBody,
    /// Set when appending it again must not append it twice.
    pub dedupe: Option<DedupeKey>,
}

/// An event that is in the log, durably.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its place in its chat: the first attempt's, when this was a repetition.
    pub sequence: Sequence,
    /// Whether an earlier append with the same [`DedupeKey`] had put it there.
    pub duplicate: bool,
}

/// Why one event was not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The partition is at its length limit: nothing was written; fanout must catch up first.
    #[error("the partition is full")]
    Full,
    /// The backend failed. The event may or may not be in the log; appending it again with the same key is safe.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// One entry, as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Where it stands.
    pub position: Position,
    /// The sequence of the chat's event before it, when the log still knew one: a reader can see a gap.
    pub previous: Option<Sequence>,
    /// What it says.
    pub event: Event,
}

/// The right to read and commit a partition. Lost when not renewed in time; whoever holds an older epoch is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Which partition.
    pub partition: PartitionId,
    /// Whose.
    pub worker: WorkerId,
    /// Counts up whenever the partition changes hands.
    pub epoch: Epoch,
}

/// What became of asking for a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acquired {
    /// It is ours. `cursor` is the last committed position: read after it.
    Held {
        /// The lease.
        lease: Lease,
        /// The last committed position.
        cursor: Position,
    },
    /// Another live worker holds it.
    Taken,
}

/// What became of renewing a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Renewal {
    /// Still ours, for another time-to-live.
    Kept,
    /// No longer ours: stop acting at once.
    Lost,
}

/// What became of committing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Commit {
    /// The cursor is durably there, and entries at or below it may be gone.
    Done,
    /// The lease is no longer ours: nothing was changed.
    LeaseLost,
}

/// Accepted events. What the promises of the system stand on.
///
/// Per partition, entries are totally ordered by [`Position`]; per chat, [`Sequence`] increases with position.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// How many partitions there are.
    fn partitions(&self) -> Partitions;

    /// Appends events in the order given, and returns one result per event, in that order, once all that succeeded
    /// are durable to the configured level. Events of different partitions may be mixed.
    ///
    /// For each event one atomic step looks its [`DedupeKey`] up, takes the chat's next [`Sequence`] and writes the
    /// entry. A repetition within the dedupe window returns the first attempt's sequence and writes no entry, and it,
    /// too, is durable when this returns. A later event of the same call sees the earlier ones.
    ///
    /// Not cancel safe: a dropped call may still take effect.
    async fn append(&self, events: Vec<NewEvent>) -> Vec<Result<Appended, AppendError>>;

    /// Reads at most `max` entries after `after`, oldest first; waits up to `wait` for the first one. An empty answer
    /// means that none came. Cancel safe.
    ///
    /// What was read is durable once a [`EventLog::renew`] that began afterwards has kept the lease: with a replicated
    /// backend a failover may take an entry back before that. After an error load the position again, from
    /// [`EventLog::acquire`]: one in memory may point past what a new primary has.
    ///
    /// # Errors
    /// Those of the backend.
    async fn read(
        &self,
        partition: PartitionId,
        after: Position,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<LogEntry>, StorageError>;

    /// How many entries stand above the committed cursor.
    ///
    /// # Errors
    /// Those of the backend.
    async fn lag(&self, partition: PartitionId) -> Result<u64, StorageError>;

    /// Says that `worker` lives for `ttl`, and returns every worker that does, itself included, sorted: what partitions
    /// are shared over.
    ///
    /// # Errors
    /// Those of the backend.
    async fn announce(&self, worker: &WorkerId, ttl: Duration) -> Result<Vec<WorkerId>, StorageError>;

    /// Takes back an announcement: a worker that leaves in good order.
    ///
    /// # Errors
    /// Those of the backend.
    async fn retire(&self, worker: &WorkerId) -> Result<(), StorageError>;

    /// Asks for a partition's lease for `ttl`. Granted when nobody holds it, when its time has run out, or when
    /// `worker` holds it already (the epoch then stays).
    ///
    /// # Errors
    /// Those of the backend.
    async fn acquire(&self, partition: PartitionId, worker: &WorkerId, ttl: Duration)
    -> Result<Acquired, StorageError>;

    /// Renews a lease for `ttl` from now. A lease whose time has run out but that nobody took is kept.
    ///
    /// # Errors
    /// Those of the backend; whether the lease is still ours is then unknown.
    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Renewal, StorageError>;

    /// Moves the partition's cursor to `through` and trims entries at or below it, in one step that checks the lease.
    /// Never moves a cursor back. Durable in order: if a commit survives a crash, so does every write that had been
    /// acknowledged before it was called.
    ///
    /// # Errors
    /// Those of the backend.
    async fn commit(&self, lease: &Lease, through: Position) -> Result<Commit, StorageError>;

    /// Gives a lease up, if it is still ours, so that another worker need not wait for it to run out.
    ///
    /// # Errors
    /// Those of the backend.
    async fn release(&self, lease: &Lease) -> Result<(), StorageError>;
}
