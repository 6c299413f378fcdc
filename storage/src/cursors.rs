//! Cursors: how far a member of a chat in room mode has confirmed its history. What is beyond is pending.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{ChatId, Sequence, StorageError, UserId};

/// What some client of a user has confirmed of one chat's history: every message through `through`, but for those of
/// the gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The last message that is confirmed, or in the gap.
    pub through: Sequence,
    /// Messages that are not confirmed although later ones are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
}

/// Messages after `after`, through `through`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Before the first.
    pub after: Sequence,
    /// The last.
    pub through: Sequence,
}

/// Cursors of users. Several gateways may write one user's: the last writer wins, with the whole cursor. Nothing is lost
/// by that, since each writes only what is confirmed; something may come again.
#[async_trait]
pub trait Cursors: Send + Sync {
    /// Replaces cursors, each as a whole. Durable when it returns. A backend may forget a cursor that was not replaced
    /// for as long as notifications stay pending.
    ///
    /// # Errors
    /// Those of the backend; some may be there, and putting them again is safe.
    async fn put(&self, rows: &[(UserId, ChatId, Cursor)]) -> Result<(), StorageError>;

    /// Every cursor of a user, sorted by chat. Sees every one whose put returned before; where several gateways have written
    /// one, and their clocks differ, perhaps an older one.
    ///
    /// # Errors
    /// Those of the backend.
    async fn of(&self, user: &UserId) -> Result<Vec<(ChatId, Cursor)>, StorageError>;
}
