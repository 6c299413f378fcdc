//! Pending: one row per user and message, and one record per user who has any: how many, and where the first may be.
//! Scans of a user's rows start there; a user who has read everything leaves deleted rows behind that a scan from the
//! first possible key would walk over.

mod expiry;

use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use async_trait::async_trait;

use super::fault::Fault;
use super::keys;
use super::keyspaces::Keyspaces;
use super::records::PendingUserRecord;
use super::store::{Store, View};
use super::writer::Batch;
use crate::{Message, Pending, PendingKey, PendingPage, Sequence, StorageError, UserId};

/// The embedded [`Pending`].
pub(super) struct Notifications {
    store: Arc<Store>,
    /// Counted when the store is opened, kept by the writer.
    rows: Arc<AtomicU64>,
    /// The user the last expiry ended at: the next one goes on there.
    expired_through: Mutex<Option<UserId>>,
}

impl Notifications {
    pub(super) fn open(store: Arc<Store>, spaces: &Keyspaces) -> Result<Self, Fault> {
        let snapshot = spaces.db.read_tx();
        let mut rows = 0;
        for entry in spaces.pending_users.range(&snapshot, Bound::Unbounded, Bound::Unbounded) {
            let (key, value) = entry.into_inner()?;
            let record: PendingUserRecord = spaces.pending_users.parse(&key, &value)?;
            rows += record.rows;
        }
        Ok(Self { store, rows: Arc::new(AtomicU64::new(rows)), expired_through: Mutex::new(None) })
    }

    /// How many rows there are, over all users.
    pub(super) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }
}

fn put_row(batch: &mut Batch<'_>, user: &UserId, message: &Message, rows: &AtomicU64) -> Result<(), Fault> {
    let spaces = batch.spaces;
    let key = keys::pending(user, message.sequence, &message.chat);
    if !spaces.pending.contains(&batch.tx, &key)? {
        let record: Option<PendingUserRecord> = spaces.pending_users.get(&batch.tx, user.as_str().as_bytes())?;
        let record = match record {
            Some(record) => PendingUserRecord { rows: record.rows + 1, oldest: record.oldest.min(message.sequence) },
            None => PendingUserRecord { rows: 1, oldest: message.sequence },
        };
        batch.put(&spaces.pending_users, user.as_str(), &record);
        rows.fetch_add(1, Ordering::Relaxed);
    }
    batch.put(&spaces.pending, key, message);
    batch.promise();
    Ok(())
}

/// Promises nothing by itself: if it is lost in a crash, the rows are pushed and confirmed again.
fn delete_rows(batch: &mut Batch<'_>, user: &UserId, keys: &[PendingKey], rows: &AtomicU64) -> Result<u64, Fault> {
    let spaces = batch.spaces;
    let record: Option<PendingUserRecord> = spaces.pending_users.get(&batch.tx, user.as_str().as_bytes())?;
    let Some(mut record) = record else { return Ok(0) };
    let mut deleted = 0;
    for key in keys {
        let key = keys::pending(user, key.sequence, &key.chat);
        if spaces.pending.contains(&batch.tx, &key)? {
            batch.remove(&spaces.pending, key);
            deleted += 1;
        }
    }
    record.rows = record.rows.saturating_sub(deleted);
    if record.rows == 0 {
        batch.remove(&spaces.pending_users, user.as_str());
    } else if deleted > 0 {
        batch.put(&spaces.pending_users, user.as_str(), &record);
    }
    rows.fetch_sub(deleted, Ordering::Relaxed);
    Ok(deleted)
}

fn user_record(view: &View<'_>, user: &UserId) -> Result<Option<PendingUserRecord>, Fault> {
    view.spaces.pending_users.get(&view.at, user.as_str().as_bytes())
}

fn read_page(view: &View<'_>, user: &UserId, after: Option<&PendingKey>, max: usize) -> Result<PendingPage, Fault> {
    let Some(record) = user_record(view, user)? else { return Ok(PendingPage { messages: Vec::new(), next: None }) };
    let from = match after {
        Some(after) if after.sequence >= record.oldest => {
            Bound::Excluded(keys::pending(user, after.sequence, &after.chat))
        }
        _ => Bound::Included(first_possible(user, record.oldest)),
    };
    let pending = &view.spaces.pending;
    let rows = pending.range(&view.at, from, keys::end_below(user.as_str())).take(max).map(|entry| {
        let (key, value) = entry.into_inner()?;
        pending.parse::<Message>(&key, &value)
    });
    let messages = rows.collect::<Result<Vec<_>, Fault>>()?;
    let next = if messages.len() == max { messages.last().map(PendingKey::of) } else { None };
    Ok(PendingPage { messages, next })
}

/// Before every row of `user` that is not older than `oldest`.
fn first_possible(user: &UserId, oldest: Sequence) -> Vec<u8> {
    keys::number_below(user.as_str(), oldest.0)
}

#[async_trait]
impl Pending for Notifications {
    async fn put(&self, rows: &[(UserId, Message)]) -> Result<(), StorageError> {
        if rows.is_empty() {
            return Ok(());
        }
        let (new, count) = (rows.to_vec(), self.rows.clone());
        let put = move |batch: &mut Batch<'_>| {
            new.iter().try_for_each(|(user, message)| put_row(batch, user, message, &count))
        };
        self.store.write(rows.len(), put).await
    }

    async fn page(&self, user: &UserId, after: Option<&PendingKey>, max: usize) -> Result<PendingPage, StorageError> {
        let (user, after) = (user.clone(), after.cloned());
        self.store.scan(move |view| read_page(view, &user, after.as_ref(), max)).await
    }

    async fn delete(&self, user: &UserId, keys: &[PendingKey]) -> Result<u64, StorageError> {
        if keys.is_empty() {
            return Ok(0);
        }
        let (user, keys, count) = (user.clone(), keys.to_vec(), self.rows.clone());
        self.store.write(keys.len(), move |batch| delete_rows(batch, &user, &keys, &count)).await
    }

    async fn count(&self, user: &UserId) -> Result<u64, StorageError> {
        self.store.read(|view| Ok(user_record(view, user)?.map_or(0, |record| record.rows)))
    }

    async fn expire(&self, before: SystemTime, max: usize) -> Result<u64, StorageError> {
        expiry::expire(self, before, max).await
    }
}
