//! The event log: a stream, a cursor and a lease per partition.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use redis::Value;

use super::error::Fault;
use super::keys::Keys;
use super::readers::Readers;
use super::records::{fixed, position, text, texts};
use super::router::Router;
use super::scripts::Script;
use crate::{
    Acquired, AppendError, Appended, Commit, Epoch, EventLog, Lease, LogEntry, NewEvent, PartitionId, Partitions,
    Position, Renewal, Sequence, StorageError, WorkerId,
};

/// Events in one script: how long it may hold up the server.
const EVENTS_MAX: usize = 256;
/// For how long a chat's clock is kept after its last event. It outlives any difference between two servers' clocks;
/// without it the next sequence is the server's time, which is later.
const CLOCK_KEPT: Duration = Duration::from_hours(24);

/// The event log in Redis.
pub(super) struct Log {
    pub(super) router: Arc<Router>,
    pub(super) readers: Arc<Readers>,
    pub(super) keys: Keys,
    pub(super) partitions: Partitions,
    pub(super) entries_max: u64,
    pub(super) dedupe_window: Duration,
}

type Outcome = Result<Appended, AppendError>;

impl Log {
    /// Appends one partition's events, in order, and returns each one's outcome behind its place in the call.
    async fn append_to(&self, partition: PartitionId, events: Vec<(usize, NewEvent)>) -> Vec<(usize, Outcome)> {
        let mut outcomes = Vec::with_capacity(events.len());
        for piece in events.chunks(EVENTS_MAX) {
            let places = piece.iter().map(|(place, _)| *place);
            match self.append_piece(partition, piece).await {
                Ok(done) => outcomes.extend(places.zip(done)),
                // Each event gets an error of its own; they say the same.
                Err(fault) => outcomes.extend(places.map(|place| (place, Err(failed(fault.clone()))))),
            }
        }
        outcomes
    }

    async fn append_piece(&self, partition: PartitionId, events: &[(usize, NewEvent)]) -> Result<Vec<Outcome>, Fault> {
        let mut keys = Vec::with_capacity(1 + 2 * events.len());
        keys.push(self.keys.log(partition));
        let mut arguments = Vec::with_capacity(3 + 3 * events.len());
        let milliseconds = [self.dedupe_window, CLOCK_KEPT].map(|duration| duration.as_millis().to_string());
        arguments.push(self.entries_max.to_string().into_bytes());
        arguments.extend(milliseconds.map(String::into_bytes));
        for (_, event) in events {
            let clock = self.keys.clock(partition, &event.chat);
            let shard = event.dedupe.map_or_else(|| clock.clone(), |key| self.keys.dedupe_shard(partition, &key));
            keys.extend([clock, shard]);
            arguments.push(event.chat.as_str().as_bytes().to_vec());
            arguments.push(serde_json::to_vec(&event.body).expect("events have text keys and no failing serializers"));
            arguments.push(event.dedupe.map_or_else(Vec::new, |key| key.0.to_vec()));
        }
        let answers = texts(self.router.write(Script::Append, keys, arguments).await?);
        let answers = answers.filter(|answers| answers.len() == events.len()).ok_or(Fault::Answer("append"))?;
        answers.into_iter().map(|answer| outcome(&answer).ok_or(Fault::Answer("append"))).collect()
    }

    async fn under_lease(&self, script: Script, lease: &Lease, keys: Vec<String>, more: &[u64]) -> Result<bool, Fault> {
        let mut arguments = vec![lease.worker.as_str().as_bytes().to_vec(), lease.epoch.0.to_string().into_bytes()];
        arguments.extend(more.iter().map(|number| number.to_string().into_bytes()));
        match self.router.write(script, keys, arguments).await? {
            Value::Int(held) => Ok(held == 1),
            _ => Err(Fault::Answer("a script under a lease")),
        }
    }
}

fn failed(fault: Fault) -> AppendError {
    AppendError::Storage(fault.into())
}

fn outcome(answer: &str) -> Option<Outcome> {
    if answer == "full" {
        return Some(Err(AppendError::Full));
    }
    let (kind, sequence) = answer.split_at_checked(1)?;
    let duplicate = match kind {
        "+" => false,
        "=" => true,
        _ => return None,
    };
    Some(Ok(Appended { sequence: Sequence(sequence.parse().ok()?), duplicate }))
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[async_trait]
impl EventLog for Log {
    fn partitions(&self) -> Partitions {
        self.partitions
    }

    async fn append(&self, events: Vec<NewEvent>) -> Vec<Outcome> {
        let mut by_partition: BTreeMap<PartitionId, Vec<(usize, NewEvent)>> = BTreeMap::new();
        for (place, event) in events.into_iter().enumerate() {
            by_partition.entry(self.partitions.of(&event.chat)).or_default().push((place, event));
        }
        let appends = by_partition.into_iter().map(|(partition, events)| self.append_to(partition, events));
        let mut outcomes: Vec<_> = join_all(appends).await.into_iter().flatten().collect();
        outcomes.sort_by_key(|(place, _)| *place);
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }

    async fn read(
        &self,
        partition: PartitionId,
        after: Position,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<LogEntry>, StorageError> {
        let key = self.keys.log(partition);
        let entries = self.readers.read(&key, after, max, wait).await?;
        Ok(entries.into_iter().map(|entry| entry.into_log_entry(&key)).collect::<Result<_, _>>()?)
    }

    async fn lag(&self, partition: PartitionId) -> Result<u64, StorageError> {
        let key = self.keys.log(partition);
        let mut command = redis::cmd("XLEN");
        command.arg(&key);
        // Commits trim exactly, so what is there is above the cursor.
        match self.router.read(&key, command).await? {
            Value::Int(entries) => Ok(u64::try_from(entries).unwrap_or(0)),
            _ => Err(Fault::Answer("XLEN").into()),
        }
    }

    async fn announce(&self, worker: &WorkerId, ttl: Duration) -> Result<Vec<WorkerId>, StorageError> {
        let arguments = vec![worker.as_str().as_bytes().to_vec(), milliseconds(ttl).to_string().into_bytes()];
        let answer = self.router.write(Script::Announce, vec![self.keys.workers()], arguments).await?;
        let workers = texts(answer).ok_or(Fault::Answer("announce"))?;
        let workers = workers.into_iter().map(WorkerId::new).collect::<Result<Vec<_>, _>>();
        let mut workers = workers.map_err(|_| Fault::Corrupt(self.keys.workers()))?;
        workers.sort();
        Ok(workers)
    }

    async fn retire(&self, worker: &WorkerId) -> Result<(), StorageError> {
        let key = self.keys.workers();
        let mut command = redis::cmd("ZREM");
        command.arg(&key).arg(worker.as_str());
        self.router.write_plain(&key, command).await?;
        Ok(())
    }

    async fn acquire(
        &self,
        partition: PartitionId,
        worker: &WorkerId,
        ttl: Duration,
    ) -> Result<Acquired, StorageError> {
        let keys = vec![self.keys.lease(partition), self.keys.cursor(partition)];
        let arguments = vec![worker.as_str().as_bytes().to_vec(), milliseconds(ttl).to_string().into_bytes()];
        let answer = self.router.write(Script::Acquire, keys, arguments).await?;
        if answer == Value::Nil {
            return Ok(Acquired::Taken);
        }
        let [epoch, cursor] = fixed(answer).map(|values| values.map(text)).ok_or(Fault::Answer("acquire"))?;
        let epoch = epoch.and_then(|epoch| epoch.parse().ok()).map(Epoch);
        let cursor = cursor.and_then(|cursor| position(cursor.as_bytes()));
        let (Some(epoch), Some(cursor)) = (epoch, cursor) else {
            return Err(Fault::Corrupt(format!("lease or cursor of partition {}", partition.0)).into());
        };
        Ok(Acquired::Held { lease: Lease { partition, worker: worker.clone(), epoch }, cursor })
    }

    async fn renew(&self, lease: &Lease, ttl: Duration) -> Result<Renewal, StorageError> {
        let keys = vec![self.keys.lease(lease.partition)];
        let held = self.under_lease(Script::Renew, lease, keys, &[milliseconds(ttl)]).await?;
        Ok(if held { Renewal::Kept } else { Renewal::Lost })
    }

    async fn commit(&self, lease: &Lease, through: Position) -> Result<Commit, StorageError> {
        let partition = lease.partition;
        let keys = vec![self.keys.lease(partition), self.keys.cursor(partition), self.keys.log(partition)];
        let held = self.under_lease(Script::Commit, lease, keys, &[through.0, through.1]).await?;
        Ok(if held { Commit::Done } else { Commit::LeaseLost })
    }

    async fn release(&self, lease: &Lease) -> Result<(), StorageError> {
        self.under_lease(Script::Release, lease, vec![self.keys.lease(lease.partition)], &[]).await?;
        Ok(())
    }
}
