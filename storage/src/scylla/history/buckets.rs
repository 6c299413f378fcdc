//! The days on which a chat has messages.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::super::client::Client;
use super::super::rows::{self, Partition, number};
use crate::{ChatId, Direction, Sequence, StorageError};

/// A day, in microseconds.
const BUCKET_WIDTH: i64 = 86_400_000_000;
/// A day, in seconds.
const BUCKET_SECONDS: i32 = 86_400;
/// Days known to be written down. Too many are forgotten all at once, which costs a write each.
const KNOWN_MAX: usize = 100_000;
/// Days in one read of the list.
const LISTED_AT_ONCE: usize = 64;

/// The bucket a message is in.
pub(super) fn bucket_of(sequence: Sequence) -> i64 {
    number(sequence) / BUCKET_WIDTH
}

/// Which buckets there are.
pub(super) struct Buckets {
    client: Arc<Client>,
    /// Seconds: longer than anything in the bucket lives.
    ttl: i32,
    known: Mutex<HashSet<(ChatId, i64)>>,
}

/// How far a chat's buckets have been listed.
pub(super) struct Listing<'a> {
    chat: &'a ChatId,
    direction: Direction,
    /// Where to go on; none when there are no more.
    next: Option<i64>,
    listed: VecDeque<i64>,
}

impl<'a> Listing<'a> {
    pub(super) fn new(chat: &'a ChatId, from: Option<Sequence>, direction: Direction) -> Self {
        let end = match direction {
            Direction::Forward => 0,
            Direction::Backward => i64::MAX,
        };
        Self { chat, direction, next: Some(from.map_or(end, bucket_of)), listed: VecDeque::new() }
    }
}

impl Buckets {
    pub(super) fn new(client: Arc<Client>, ttl: i32) -> Self {
        // Of what is said at the end of a day, and of clocks that are off.
        let ttl = if ttl == 0 { 0 } else { ttl.saturating_add(2 * BUCKET_SECONDS) };
        Self { client, ttl, known: Mutex::new(HashSet::new()) }
    }

    /// Makes sure that a bucket is found. Before anything is in it.
    pub(super) async fn remember(&self, chat: &ChatId, bucket: i64) -> Result<(), StorageError> {
        let key = (chat.clone(), bucket);
        if self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(&key) {
            return Ok(());
        }
        let statement = &self.client.statements.history_buckets_put;
        self.client.write(statement, (chat.as_str(), bucket, self.ttl)).await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(key);
        Ok(())
    }

    /// The next buckets of a listing, at most `max`; none when it has come to its end.
    pub(super) async fn next(&self, listing: &mut Listing<'_>, max: usize) -> Result<Vec<i64>, StorageError> {
        if listing.listed.is_empty()
            && let Some(from) = listing.next
        {
            self.list(listing, from).await?;
        }
        let count = max.min(listing.listed.len());
        Ok(listing.listed.drain(..count).collect())
    }

    async fn list(&self, listing: &mut Listing<'_>, from: i64) -> Result<(), StorageError> {
        let statements = &self.client.statements;
        let (statement, step) = match listing.direction {
            Direction::Forward => (&statements.history_buckets_forward, 1),
            Direction::Backward => (&statements.history_buckets_backward, -1),
        };
        let partition = Partition { table: "history_buckets", key: listing.chat.as_str() };
        let values = (listing.chat.as_str(), from, rows::limit(LISTED_AT_ONCE));
        let buckets = self.client.read(statement, values, partition, |(bucket,): (i64,)| Ok(bucket)).await?;
        let full = buckets.len() == LISTED_AT_ONCE;
        listing.next = if full { buckets.last().map(|last| last + step) } else { None };
        listing.listed.extend(buckets);
        Ok(())
    }
}
