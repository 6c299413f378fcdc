//! Members: one row by chat and one by user, always written together, and a third while or after the chat is in room
//! mode.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use fjall::Readable;

use super::fault::Fault;
use super::keys;
use super::keyspaces::{Keyspaces, Space};
use super::records::ChatRecord;
use super::store::Store;
use super::writer::Batch;
use crate::{
    Change, ChatId, Chats, MemberPage, Membership, MembershipChange, RoomMember, Routing, Sequence, Span, StorageError,
    UserId,
};

/// The embedded [`Chats`].
pub(super) struct Members {
    store: Arc<Store>,
}

impl Members {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }
}

/// At most `max` texts below `id`, after `after`.
fn texts_below(
    space: &Space,
    reader: &impl Readable,
    id: &str,
    after: Option<&str>,
    max: usize,
) -> Result<Vec<String>, Fault> {
    let from = match after {
        Some(after) => Bound::Excluded(keys::text_below(id, after)),
        None => Bound::Included(keys::below(id)),
    };
    let texts = space.range(reader, from, keys::end_below(id)).take(max).map(|entry| {
        let key = entry.key()?;
        let text = keys::text_of(&key, id).ok_or_else(|| space.corrupt(&key))?;
        Ok(text.to_owned())
    });
    texts.collect()
}

fn page<T: Clone>(
    texts: Vec<String>,
    max: usize,
    id: impl Fn(String) -> Option<T>,
    space: &Space,
) -> Result<MemberPage<T>, Fault> {
    let full = texts.len() == max;
    let parse = |text: String| {
        let key = text.clone().into_bytes();
        id(text).ok_or_else(|| space.corrupt(&key))
    };
    let items = texts.into_iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let next = if full { items.last().cloned() } else { None };
    Ok(MemberPage { items, next })
}

fn members_of(spaces: &Keyspaces, reader: &impl Readable, chat: &ChatId) -> Result<BTreeSet<UserId>, Fault> {
    let texts = texts_below(&spaces.members, reader, chat.as_str(), None, usize::MAX)?;
    Ok(page(texts, usize::MAX, |text| UserId::new(text).ok(), &spaces.members)?.items.into_iter().collect())
}

fn is_member(spaces: &Keyspaces, reader: &impl Readable, chat: &ChatId, user: &UserId) -> Result<bool, Fault> {
    spaces.members.contains(reader, &keys::text_below(chat.as_str(), user.as_str()))
}

/// Begins or ends a user's membership of a chat in room mode.
fn set_room(batch: &mut Batch<'_>, chat: &ChatId, user: &UserId, change: Sequence, open: bool) -> Result<(), Fault> {
    let (rooms_of, key) = (&batch.spaces.rooms_of, keys::text_below(user.as_str(), chat.as_str()));
    let before: Vec<Span> = rooms_of.get(&batch.tx, &key)?.unwrap_or_default();
    let after = Span::after(before.clone(), change, open);
    if after != before {
        batch.put(rooms_of, key, &after);
    }
    Ok(())
}

fn apply(batch: &mut Batch<'_>, change: &MembershipChange) -> Result<Vec<UserId>, Fault> {
    let (spaces, chat) = (batch.spaces, &change.chat);
    let record: Option<ChatRecord> = spaces.chats.get(&batch.tx, chat.as_str().as_bytes())?;
    if record.as_ref().is_some_and(|record| change.sequence <= record.applied) {
        return Ok(Vec::new());
    }
    let before = record.map(|record| record.rooms).unwrap_or_default();
    let is_room = change.routing == Routing::Room;
    let begins = is_room && !Span::is_open(&before);
    let rooms = Span::after(before, change.sequence, is_room);
    let (added, removed): (Vec<UserId>, Vec<UserId>) = match &change.change {
        Change::Set(users) => {
            let before = members_of(spaces, &batch.tx, chat)?;
            (users.difference(&before).cloned().collect(), before.difference(users).cloned().collect())
        }
        Change::Add(user) if is_member(spaces, &batch.tx, chat, user)? => (Vec::new(), Vec::new()),
        Change::Add(user) => (vec![user.clone()], Vec::new()),
        Change::Remove(user) if is_member(spaces, &batch.tx, chat, user)? => (Vec::new(), vec![user.clone()]),
        Change::Remove(_) => (Vec::new(), Vec::new()),
    };
    for user in &added {
        batch.mark(&spaces.members, keys::text_below(chat.as_str(), user.as_str()));
        batch.mark(&spaces.chats_of, keys::text_below(user.as_str(), chat.as_str()));
    }
    for user in &removed {
        batch.remove(&spaces.members, keys::text_below(chat.as_str(), user.as_str()));
        batch.remove(&spaces.chats_of, keys::text_below(user.as_str(), chat.as_str()));
        set_room(batch, chat, user, change.sequence, false)?;
    }
    let entering = if begins { members_of(spaces, &batch.tx, chat)? } else { added.into_iter().collect() };
    for user in entering.iter().filter(|_| is_room) {
        set_room(batch, chat, user, change.sequence, true)?;
    }
    batch.put(&spaces.chats, chat.as_str(), &ChatRecord { applied: change.sequence, rooms });
    batch.promise();
    Ok(removed)
}

#[async_trait]
impl Chats for Members {
    async fn apply(&self, change: &MembershipChange) -> Result<Vec<UserId>, StorageError> {
        let change = change.clone();
        let weight = match &change.change {
            Change::Set(users) => users.len(),
            Change::Add(_) | Change::Remove(_) => 1,
        };
        self.store.write(weight, move |batch| apply(batch, &change)).await
    }

    async fn membership(&self, chat: &ChatId, user: &UserId) -> Result<Membership, StorageError> {
        self.store.read(|view| {
            if is_member(view.spaces, &view.at, chat, user)? {
                return Ok(Membership::Member);
            }
            let exists = view.spaces.chats.contains(&view.at, chat.as_str().as_bytes())?;
            Ok(if exists { Membership::NotMember } else { Membership::NoSuchChat })
        })
    }

    async fn applied(&self, chat: &ChatId) -> Result<Option<Sequence>, StorageError> {
        self.store.read(|view| {
            let record: Option<ChatRecord> = view.spaces.chats.get(&view.at, chat.as_str().as_bytes())?;
            Ok(record.map(|record| record.applied))
        })
    }

    async fn room_spans(&self, chat: &ChatId) -> Result<Vec<Span>, StorageError> {
        self.store.read(|view| {
            let record: Option<ChatRecord> = view.spaces.chats.get(&view.at, chat.as_str().as_bytes())?;
            Ok(record.map(|record| record.rooms).unwrap_or_default())
        })
    }

    async fn rooms_of(
        &self,
        user: &UserId,
        after: Option<&ChatId>,
        max: usize,
    ) -> Result<Vec<RoomMember>, StorageError> {
        let (user, after) = (user.clone(), after.cloned());
        let read = move |view: &super::store::View<'_>| {
            let rooms_of = &view.spaces.rooms_of;
            let texts = texts_below(rooms_of, &view.at, user.as_str(), after.as_ref().map(ChatId::as_str), max)?;
            let mut rooms = Vec::new();
            for chat in page(texts, max, |text| ChatId::new(text).ok(), rooms_of)?.items {
                let key = keys::text_below(user.as_str(), chat.as_str());
                let spans = rooms_of.get(&view.at, &key)?.unwrap_or_default();
                rooms.push(RoomMember { chat, spans });
            }
            Ok(rooms)
        };
        self.store.scan(read).await
    }

    async fn members(
        &self,
        chat: &ChatId,
        after: Option<&UserId>,
        max: usize,
    ) -> Result<MemberPage<UserId>, StorageError> {
        let (chat, after) = (chat.clone(), after.cloned());
        let read = move |view: &super::store::View<'_>| {
            let members = &view.spaces.members;
            let texts = texts_below(members, &view.at, chat.as_str(), after.as_ref().map(UserId::as_str), max)?;
            page(texts, max, |text| UserId::new(text).ok(), members)
        };
        self.store.scan(read).await
    }

    async fn chats_of(
        &self,
        user: &UserId,
        after: Option<&ChatId>,
        max: usize,
    ) -> Result<MemberPage<ChatId>, StorageError> {
        let (user, after) = (user.clone(), after.cloned());
        let read = move |view: &super::store::View<'_>| {
            let chats_of = &view.spaces.chats_of;
            let texts = texts_below(chats_of, &view.at, user.as_str(), after.as_ref().map(ChatId::as_str), max)?;
            page(texts, max, |text| ChatId::new(text).ok(), chats_of)
        };
        self.store.scan(read).await
    }
}
