//! Appending: dedupe, sequence and entry in one step; and sweeping dedupe records whose window is over.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::LogState;
use crate::embedded::fault::Fault;
use crate::embedded::keys;
use crate::embedded::records::{ClockRecord, DedupeRecord, EventRecord};
use crate::embedded::store::Store;
use crate::embedded::writer::Batch;
use crate::{AppendError, Appended, Event, NewEvent, PartitionId, Sequence, StorageError};

/// How many expired dedupe records go per event appended: more than one, so that a backlog shrinks.
const SWEPT_PER_EVENT: usize = 2;

/// How far the sweep has come.
#[derive(Default)]
pub(super) struct Sweep {
    /// The last swept key of `dedupe_ages`. Scans begin after it: before it are only deleted keys to walk over.
    after: Vec<u8>,
}

pub(super) async fn append(
    store: &Store,
    state: &Arc<LogState>,
    events: Vec<NewEvent>,
) -> Vec<Result<Appended, AppendError>> {
    let count = events.len();
    if count == 0 {
        return Vec::new();
    }
    let state = state.clone();
    match store.write(count, move |batch| append_all(&state, batch, events)).await {
        Ok(results) => results,
        // The failure is the same for all; each gets its own copy, and the cause is shared.
        Err(error) => {
            let again = |_| Err(AppendError::Storage(store.failure.get_or_closed()));
            std::iter::once(Err(AppendError::Storage(error))).chain((1..count).map(again)).collect()
        }
    }
}

fn append_all(
    state: &Arc<LogState>,
    batch: &mut Batch<'_>,
    events: Vec<NewEvent>,
) -> Result<Vec<Result<Appended, AppendError>>, Fault> {
    let now = SystemTime::now();
    let swept_max = events.len() * SWEPT_PER_EVENT;
    let mut grown = BTreeMap::new();
    let mut results = Vec::with_capacity(events.len());
    for event in events {
        results.push(match append_one(state, batch, event, now, &mut grown) {
            Ok(result) => result,
            Err(Fault::Corrupt(what)) => Err(AppendError::Storage(StorageError::Corrupt { what })),
            Err(fault) => return Err(fault),
        });
    }
    sweep(state, batch, micros(now), swept_max)?;
    if !grown.is_empty() {
        batch.promise();
        let state = state.clone();
        batch.after_commit(move || {
            for (partition, last) in grown {
                state.head(partition).durable.send_replace(last);
            }
        });
    }
    Ok(results)
}

/// Reads first, then writes: a corrupt record leaves nothing half done.
fn append_one(
    state: &LogState,
    batch: &mut Batch<'_>,
    new: NewEvent,
    now: SystemTime,
    grown: &mut BTreeMap<PartitionId, u64>,
) -> Result<Result<Appended, AppendError>, Fault> {
    let spaces = batch.spaces;
    if let Some(key) = &new.dedupe
        && let Some(first) = spaces.dedupe.get::<DedupeRecord>(&batch.tx, &key.0)?
        && first.accepted_at.saturating_add(window_micros(state)) > micros(now)
    {
        // Durable already, or in this same batch, which is synced because of it.
        return Ok(Ok(Appended { sequence: first.sequence, duplicate: true }));
    }
    let partition = state.partitions.of(&new.chat);
    let mut head = state.head(partition).lock();
    if head.last - head.cursor >= state.entries_max {
        return Ok(Err(AppendError::Full));
    }
    let clock: Option<ClockRecord> = spaces.clocks.get(&batch.tx, new.chat.as_str().as_bytes())?;
    let previous = clock.map(|clock| clock.last);
    let sequence = Sequence::next(previous, now);

    head.last += 1;
    grown.insert(partition, head.last);
    batch.put(&spaces.clocks, new.chat.as_str(), &ClockRecord { last: sequence });
    let event = Event { chat: new.chat, sequence, body: new.body };
    batch.put(&spaces.events, keys::event(partition, head.last), &EventRecord { previous, event });
    if let Some(key) = new.dedupe {
        batch.put(&spaces.dedupe, key.0, &DedupeRecord { sequence, accepted_at: micros(now) });
        batch.mark(&spaces.dedupe_ages, keys::dedupe_age(micros(now), &key));
    }
    Ok(Ok(Appended { sequence, duplicate: false }))
}

/// Deletes at most `max` dedupe records whose window is over.
fn sweep(state: &LogState, batch: &mut Batch<'_>, now: u64, max: usize) -> Result<(), Fault> {
    let spaces = batch.spaces;
    let mut sweep = state.sweep.lock().expect("the sweep's lock is never poisoned: only the writer takes it");
    let over = now.saturating_sub(window_micros(state));
    let ages = spaces.dedupe_ages.range(
        &batch.tx,
        Bound::Excluded(sweep.after.clone()),
        Bound::Excluded(over.to_be_bytes().to_vec()),
    );
    let ages = ages.take(max).map(|age| Ok(age.key()?.to_vec())).collect::<fjall::Result<Vec<_>>>()?;
    for age in ages {
        let (accepted_at, key) = keys::split_dedupe_age(&age).ok_or_else(|| spaces.dedupe_ages.corrupt(&age))?;
        // A key that was used again after its window has a younger record, which stays.
        if is_as_old(spaces.dedupe.get(&batch.tx, &key.0)?, accepted_at) {
            batch.remove(&spaces.dedupe, key.0);
        }
        batch.remove(&spaces.dedupe_ages, age.clone());
        sweep.after = age;
    }
    Ok(())
}

fn is_as_old(record: Option<DedupeRecord>, accepted_at: u64) -> bool {
    record.is_some_and(|record| record.accepted_at == accepted_at)
}

fn window_micros(state: &LogState) -> u64 {
    u64::try_from(state.dedupe_window.as_micros()).unwrap_or(u64::MAX)
}

fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
