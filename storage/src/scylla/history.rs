//! History: one partition per chat and day.
//!
//! Messages are appended oldest first, each batch durable before the next is sent, and a day is listed when all before it
//! are complete. A reader may still find a message without one before it: the list is read in parts, and the last day of
//! a part may grow before the next part is read; and of the copies that are asked, one may answer before a message and
//! another, which lacks it, after its successor. Whatever is before a message that was found is durable, though, and is
//! found by every read that begins then. So a reader forward counts afterwards what is up to its last message, and reads
//! again if that is another number.

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

    async fn read(
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

    /// How many messages there are after `from`, through `through`.
    async fn count(&self, chat: &ChatId, from: Option<Sequence>, through: Sequence) -> Result<usize, StorageError> {
        let mut listing = Listing::new(chat, from, Direction::Forward);
        let mut count = 0;
        loop {
            let buckets = self.buckets.next(&mut listing, BUCKETS_AT_ONCE).await?;
            let buckets: Vec<_> = buckets.into_iter().take_while(|bucket| *bucket <= bucket_of(through)).collect();
            if buckets.is_empty() {
                return Ok(count);
            }
            let counts = buckets.into_iter().map(|bucket| self.count_in_bucket(chat, bucket, from, through));
            count += try_join_all(counts).await?.into_iter().sum::<usize>();
        }
    }

    async fn count_in_bucket(
        &self,
        chat: &ChatId,
        bucket: i64,
        from: Option<Sequence>,
        through: Sequence,
    ) -> Result<usize, StorageError> {
        let partition = Partition { table: "history", key: chat.as_str() };
        let values = (chat.as_str(), bucket, from.map_or(-1, number), number(through));
        let statement = &self.client.statements.history_sequences;
        Ok(self.client.read(statement, values, partition, |_: (i64,)| Ok(())).await?.len())
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
        let mut found = self.read(chat, from, direction, max).await?;
        if direction == Direction::Forward
            && let Some(last) = found.last().map(|message| message.sequence)
            && self.count(chat, from, last).await? != found.len()
        {
            found = self.read(chat, from, direction, max).await?;
            found.retain(|message| message.sequence <= last);
        }
        Ok(found)
    }
}
