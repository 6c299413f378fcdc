//! Pending notifications: one row per message and member, until some client of that member has confirmed it.

use std::time::SystemTime;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{ChatId, Message, Sequence, StorageError, UserId};

/// Names one pending notification of a user, and is its order: oldest first, ties broken by chat.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PendingKey {
    /// The message's sequence.
    pub sequence: Sequence,
    /// The message's chat.
    pub chat: ChatId,
}

impl PendingKey {
    /// The key under which `message` is pending.
    pub fn of(message: &Message) -> Self {
        Self { sequence: message.sequence, chat: message.chat.clone() }
    }
}

/// Some of a user's pending, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingPage {
    /// The messages; may be empty although there are more.
    pub messages: Vec<Message>,
    /// Set when there may be more: ask again after this key.
    pub next: Option<PendingKey>,
}

/// What members have not confirmed.
#[async_trait]
pub trait Pending: Send + Sync {
    /// Stores notifications: an upsert by (user, key). Durable when it returns.
    ///
    /// # Errors
    /// Those of the backend; some rows may be there, and storing them again is safe.
    async fn put(&self, rows: &[(UserId, Message)]) -> Result<(), StorageError>;

    /// At most `max` of a user's notifications after `after`, oldest first. Sees every row whose put returned before
    /// this was called and that was not deleted.
    ///
    /// # Errors
    /// Those of the backend.
    async fn page(&self, user: &UserId, after: Option<&PendingKey>, max: usize) -> Result<PendingPage, StorageError>;

    /// Deletes exactly these rows of one user; keys that are not there are no error. Returns how many were there, where
    /// the backend can tell, else how many were asked for. Only what is confirmed is deleted: a row that is stored again
    /// after that may stay away.
    ///
    /// # Errors
    /// Those of the backend; some rows may be gone, and deleting them again is safe.
    async fn delete(&self, user: &UserId, keys: &[PendingKey]) -> Result<u64, StorageError>;

    /// How many notifications a user has.
    ///
    /// # Errors
    /// Those of the backend.
    async fn count(&self, user: &UserId) -> Result<u64, StorageError>;

    /// Deletes rows of messages accepted before `before`, at most `max`, and returns how many. A backend that expires
    /// rows by itself returns 0.
    ///
    /// # Errors
    /// Those of the backend.
    async fn expire(&self, before: SystemTime, max: usize) -> Result<u64, StorageError>;
}
