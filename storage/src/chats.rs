//! Members of chats, as of the last membership change that fanout has applied, and how their messages are routed.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

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
    /// How messages after it are routed.
    pub routing: Routing,
}

/// How a chat's messages reach its members.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Routing {
    /// Each member is looked up: a mailbox entry where they are reachable, else a row of pending.
    #[default]
    Members,
    /// Each gateway that follows the chat gets one entry, and what is pending is a [`Cursor`](crate::Cursor) over
    /// history.
    Room,
}

/// A stretch of a chat's order: what comes after `since`, through `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The change that began it.
    pub since: Sequence,
    /// The change that ended it; none while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Sequence>,
}

impl Span {
    /// How many are kept of one chat, or of one member of it.
    pub const MAX: usize = 256;

    /// Whether the last of some spans lasts.
    pub fn is_open(spans: &[Span]) -> bool {
        spans.last().is_some_and(|span| span.until.is_none())
    }

    /// The spans after a change: begins one or ends the last one, where `open` asks for that. Of more than
    /// [`Span::MAX`] the oldest is dropped. Repeating the last change changes nothing.
    pub fn after(mut spans: Vec<Span>, change: Sequence, open: bool) -> Vec<Span> {
        match (open, Span::is_open(&spans)) {
            (true, false) => {
                spans.push(Span { since: change, until: None });
                let excess = spans.len().saturating_sub(Span::MAX);
                spans.drain(..excess);
            }
            (false, true) => spans.iter_mut().for_each(|span| span.until = span.until.or(Some(change))),
            _ => {}
        }
        spans
    }
}

/// One chat of a user that is in room mode, or was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomMember {
    /// The chat.
    pub chat: ChatId,
    /// When the user was a member of it while it was in room mode, oldest first: from the change that added them, or that
    /// began the room mode, through the one that removed them. Room mode may have ended within.
    pub spans: Vec<Span>,
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

    /// When the chat was in room mode, oldest first; empty for a chat that never was. The last one is open while
    /// messages are routed by [`Routing::Room`]. Sees every change whose `apply` returned before.
    ///
    /// # Errors
    /// Those of the backend.
    async fn room_spans(&self, chat: &ChatId) -> Result<Vec<Span>, StorageError>;

    /// At most `max` chats of a user after `after`, sorted by id, in whose room mode the user was a member. One that was
    /// left, or whose room mode has ended, may be forgotten once nothing of it can be pending any more. Sees every
    /// change whose `apply` returned before.
    ///
    /// # Errors
    /// Those of the backend.
    async fn rooms_of(
        &self,
        user: &UserId,
        after: Option<&ChatId>,
        max: usize,
    ) -> Result<Vec<RoomMember>, StorageError>;

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

#[cfg(test)]
mod tests {
    use super::*;

    fn span(since: u64, until: Option<u64>) -> Span {
        Span { since: Sequence(since), until: until.map(Sequence) }
    }

    #[test]
    fn spans_begin_and_end_with_changes_and_repeating_one_changes_nothing() {
        let mut spans = Vec::new();
        for (change, open, expected) in [
            (1, false, vec![]),
            (2, true, vec![span(2, None)]),
            (2, true, vec![span(2, None)]),
            (3, true, vec![span(2, None)]),
            (4, false, vec![span(2, Some(4))]),
            (4, false, vec![span(2, Some(4))]),
            (7, true, vec![span(2, Some(4)), span(7, None)]),
        ] {
            spans = Span::after(spans, Sequence(change), open);
            assert_eq!(spans, expected, "after {change}");
        }
    }

    #[test]
    fn the_oldest_of_too_many_spans_is_dropped() {
        let mut spans = Vec::new();
        for change in 0..2 * Span::MAX as u64 + 1 {
            spans = Span::after(spans, Sequence(change), change % 2 == 0);
        }
        assert_eq!(spans.len(), Span::MAX);
        assert_eq!((spans[0], Span::is_open(&spans)), (span(2, Some(3)), true));
    }
}
