//! Cursors: one partition per user, one row per chat.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::batches::{pieces, weight};
use super::client::Client;
use super::rows::{Partition, json};
use crate::{ChatId, Cursor, Cursors, StorageError, UserId};

/// Users whose rows one call writes at once.
const USERS_AT_ONCE: usize = 64;

/// The [`Cursors`] of this backend.
pub(super) struct Places {
    client: Arc<Client>,
    /// Seconds.
    ttl: i32,
    clock: Clock,
}

/// Times of writes, in microseconds: those of this machine's clock, but always after one another, so that a write that
/// is sent again does not undo the one after it, and two in one microsecond do not mix.
struct Clock(AtomicI64);

impl Clock {
    fn next(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        self.after(i64::try_from(now).unwrap_or(0))
    }

    fn after(&self, now: i64) -> i64 {
        let next = |last: i64| now.max(last.saturating_add(1));
        let last = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        last.map_or(now, next)
    }
}

impl Places {
    pub(super) fn new(client: Arc<Client>, ttl: i32) -> Self {
        Self { client, ttl, clock: Clock(AtomicI64::new(0)) }
    }

    async fn put_of_user(&self, user: UserId, rows: BTreeMap<ChatId, Cursor>) -> Result<(), StorageError> {
        let rows = rows.into_iter().map(|(chat, cursor)| (chat, json(&cursor)));
        let at = self.clock.next();
        for piece in pieces(rows, |(chat, cursor)| weight(&[user.as_str(), chat.as_str(), cursor])) {
            let values = piece.iter().map(|(chat, cursor)| (user.as_str(), chat.as_str(), &**cursor, at, self.ttl));
            let values: Vec<_> = values.collect();
            let statements = vec![&self.client.statements.cursors_put; values.len()];
            self.client.write_batch(statements, &values).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Cursors for Places {
    async fn put(&self, rows: &[(UserId, ChatId, Cursor)]) -> Result<(), StorageError> {
        let mut users: BTreeMap<UserId, BTreeMap<ChatId, Cursor>> = BTreeMap::new();
        for (user, chat, cursor) in rows {
            users.entry(user.clone()).or_default().insert(chat.clone(), *cursor);
        }
        let puts = stream::iter(users).map(|(user, rows)| self.put_of_user(user, rows));
        puts.buffer_unordered(USERS_AT_ONCE).try_collect().await
    }

    async fn of(&self, user: &UserId) -> Result<Vec<(ChatId, Cursor)>, StorageError> {
        let partition = Partition { table: "cursors", key: user.as_str() };
        let parse = |(chat, cursor): (String, String)| {
            let chat = ChatId::new(chat).map_err(|_| partition.corrupt())?;
            Ok((chat, partition.parse(&cursor)?))
        };
        self.client.read(&self.client.statements.cursors_of, (user.as_str(),), partition, parse).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_write_is_at_or_before_the_one_before_it_whatever_the_clock_does() {
        let clock = Clock(AtomicI64::new(0));
        let times = [5, 5, 3, 7, 20, 8].map(|now| clock.after(now));
        assert_eq!(times, [5, 6, 7, 8, 20, 21]);
    }
}
