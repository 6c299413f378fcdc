//! Members of chats, as of the last membership change that fanout has applied.

use async_trait::async_trait;

use crate::{Change, ChatId, Sequence, StorageError, UserId};

/// What a user is to a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// A member.
    Member,
    /// The chat exists; the user is not a member.
    NotMember,
    /// There is no such chat.
    NoSuchChat,
}

/// One change, at its place in the chat's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembershipChange {
    /// Whose members.
    pub chat: ChatId,
    /// At which place.
    pub sequence: Sequence,
    /// What changes.
    pub change: Change,
}

/// Some of a list, sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberPage<T> {
    /// The items.
    pub items: Vec<T>,
    /// Set when there may be more: ask again after this one.
    pub next: Option<T>,
}

/// Members of chats. Written by the leaseholder of the chat's partition only.
#[async_trait]
pub trait Chats: Send + Sync {
    /// Applies a change, creating the chat if there is none; a change at or below the last applied sequence is
    /// ignored. Durable when it returns. Returns the users who were members before and are not any more.
    ///
    /// # Errors
    /// Those of the backend; applying the change again is safe.
    async fn apply(&self, change: &MembershipChange) -> Result<Vec<UserId>, StorageError>;

    /// What `user` is to `chat`. Sees every change whose `apply` returned before.
    ///
    /// # Errors
    /// Those of the backend.
    async fn membership(&self, chat: &ChatId, user: &UserId) -> Result<Membership, StorageError>;

    /// The sequence of the last applied change; none when there is no such chat.
    ///
    /// # Errors
    /// Those of the backend.
    async fn applied(&self, chat: &ChatId) -> Result<Option<Sequence>, StorageError>;

    /// At most `max` members after `after`, sorted by id.
    ///
    /// # Errors
    /// Those of the backend.
    async fn members(
        &self,
        chat: &ChatId,
        after: Option<&UserId>,
        max: usize,
    ) -> Result<MemberPage<UserId>, StorageError>;

    /// At most `max` chats of a user after `after`, sorted by id.
    ///
    /// # Errors
    /// Those of the backend.
    async fn chats_of(
        &self,
        user: &UserId,
        after: Option<&ChatId>,
        max: usize,
    ) -> Result<MemberPage<ChatId>, StorageError>;
}
