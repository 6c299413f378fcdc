//! Applying one change of members, whatever crashes in between and however often it is repeated.
//!
//! In this order, each step durable before the next: whom it removes is written down, then members' spans in room mode are
//! begun and ended, then members are put and deleted, then the chat's own spans are written, then its `applied` moves.
//! Before the last step a repetition does everything again. Every row carries the change's sequence as its write time, so
//! a repetition, or a worker that lost its lease and is late, changes nothing that a later change has touched. No
//! compare-and-set is needed.
//!
//! Who reads the chat's spans finds every member's row that goes with them, and who finds a member, or none any more,
//! finds that member's row. Spans depend on what was there before: each row is read, and written only if the change is
//! not in it yet.
//!
//! What is returned is the same each time: whoever a first attempt may have deleted already is found in what was
//! written down. That holds for repeating the last applied change, too: the attempt before may have ended between the
//! last step and its answer.
//!
//! `applied` is written by itself and last: who reads it must be able to rely on the members.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::super::batches::{pieces, weight};
use super::super::rows::{Partition, number};
use super::Members;
use crate::{Change, ChatId, Chats as _, MembershipChange, Sequence, StorageError, UserId};

/// Members in one read.
const MEMBERS_AT_ONCE: usize = 2000;
/// Writes of one change under way at once.
const WRITES_AT_ONCE: usize = 32;

pub(super) async fn apply(members: &Members, change: &MembershipChange) -> Result<Vec<UserId>, StorageError> {
    let (chat, sequence) = (&change.chat, change.sequence);
    match members.applied(chat).await? {
        Some(applied) if sequence < applied => return Ok(Vec::new()),
        Some(applied) if sequence == applied => {
            return Ok(members.written_down(chat, sequence).await?.into_iter().collect());
        }
        _ => {}
    }
    let (joining, leaving) = match &change.change {
        Change::Add(user) => (BTreeSet::from([user.clone()]), BTreeSet::new()),
        Change::Remove(user) => (BTreeSet::new(), members.removed(chat, sequence, user).await?),
        Change::Set(users) => (users.clone(), members.replaced(chat, sequence, users).await?),
    };
    members.write_down(chat, sequence, leaving.clone()).await?;
    let room = members.room(chat, sequence, change.routing).await?;
    members.tell(chat, sequence, leaving.clone(), false).await?;
    if room.enters() {
        // All of them, though some may have been members before: their rows say so.
        let mut entering = joining.clone();
        if room.begins && !matches!(change.change, Change::Set(_)) {
            entering.extend(members.all(chat).await?.into_iter().filter(|user| !leaving.contains(user)));
        }
        members.tell(chat, sequence, entering, true).await?;
    }
    // All who stay are written, too: a first attempt may have written them by chat and not yet by user.
    members.write(chat, sequence, Write::Put, joining).await?;
    members.write(chat, sequence, Write::Delete, leaving.clone()).await?;
    members.write_room(chat, sequence, &room).await?;
    let values = (chat.as_str(), number(sequence), number(sequence));
    members.client.write(&members.client.statements.chats_set_applied, values).await?;
    Ok(leaving.into_iter().collect())
}

/// What becomes of a member's two rows.
#[derive(Clone, Copy)]
enum Write {
    Put,
    Delete,
}

impl Members {
    async fn removed(
        &self,
        chat: &ChatId,
        sequence: Sequence,
        user: &UserId,
    ) -> Result<BTreeSet<UserId>, StorageError> {
        let mut leaving = self.written_down(chat, sequence).await?;
        if self.is_member(chat, user).await? {
            leaving.insert(user.clone());
        }
        Ok(leaving)
    }

    async fn replaced(
        &self,
        chat: &ChatId,
        sequence: Sequence,
        users: &BTreeSet<UserId>,
    ) -> Result<BTreeSet<UserId>, StorageError> {
        let mut leaving = self.written_down(chat, sequence).await?;
        leaving.extend(self.all(chat).await?.into_iter().filter(|user| !users.contains(user)));
        Ok(leaving)
    }

    async fn all(&self, chat: &ChatId) -> Result<Vec<UserId>, StorageError> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = self.members(chat, after.as_ref(), MEMBERS_AT_ONCE).await?;
            all.extend(page.items);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// Whom an earlier attempt at this change was about to remove.
    async fn written_down(&self, chat: &ChatId, sequence: Sequence) -> Result<BTreeSet<UserId>, StorageError> {
        let statement = &self.client.statements.removals_of;
        let partition = Partition { table: "removals", key: chat.as_str() };
        let parse = |(user,): (String,)| UserId::new(user).map_err(|_| partition.corrupt());
        let users = self.client.read(statement, (chat.as_str(), number(sequence)), partition, parse).await?;
        Ok(users.into_iter().collect())
    }

    async fn write_down(&self, chat: &ChatId, sequence: Sequence, users: BTreeSet<UserId>) -> Result<(), StorageError> {
        let pieces = pieces(users, |user| weight(&[user.as_str()])).into_iter();
        let writes = pieces.map(|users| self.write_down_piece(chat, sequence, users));
        stream::iter(writes).buffer_unordered(WRITES_AT_ONCE).try_collect().await
    }

    async fn write_down_piece(
        &self,
        chat: &ChatId,
        sequence: Sequence,
        users: Vec<UserId>,
    ) -> Result<(), StorageError> {
        let values: Vec<_> = users.iter().map(|user| (chat.as_str(), number(sequence), user.as_str())).collect();
        let statements = vec![&self.client.statements.removals_put; values.len()];
        self.client.write_batch(statements, &values).await
    }

    /// Not as one logged batch: repeating the change completes what a crash has left, and the log of batches is kept by
    /// two nodes of the coordinator's choice, so that a node that has just died stalls it for many seconds.
    async fn write(
        &self,
        chat: &ChatId,
        sequence: Sequence,
        write: Write,
        users: BTreeSet<UserId>,
    ) -> Result<(), StorageError> {
        let by_user = users.iter().cloned().map(|user| self.write_by_user(chat, sequence, write, user));
        let by_user: Vec<_> = by_user.collect();
        let pieces = pieces(users, |user| weight(&[chat.as_str(), user.as_str()])).into_iter();
        let by_chat = pieces.map(|users| self.write_by_chat(chat, sequence, write, users));
        stream::iter(by_chat).buffer_unordered(WRITES_AT_ONCE).try_collect::<()>().await?;
        stream::iter(by_user).buffer_unordered(WRITES_AT_ONCE).try_collect().await
    }

    async fn write_by_chat(
        &self,
        chat: &ChatId,
        sequence: Sequence,
        write: Write,
        users: Vec<UserId>,
    ) -> Result<(), StorageError> {
        let (all, at, chat) = (&self.client.statements, number(sequence), chat.as_str());
        match write {
            Write::Put => {
                let values: Vec<_> = users.iter().map(|user| (chat, user.as_str(), at)).collect();
                self.client.write_batch(vec![&all.members_put; values.len()], &values).await
            }
            Write::Delete => {
                let values: Vec<_> = users.iter().map(|user| (at, chat, user.as_str())).collect();
                self.client.write_batch(vec![&all.members_delete; values.len()], &values).await
            }
        }
    }

    async fn write_by_user(
        &self,
        chat: &ChatId,
        sequence: Sequence,
        write: Write,
        user: UserId,
    ) -> Result<(), StorageError> {
        let (all, at) = (&self.client.statements, number(sequence));
        match write {
            Write::Put => self.client.write(&all.chats_of_put, (user.as_str(), chat.as_str(), at)).await,
            Write::Delete => self.client.write(&all.chats_of_delete, (at, user.as_str(), chat.as_str())).await,
        }
    }
}
