//! History: every message of a chat, by sequence.

use async_trait::async_trait;

use crate::{ChatId, Message, Sequence, StorageError};

/// Which way to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Oldest first, from just after the given sequence, or from the first message.
    Forward,
    /// Newest first, from just before the given sequence, or from the last message.
    Backward,
}

/// Every message that fanout has processed.
#[async_trait]
pub trait History: Send + Sync {
    /// Stores messages: an upsert by (chat, sequence). Durable when it returns. Messages of one chat become visible in
    /// the order of their sequences: whoever reads meanwhile finds none without those before it.
    ///
    /// # Errors
    /// Those of the backend; storing them again is safe.
    async fn append(&self, messages: &[Message]) -> Result<(), StorageError>;

    /// At most `max` messages of a chat, in `direction`, beginning beyond `from` (exclusive). Read forward, while
    /// messages are appended, no message is in the answer without those before it.
    ///
    /// # Errors
    /// Those of the backend.
    async fn range(
        &self,
        chat: &ChatId,
        from: Option<Sequence>,
        direction: Direction,
        max: usize,
    ) -> Result<Vec<Message>, StorageError>;
}
