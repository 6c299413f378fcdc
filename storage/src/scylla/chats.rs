//! Members: one row by chat and one by user, always written together; and what `rooms` adds for room mode. How changes
//! are applied is in `apply`.

mod apply;
mod rooms;

use std::sync::Arc;

use async_trait::async_trait;

use super::client::Client;
use super::rows::{self, Partition};
use crate::{
    ChatId, Chats, MemberPage, Membership, MembershipChange, RoomMember, Sequence, Span, StorageError, UserId,
};

/// The [`Chats`] of this backend.
pub(super) struct Members {
    client: Arc<Client>,
    /// How long notifications stay pending, in seconds.
    ttl: i32,
}

impl Members {
    pub(super) fn new(client: Arc<Client>, ttl: i32) -> Self {
        Self { client, ttl }
    }

    async fn is_member(&self, chat: &ChatId, user: &UserId) -> Result<bool, StorageError> {
        let statement = &self.client.statements.members_one;
        let partition = Partition { table: "members", key: chat.as_str() };
        let values = (chat.as_str(), user.as_str());
        let rows = self.client.read(statement, values, partition, |_: (String,)| Ok(())).await?;
        Ok(!rows.is_empty())
    }
}

fn page<T: Clone>(items: Vec<T>, max: usize) -> MemberPage<T> {
    let next = if items.len() == max { items.last().cloned() } else { None };
    MemberPage { items, next }
}

#[async_trait]
impl Chats for Members {
    async fn apply(&self, change: &MembershipChange) -> Result<Vec<UserId>, StorageError> {
        apply::apply(self, change).await
    }

    async fn membership(&self, chat: &ChatId, user: &UserId) -> Result<Membership, StorageError> {
        if self.is_member(chat, user).await? {
            return Ok(Membership::Member);
        }
        let exists = self.applied(chat).await?.is_some();
        Ok(if exists { Membership::NotMember } else { Membership::NoSuchChat })
    }

    async fn applied(&self, chat: &ChatId) -> Result<Option<Sequence>, StorageError> {
        let statement = &self.client.statements.chats_applied;
        let partition = Partition { table: "chats", key: chat.as_str() };
        let parse = |(applied,): (i64,)| partition.sequence(applied);
        Ok(self.client.read(statement, (chat.as_str(),), partition, parse).await?.pop())
    }

    async fn room_spans(&self, chat: &ChatId) -> Result<Vec<Span>, StorageError> {
        Ok(self.spans(chat).await?.0)
    }

    async fn rooms_of(
        &self,
        user: &UserId,
        after: Option<&ChatId>,
        max: usize,
    ) -> Result<Vec<RoomMember>, StorageError> {
        self.rooms_page(user, after, max).await
    }

    async fn members(
        &self,
        chat: &ChatId,
        after: Option<&UserId>,
        max: usize,
    ) -> Result<MemberPage<UserId>, StorageError> {
        let partition = Partition { table: "members", key: chat.as_str() };
        // No id is empty, so this is before all of them.
        let after = after.map_or("", UserId::as_str);
        let parse = |(user,): (String,)| UserId::new(user).map_err(|_| partition.corrupt());
        let values = (chat.as_str(), after, rows::limit(max));
        Ok(page(self.client.read(&self.client.statements.members_page, values, partition, parse).await?, max))
    }

    async fn chats_of(
        &self,
        user: &UserId,
        after: Option<&ChatId>,
        max: usize,
    ) -> Result<MemberPage<ChatId>, StorageError> {
        let partition = Partition { table: "chats_of", key: user.as_str() };
        let after = after.map_or("", ChatId::as_str);
        let parse = |(chat,): (String,)| ChatId::new(chat).map_err(|_| partition.corrupt());
        let values = (user.as_str(), after, rows::limit(max));
        Ok(page(self.client.read(&self.client.statements.chats_of_page, values, partition, parse).await?, max))
    }
}
