//! Room mode: when each chat was in it, and when each user was a member of it then.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::super::rows::{self, Partition, json, number};
use super::Members;
use crate::{ChatId, RoomMember, Routing, Sequence, Span, StorageError, UserId};

/// Members whose rows one change reads and writes at once.
const ROWS_AT_ONCE: usize = 32;

/// A chat's spans, before and after a change.
pub(super) struct Room {
    before: Vec<Span>,
    /// The write time of what is there; before any write when nothing is.
    written: i64,
    after: Vec<Span>,
    /// How messages after the change are routed.
    is_room: bool,
    /// Whether the change, or an earlier attempt at it, begins a span.
    pub(super) begins: bool,
}

impl Room {
    /// Of a chat whose members after a change are told that they are in a room now.
    pub(super) fn enters(&self) -> bool {
        self.is_room
    }
}

impl Members {
    pub(super) async fn spans(&self, chat: &ChatId) -> Result<(Vec<Span>, i64), StorageError> {
        let partition = Partition { table: "room_chats", key: chat.as_str() };
        let parse = |(spans, written): (String, i64)| Ok((partition.parse(&spans)?, written));
        let found = self.client.read(&self.client.statements.room_chats_one, (chat.as_str(),), partition, parse);
        Ok(found.await?.pop().unwrap_or((Vec::new(), i64::MIN)))
    }

    /// What a change does to the chat's spans.
    pub(super) async fn room(&self, chat: &ChatId, sequence: Sequence, routing: Routing) -> Result<Room, StorageError> {
        let (before, written) = self.spans(chat).await?;
        let is_room = routing == Routing::Room;
        let last = before.last().copied();
        let begun = last.is_some_and(|last| last.since == sequence);
        // A later change has been here: this worker has lost its lease.
        let is_late = last.is_some_and(|last| last.until.unwrap_or(last.since) > sequence);
        let begins = is_room && (begun || !Span::is_open(&before));
        let after = if is_late { before.clone() } else { Span::after(before.clone(), sequence, is_room) };
        Ok(Room { before, written, after, is_room, begins })
    }

    /// At the change's own time, like everything. Only when an earlier attempt at the same change wanted another routing
    /// is it later by a microsecond: at equal times the greater text would win.
    pub(super) async fn write_room(&self, chat: &ChatId, sequence: Sequence, room: &Room) -> Result<(), StorageError> {
        if room.after == room.before {
            return Ok(());
        }
        let at = number(sequence).max(room.written.saturating_add(1));
        let values = (chat.as_str(), json(&room.after), at);
        self.client.write(&self.client.statements.room_chats_put, values).await
    }

    /// Begins or ends memberships of a chat in room mode. A row that says so already is left alone.
    pub(super) async fn tell(
        &self,
        chat: &ChatId,
        sequence: Sequence,
        users: impl IntoIterator<Item = UserId>,
        open: bool,
    ) -> Result<(), StorageError> {
        let users: Vec<_> = users.into_iter().map(|user| self.tell_one(chat, sequence, user, open)).collect();
        stream::iter(users).buffer_unordered(ROWS_AT_ONCE).try_collect().await
    }

    async fn tell_one(&self, chat: &ChatId, sequence: Sequence, user: UserId, open: bool) -> Result<(), StorageError> {
        let statements = &self.client.statements;
        let partition = Partition { table: "rooms_of", key: user.as_str() };
        let parse = |(spans,): (String,)| partition.parse(&spans);
        let values = (user.as_str(), chat.as_str());
        let found = self.client.read(&statements.rooms_of_one, values, partition, parse).await?;
        let before: Vec<Span> = found.into_iter().next_back().unwrap_or_default();
        let after = Span::after(before.clone(), sequence, open);
        if after == before {
            return Ok(());
        }
        // Once nothing from before the end can be pending any more, the row is of no use.
        let ttl = if open { 0 } else { self.ttl };
        let values = (user.as_str(), chat.as_str(), json(&after), number(sequence), ttl);
        self.client.write(&statements.rooms_of_put, values).await
    }

    pub(super) async fn rooms_page(
        &self,
        user: &UserId,
        after: Option<&ChatId>,
        max: usize,
    ) -> Result<Vec<RoomMember>, StorageError> {
        let partition = Partition { table: "rooms_of", key: user.as_str() };
        let after = after.map_or("", ChatId::as_str);
        let parse = |(chat, spans): (String, String)| {
            let chat = ChatId::new(chat).map_err(|_| partition.corrupt())?;
            Ok(RoomMember { chat, spans: partition.parse(&spans)? })
        };
        let values = (user.as_str(), after, rows::limit(max));
        self.client.read(&self.client.statements.rooms_of_page, values, partition, parse).await
    }
}
