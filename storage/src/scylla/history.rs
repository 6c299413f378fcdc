//! History: one partition per chat and day.

mod buckets;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::try_join_all;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use self::buckets::{Buckets, Listing, bucket_of};
use super::batches::{pieces, weight};
use super::client::Client;
use super::rows::{self, Partition, number};
use crate::{ChatId, Direction, History, Message, Sequence, StorageError};

/// Chats whose messages one call writes at once.
const CHATS_AT_ONCE: usize = 64;
/// Days one call reads at once, at most: for chats in which little is said.
const BUCKETS_AT_ONCE: usize = 8;

/// The [`History`] of this backend.
pub(super) struct Rows {
    client: Arc<Client>,
    buckets: Buckets,
    /// Seconds; 0 is for ever.
    ttl: i32,
}

impl Rows {
    pub(super) fn new(client: Arc<Client>, ttl: i32) -> Self {
        Self { buckets: Buckets::new(client.clone(), ttl), client, ttl }
    }

    /// Oldest first, one batch after the other: whoever reads meanwhile does not find a message without those before it.
    async fn append_to_chat(&self, chat: ChatId, messages: BTreeMap<Sequence, Message>) -> Result<(), StorageError> {
        let mut days: BTreeMap<i64, Vec<Message>> = BTreeMap::new();
        for (sequence, message) in messages {
            days.entry(bucket_of(sequence)).or_default().push(message);
        }
        for (bucket, messages) in days {
            self.buckets.remember(&chat, bucket).await?;
            for piece in pieces(messages, |message| weight(&[message.sender.as_str(), &message.content])) {
                self.append_piece(&chat, bucket, &piece).await?;
            }
        }
        Ok(())
    }

    async fn append_piece(&self, chat: &ChatId, bucket: i64, messages: &[Message]) -> Result<(), StorageError> {
        let values: Vec<_> = messages
            .iter()
            .map(|message| {
                let sequence = number(message.sequence);
                (chat.as_str(), bucket, sequence, message.sender.as_str(), &*message.content, sequence, self.ttl)
            })
            .collect();
        let statements = vec![&self.client.statements.history_put; values.len()];
        self.client.write_batch(statements, &values).await
    }

    async fn read_bucket(
        &self,
        chat: &ChatId,
        bucket: i64,
        from: Option<Sequence>,
        direction: Direction,
        max: usize,
    ) -> Result<Vec<Message>, StorageError> {
        let statements = &self.client.statements;
        let (statement, from) = match direction {
            Direction::Forward => (&statements.history_forward, from.map_or(-1, number)),
            Direction::Backward => (&statements.history_backward, from.map_or(i64::MAX, number)),
        };
        let partition = Partition { table: "history", key: chat.as_str() };
        let parse = |row: (i64, String, String)| rows::message(partition, chat, row);
        self.client.read(statement, (chat.as_str(), bucket, from, rows::limit(max)), partition, parse).await
    }
}

#[async_trait]
impl History for Rows {
    async fn append(&self, messages: &[Message]) -> Result<(), StorageError> {
        let mut chats: BTreeMap<ChatId, BTreeMap<Sequence, Message>> = BTreeMap::new();
        for message in messages {
            chats.entry(message.chat.clone()).or_default().insert(message.sequence, message.clone());
        }
        let appends = stream::iter(chats).map(|(chat, messages)| self.append_to_chat(chat, messages));
        appends.buffer_unordered(CHATS_AT_ONCE).try_collect().await
    }

    async fn range(
        &self,
        chat: &ChatId,
        from: Option<Sequence>,
        direction: Direction,
        max: usize,
    ) -> Result<Vec<Message>, StorageError> {
        let mut listing = Listing::new(chat, from, direction);
        let mut found = Vec::new();
        let mut at_once = 1;
        while found.len() < max {
            let buckets = self.buckets.next(&mut listing, at_once).await?;
            if buckets.is_empty() {
                break;
            }
            let left = max - found.len();
            let reads = buckets.into_iter().map(|bucket| self.read_bucket(chat, bucket, from, direction, left));
            found.extend(try_join_all(reads).await?.into_iter().flatten());
            at_once = (at_once * 2).min(BUCKETS_AT_ONCE);
        }
        found.truncate(max);
        Ok(found)
    }
}
