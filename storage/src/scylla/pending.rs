//! Pending: one partition per user, oldest first.
//!
//! Rows are written and deleted at the message's own time (see `pending_put.cql`). So nothing depends on the clocks of
//! the nodes, and a row that is stored again after it was confirmed stays away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::batches::{pieces, weight};
use super::client::Client;

use super::rows::{self, Partition, number};
use crate::{ChatId, Message, Pending, PendingKey, PendingPage, StorageError, UserId};

/// Users whose rows one call writes at once.
const USERS_AT_ONCE: usize = 64;

/// The [`Pending`] of this backend.
pub(super) struct Notifications {
    client: Arc<Client>,
    /// Seconds.
    ttl: i32,
}

impl Notifications {
    pub(super) fn new(client: Arc<Client>, ttl: i32) -> Self {
        Self { client, ttl }
    }

    /// One batch after the other: whoever reads meanwhile does not find a message without those before it.
    async fn put_of_user(&self, user: UserId, rows: BTreeMap<PendingKey, Message>) -> Result<(), StorageError> {
        let texts = |row: &Message| weight(&[row.chat.as_str(), row.sender.as_str(), &row.content]);
        for piece in pieces(rows.into_values(), texts) {
            let values: Vec<_> = piece
                .iter()
                .map(|row| {
                    let sequence = number(row.sequence);
                    let (chat, sender) = (row.chat.as_str(), row.sender.as_str());
                    (user.as_str(), sequence, chat, sender, &*row.content, sequence, self.ttl)
                })
                .collect();
            let statements = vec![&self.client.statements.pending_put; values.len()];
            self.client.write_batch(statements, &values).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Pending for Notifications {
    async fn put(&self, rows: &[(UserId, Message)]) -> Result<(), StorageError> {
        let mut users: BTreeMap<UserId, BTreeMap<PendingKey, Message>> = BTreeMap::new();
        for (user, message) in rows {
            users.entry(user.clone()).or_default().insert(PendingKey::of(message), message.clone());
        }
        let puts = stream::iter(users).map(|(user, rows)| self.put_of_user(user, rows));
        puts.buffer_unordered(USERS_AT_ONCE).try_collect().await
    }

    async fn page(&self, user: &UserId, after: Option<&PendingKey>, max: usize) -> Result<PendingPage, StorageError> {
        if max == 0 {
            return Ok(PendingPage { messages: Vec::new(), next: after.cloned() });
        }
        let (client, statements) = (&self.client, &self.client.statements);
        let partition = Partition { table: "pending", key: user.as_str() };
        let parse = |(sequence, chat, sender, content): (i64, String, String, String)| {
            let chat = ChatId::new(chat).map_err(|_| partition.corrupt())?;
            rows::message(partition, &chat, (sequence, sender, content))
        };
        let limit = rows::limit(max);
        let messages = match after {
            None => client.read(&statements.pending_page_first, (user.as_str(), limit), partition, parse).await?,
            Some(after) => {
                let values = (user.as_str(), number(after.sequence), after.chat.as_str(), limit);
                client.read(&statements.pending_page_after, values, partition, parse).await?
            }
        };
        let next = if messages.len() == max { messages.last().map(PendingKey::of) } else { None };
        Ok(PendingPage { messages, next })
    }

    async fn delete(&self, user: &UserId, keys: &[PendingKey]) -> Result<u64, StorageError> {
        for piece in pieces(keys, |key| weight(&[user.as_str(), key.chat.as_str()])) {
            let values: Vec<_> = piece
                .iter()
                .map(|key| (number(key.sequence), user.as_str(), number(key.sequence), key.chat.as_str()))
                .collect();
            let statements = vec![&self.client.statements.pending_delete; values.len()];
            self.client.write_batch(statements, &values).await?;
        }
        Ok(keys.len() as u64)
    }

    async fn count(&self, user: &UserId) -> Result<u64, StorageError> {
        let statement = &self.client.statements.pending_sequences;
        let partition = Partition { table: "pending", key: user.as_str() };
        let rows = self.client.read(statement, (user.as_str(),), partition, |_: (i64,)| Ok(())).await?;
        Ok(rows.len() as u64)
    }

    /// Rows carry their time to live.
    async fn expire(&self, _before: SystemTime, _max: usize) -> Result<u64, StorageError> {
        Ok(0)
    }
}
