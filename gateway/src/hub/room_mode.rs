//! Chats in room mode: this node's users of each, how far each has got, and the deliveries to them.
//!
//! An entry of such a chat names no recipients: every user here who is of the room gets it, on the connections in the
//! room, else on the notification topic. What nobody confirms is not stored: it is behind the user's cursor, and is read
//! from history.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roost_storage::{ChatId, Cursor, Sequence, UserId};

use super::frames::Encoded;
use super::link::Outgoing;
use super::obligation::{Entry, Obligation};
use super::progress::{Missing, Progress};
use super::{Hub, Presence};

/// Who is of which room. Locked after a user's shard, never before.
#[derive(Default)]
pub(super) struct RoomUsers(Mutex<HashMap<ChatId, HashSet<UserId>>>);

impl RoomUsers {
    fn lock(&self) -> MutexGuard<'_, HashMap<ChatId, HashSet<UserId>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, chat: &ChatId, user: &UserId) {
        self.lock().entry(chat.clone()).or_default().insert(user.clone());
    }

    /// Whether the user was of the room, and was its last user here.
    fn remove(&self, chat: &ChatId, user: &UserId) -> (bool, bool) {
        let mut rooms = self.lock();
        let Some(users) = rooms.get_mut(chat) else { return (false, false) };
        let was_of_room = users.remove(user);
        let last = was_of_room && users.is_empty();
        if last {
            rooms.remove(chat);
        }
        (was_of_room, last)
    }

    fn of(&self, chat: &ChatId) -> Vec<UserId> {
        self.lock().get(chat).into_iter().flatten().cloned().collect()
    }
}

/// Pairs of user and room whose cursor has changed since it was stored.
#[derive(Default)]
pub(super) struct Dirty(Mutex<HashSet<(UserId, ChatId)>>);

impl Dirty {
    fn lock(&self) -> MutexGuard<'_, HashSet<(UserId, ChatId)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark(&self, user: &UserId, chat: &ChatId) {
        self.lock().insert((user.clone(), chat.clone()));
    }
}

/// A user's progress in a room that nobody here wants any more: to be stored.
pub(crate) struct Parting {
    pub(crate) user: UserId,
    pub(crate) chat: ChatId,
    pub(crate) progress: Progress,
}

/// What a connection's end, or a topic's, leaves behind of rooms.
#[derive(Default)]
pub(crate) struct Partings {
    pub(crate) progress: Vec<Parting>,
    /// Rooms that nobody here is of any more.
    pub(crate) unfollow: Vec<ChatId>,
}

/// What became of giving a room's message to one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// To those connections that have joined the chat.
    Room,
    /// To those that have joined only the notification topic.
    Notification,
    /// To none: it is known already, or read from history, or the user is in the room on another gateway.
    Not,
}

impl Hub {
    /// To be told to [`Hub::enter_room_mode`] by whoever asks from now on of what the user is a member.
    pub(crate) fn removals(&self, user: &UserId) -> u64 {
        self.shard(user).get(user).map_or(0, |presence| presence.removals)
    }

    /// `user` is of the room: its messages come for them from now on, and everything after their cursor is read. Does
    /// nothing when no connection of theirs wants it. The room has to be followed then, and after that history be read.
    /// False when the user was removed from some chat since `removals`: then what was asked before may not hold.
    pub(crate) fn enter_room_mode(&self, user: &UserId, chat: &ChatId, removals: u64) -> bool {
        let mut shard = self.shard(user);
        let Some(presence) = shard.get_mut(user).filter(|presence| presence.wants(chat)) else { return true };
        if presence.removals != removals {
            return false;
        }
        presence.rooms.entry(chat.clone()).or_insert_with(Progress::new);
        self.room_users.add(chat, user);
        true
    }

    /// Every message of the room after `sequence` comes live, unless it was rung since `rings`: only those before it are
    /// read from history.
    pub(crate) fn room_comes_after(&self, user: &UserId, chat: &ChatId, sequence: Sequence, rings: u64) {
        self.change_progress(user, chat, |progress| progress.comes_after(sequence, rings));
    }

    /// `user` was of the room: what is left of it is read, and nothing new comes.
    pub(crate) fn read_former_room(&self, user: &UserId, chat: &ChatId) {
        let mut shard = self.shard(user);
        if let Some(presence) = shard.get_mut(user).filter(|presence| presence.wants(chat)) {
            presence.rooms.entry(chat.clone()).or_insert_with(Progress::new);
        }
    }

    /// `user` is no longer of the room; what they have not confirmed of it stays missing. True when it needs not be
    /// followed any more.
    pub(crate) fn leave_room_mode(&self, user: &UserId, chat: &ChatId) -> bool {
        let mut shard = self.shard(user);
        let (was_of_room, last) = self.room_users.remove(chat, user);
        // From now on nothing says when there is more.
        if was_of_room && let Some(progress) = shard.get_mut(user).and_then(|presence| presence.rooms.get_mut(chat)) {
            progress.miss_from_now();
        }
        last
    }

    /// Whether anyone here is of the room.
    pub(crate) fn is_followed(&self, chat: &ChatId) -> bool {
        self.room_users.lock().contains_key(chat)
    }

    /// How many rooms anyone here is of.
    pub(crate) fn rooms_followed(&self) -> usize {
        self.room_users.lock().len()
    }

    /// Takes away the progress of every room that no connection of the user wants any more. Under the user's lock.
    pub(super) fn part(&self, user: &UserId, presence: &mut Presence) -> Partings {
        let mut partings = Partings::default();
        let unwanted: Vec<ChatId> = presence.rooms.keys().filter(|chat| !presence.wants(chat)).cloned().collect();
        for chat in unwanted {
            if self.room_users.remove(&chat, user).1 {
                partings.unfollow.push(chat.clone());
            }
            let progress = presence.rooms.remove(&chat).expect("it was among the keys");
            partings.progress.push(Parting { user: user.clone(), chat, progress });
        }
        partings
    }

    /// Gives a room's message to everyone here who is of it. Calls `shown` for each.
    pub(crate) fn deliver_to_room(
        &self,
        entry: &Arc<Entry>,
        previous: Option<Sequence>,
        frames: &Encoded,
        mut shown: impl FnMut(Shown),
    ) {
        for user in self.room_users.of(&entry.message.chat) {
            shown(self.show(&user, entry, previous, frames));
        }
    }

    fn show(&self, user: &UserId, entry: &Arc<Entry>, previous: Option<Sequence>, frames: &Encoded) -> Shown {
        let (chat, sequence) = (&entry.message.chat, entry.message.sequence);
        let mut shard = self.shard(user);
        if let Some(presence) = shard.get_mut(user)
            && presence.rooms.get_mut(chat).is_some_and(|progress| progress.follows(sequence, previous))
        {
            presence.replay();
        }
        let Some(Presence { connections, rooms, elsewhere, .. }) = shard.get_mut(user) else { return Shown::Not };
        let Some(progress) = rooms.get_mut(chat) else { return Shown::Not };
        if *user == entry.message.sender {
            progress.pass(sequence);
            self.dirty.mark(user, chat);
            return Shown::Not;
        }
        let in_room = connections.iter().filter(|attached| attached.has_joined(chat));
        let in_room: Vec<_> = in_room.map(|attached| &attached.link).collect();
        if in_room.is_empty() && elsewhere.contains(chat) {
            progress.skip(sequence);
            return Shown::Not;
        }
        if !progress.admit(sequence, !in_room.is_empty()) {
            return Shown::Not;
        }
        let obligation = Obligation::new(entry.clone(), user.clone());
        if !in_room.is_empty() {
            for link in in_room {
                let frame = frames.room(link.serializer);
                link.send(Outgoing::Frame(frame, Some(obligation.clone())));
            }
            return Shown::Room;
        }
        for attached in connections.iter().filter(|attached| !attached.spellings.is_empty()) {
            let frames = frames.notification(attached.link.serializer, user, attached.spellings);
            attached.link.notify(frames, obligation.clone());
        }
        Shown::Notification
    }

    /// Some message of the room did not come: everyone of it reads history.
    pub(crate) fn ring_room(&self, chat: &ChatId) {
        for user in self.room_users.of(chat) {
            if let Some(presence) = self.shard(&user).get_mut(&user) {
                if let Some(progress) = presence.rooms.get_mut(chat) {
                    progress.miss_from_now();
                }
                presence.replay();
            }
        }
    }

    /// A client has confirmed what it was pushed live. True the first time.
    pub(crate) fn confirm(&self, obligation: Obligation) -> bool {
        if !obligation.is_of_room() {
            return obligation.confirm();
        }
        let user = obligation.user().clone();
        let (chat, sequence) = (obligation.message().chat.clone(), obligation.message().sequence);
        let first = obligation.confirm();
        if first {
            self.change_progress(&user, &chat, |progress| progress.settle(sequence));
        }
        first
    }

    /// Nobody answers for a room's message any more: it is missing.
    pub(crate) fn give_up(&self, user: &UserId, chat: &ChatId, sequence: Sequence) {
        self.change_progress(user, chat, |progress| progress.give_up(sequence));
    }

    /// Where the user is in a room on another gateway: not notified of it here.
    pub(crate) fn set_elsewhere(&self, user: &UserId, chats: BTreeSet<ChatId>) {
        if let Some(presence) = self.shard(user).get_mut(user) {
            presence.elsewhere = chats;
        }
    }

    /// What the user has to read from the history of rooms; of which some may have to be loaded first.
    pub(crate) fn missing(&self, user: &UserId) -> Vec<(ChatId, Missing)> {
        let shard = self.shard(user);
        let rooms = shard.get(user).into_iter().flat_map(|presence| &presence.rooms);
        rooms.filter_map(|(chat, progress)| Some((chat.clone(), progress.missing()?))).collect()
    }

    /// Takes the user's stored cursors into account.
    pub(crate) fn load_cursors(&self, user: &UserId, cursors: &[(ChatId, Cursor)]) {
        let mut shard = self.shard(user);
        for (chat, progress) in shard.get_mut(user).into_iter().flat_map(|presence| &mut presence.rooms) {
            let stored = cursors.binary_search_by(|(other, _)| other.cmp(chat));
            progress.load(stored.ok().map(|at| cursors[at].1));
        }
    }

    /// To be told to [`Hub::finish`] by whoever reads the room's history from now on.
    pub(crate) fn rings(&self, user: &UserId, chat: &ChatId) -> u64 {
        let shard = self.shard(user);
        shard.get(user).and_then(|presence| presence.rooms.get(chat)).map_or(0, Progress::rings)
    }

    /// Whoever reads the room's history has come to its end, which was at `sequence`, after `rings`.
    pub(crate) fn ending(&self, user: &UserId, chat: &ChatId, sequence: Sequence, rings: u64) {
        self.change_progress(user, chat, |progress| progress.ending(sequence, rings));
    }

    /// The user has confirmed the room's history from one place through another.
    pub(crate) fn read_through(&self, user: &UserId, chat: &ChatId, (from, through): (Sequence, Sequence)) {
        self.change_progress(user, chat, |progress| progress.read_through(from, through));
    }

    /// The user has confirmed the room's history from one place through another, and there was no more when it was read,
    /// after `rings`. Where there may be by now, that is read as well.
    pub(crate) fn finish(&self, user: &UserId, chat: &ChatId, (from, through): (Sequence, Sequence), rings: u64) {
        self.change_progress(user, chat, |progress| _ = progress.finish(from, through, rings));
        self.replay_if_missing(user, chat);
    }

    fn replay_if_missing(&self, user: &UserId, chat: &ChatId) {
        let shard = self.shard(user);
        let Some(presence) = shard.get(user) else { return };
        if presence.rooms.get(chat).is_some_and(|progress| progress.missing().is_some()) {
            presence.replay();
        }
    }

    /// Nothing of what is missing was said while the chat was a room and the user a member, when that was looked at, after
    /// `rings`. Where it may have been by now, it is looked at again.
    pub(crate) fn nothing_is_missing(&self, user: &UserId, chat: &ChatId, rings: u64) {
        self.change_progress(user, chat, |progress| progress.nothing_is_missing(rings));
        self.replay_if_missing(user, chat);
    }

    /// Some messages of any room may not come: everyone of one is missing what is after the last.
    pub(crate) fn miss_in_all_rooms(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.values_mut().flat_map(|presence| presence.rooms.values_mut()).for_each(Progress::miss_from_now);
        }
    }

    /// Every room that anyone here is of.
    pub(crate) fn followed(&self) -> Vec<ChatId> {
        self.room_users.lock().keys().cloned().collect()
    }

    fn change_progress(&self, user: &UserId, chat: &ChatId, change: impl FnOnce(&mut Progress)) {
        let mut shard = self.shard(user);
        if let Some(progress) = shard.get_mut(user).and_then(|presence| presence.rooms.get_mut(chat)) {
            change(progress);
            self.dirty.mark(user, chat);
        }
    }

    /// The pairs whose cursor may have changed; they count as stored now.
    pub(crate) fn take_dirty(&self) -> Vec<(UserId, ChatId)> {
        std::mem::take(&mut *self.dirty.lock()).into_iter().collect()
    }

    /// How many pairs' cursor may have changed.
    pub(crate) fn dirty(&self) -> usize {
        self.dirty.lock().len()
    }

    /// Whether the user's cursor in the room can be stored only after [`Hub::load_cursors`].
    pub(crate) fn needs_loading(&self, user: &UserId, chat: &ChatId) -> bool {
        let shard = self.shard(user);
        let progress = shard.get(user).and_then(|presence| presence.rooms.get(chat));
        progress.is_some_and(|progress| !progress.is_loaded())
    }

    /// The user's cursor in the room, if it has changed since this was last asked.
    pub(crate) fn take_cursor(&self, user: &UserId, chat: &ChatId) -> Option<Cursor> {
        let mut shard = self.shard(user);
        shard.get_mut(user)?.rooms.get_mut(chat)?.take_cursor()
    }
}

impl Presence {
    /// Whether any connection gets messages of the room: on its topic, or as notifications.
    fn wants(&self, chat: &ChatId) -> bool {
        self.connections.iter().any(|attached| !attached.spellings.is_empty() || attached.has_joined(chat))
    }

    /// Each connection with the notification topic reads again.
    pub(super) fn replay(&self) {
        for attached in self.connections.iter().filter(|attached| !attached.spellings.is_empty()) {
            attached.link.replay();
        }
    }

    /// Whether the connection's user is of the room.
    pub(super) fn is_of_room(&self, chat: &ChatId) -> bool {
        self.rooms.contains_key(chat)
    }
}
