//! The node's hub: which users are connected here, what they have joined, and what they are sent.
//!
//! Everything about one user happens under one lock (its shard's), so that deliveries, joins and leaves of a user have
//! one order. The hub owns no sockets and no storage: it moves frames and obligations between the mailbox reader and
//! the connections' queues.

mod frames;
mod link;
mod obligation;
mod progress;
mod room_mode;
mod rooms;
#[cfg(test)]
mod tests;
mod token;
mod watermark;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roost_storage::{ChatId, ConnectionId, DeviceId, Sequence, Signal, UserId};
use tokio::sync::Notify;

pub(crate) use frames::{Encoded, Spelling, Spellings, message_payload, timestamp};
pub(crate) use link::{Link, Notice, Outgoing, Turn};
pub(crate) use obligation::{Entry, Obligation, Owed};
pub(crate) use progress::Missing;
use progress::Progress;
use room_mode::{Dirty, RoomUsers};
pub(crate) use room_mode::{Parting, Partings, Shown};
use rooms::Rooms;
pub(crate) use token::{Kind, Row, Token};

use crate::close::Close;

const SHARDS: usize = 64;

/// One user's connections on this node.
#[derive(Default)]
struct Presence {
    connections: Vec<Attached>,
    /// How often the user was told to be no member of some chat any more.
    removals: u64,
    /// Hand-backs under way: rows that must be stored before any replay of this user's pending.
    handing_back: usize,
    /// The rooms they are of, or were, and how far they have got.
    rooms: BTreeMap<ChatId, Progress>,
    /// Chats they have joined on other gateways.
    elsewhere: BTreeSet<ChatId>,
}

struct Attached {
    link: Arc<Link>,
    chats: Vec<ChatId>,
    spellings: Spellings,
}

impl Attached {
    fn has_joined(&self, chat: &ChatId) -> bool {
        self.chats.contains(chat)
    }
}

/// What became of giving a message to a user's connections.
pub(crate) enum Delivered {
    /// To those that have joined the chat.
    Room,
    /// To those that have joined only the notification topic.
    Notification,
    /// To none: it has to become pending. Replays of this user wait until [`Hub::handed_back`].
    Nowhere(Owed),
}

/// What a connection, or one topic of it, left behind.
#[derive(Default)]
pub(crate) struct Left {
    /// What nobody else answers for; hand it back.
    pub(crate) owed: Vec<Owed>,
    /// What is to be stored of rooms that none of the user's connections wants any more; hand it back, too.
    pub(crate) partings: Partings,
    /// The chats in which it was the node's last connection.
    pub(crate) emptied: Vec<ChatId>,
    /// Whether the user's connections on other gateways must be told that they are in some room no more.
    pub(crate) rings: bool,
}

impl Left {
    /// Whether something has to be stored before anybody reads the user's pending.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.owed.is_empty() || !self.partings.progress.is_empty()
    }
}

/// The connections of this node.
pub(crate) struct Hub {
    shards: Vec<Mutex<HashMap<UserId, Presence>>>,
    hasher: RandomState,
    rooms: Rooms,
    room_users: RoomUsers,
    dirty: Dirty,
    settled: Notify,
    connections: AtomicUsize,
}

impl Hub {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            rooms: Rooms::default(),
            room_users: RoomUsers::default(),
            dirty: Dirty::default(),
            settled: Notify::new(),
            connections: AtomicUsize::new(0),
        }
    }

    fn shard(&self, user: &UserId) -> MutexGuard<'_, HashMap<UserId, Presence>> {
        let index = usize::try_from(self.hasher.hash_one(user) % SHARDS as u64).expect("a shard's index is small");
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection that has joined nothing yet.
    pub(crate) fn attach(&self, link: Arc<Link>) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let attached = Attached { link: link.clone(), chats: Vec::new(), spellings: Spellings::default() };
        self.shard(&link.user).entry(link.user.clone()).or_default().connections.push(attached);
    }

    /// Removes a connection. Returns what nobody else answers for, of what was written without a Pong and of what was still
    /// queued. When that is something, the user's other connections replay pending before their next live
    /// notification, and replays wait for [`Hub::handed_back`].
    pub(crate) fn detach(&self, link: &Link) -> Left {
        let mut shard = self.shard(&link.user);
        let Some(presence) = shard.get_mut(&link.user) else { return Left::default() };
        let Some(at) = presence.connections.iter().position(|other| other.link.id == link.id) else {
            return Left::default();
        };
        let attached = presence.connections.swap_remove(at);
        self.connections.fetch_sub(1, Ordering::Relaxed);
        let mut left = Left {
            rings: attached.chats.iter().any(|chat| presence.is_of_room(chat)),
            emptied: attached.chats.into_iter().filter(|chat| self.rooms.leave(chat, &link.id)).collect(),
            owed: link.withdraw(|_, _| true).into_iter().filter_map(Obligation::give_up).collect(),
            partings: self.part(&link.user, presence),
        };
        left.rings |= !left.partings.progress.is_empty();
        presence.begin_hand_back(left.is_awaited());
        if presence.is_idle() {
            shard.remove(&link.user);
        }
        left
    }

    /// Whether any connection of this node is in the room.
    pub(crate) fn is_in_room(&self, chat: &ChatId) -> bool {
        self.rooms.contains(chat)
    }

    /// The connection is joining a chat: from here on it takes the chat's messages.
    pub(crate) fn join_chat(&self, link: &Link, chat: &ChatId) {
        let mut shard = self.shard(&link.user);
        if let Some(attached) = find(&mut shard, link)
            && !attached.has_joined(chat)
        {
            attached.chats.push(chat.clone());
        }
    }

    /// The join was granted: the connection is in the room, and sees its signals. True when it is the node's first there.
    pub(crate) fn enter_room(&self, link: &Arc<Link>, chat: &ChatId) -> bool {
        // Under the user's lock, so that a leave or an end is before or after it.
        let mut shard = self.shard(&link.user);
        find(&mut shard, link).is_some_and(|attached| attached.has_joined(chat)) && self.rooms.join(chat, link)
    }

    /// The connection has left a chat; returns what it had not confirmed there, as [`Hub::detach`] does. A client that has left drops what still arrives, though its Pong would confirm it.
    pub(crate) fn leave_chat(&self, link: &Link, chat: &ChatId) -> Left {
        let mut shard = self.shard(&link.user);
        let Some(attached) = find(&mut shard, link) else { return Left::default() };
        attached.chats.retain(|other| other != chat);
        let mut left = self
            .take_back(&mut shard, link, |obligation, kind| kind == Kind::Room && obligation.message().chat == *chat);
        left.emptied.extend(self.rooms.leave(chat, &link.id).then(|| chat.clone()));
        left.rings |= shard.get(&link.user).is_some_and(|presence| presence.is_of_room(chat));
        left
    }

    fn take_back(
        &self,
        shard: &mut HashMap<UserId, Presence>,
        link: &Link,
        which: impl Fn(&Obligation, Kind) -> bool,
    ) -> Left {
        let owed = link.withdraw(which).into_iter().filter_map(Obligation::give_up).collect();
        let Some(presence) = shard.get_mut(&link.user) else { return Left { owed, ..Left::default() } };
        let partings = self.part(&link.user, presence);
        let rings = !partings.progress.is_empty();
        let left = Left { owed, partings, rings, emptied: Vec::new() };
        presence.begin_hand_back(left.is_awaited());
        left
    }

    /// The connection has joined the notification topic under one spelling; pending is replayed first. Then comes what the
    /// user's other connections have not confirmed, before anything newer: they may be dead and not know it. (Of a room
    /// only what the same device was sent there: who is in a room on another device is not notified.)
    pub(crate) fn join_notifications(&self, link: &Link, spelling: Spelling) {
        let mut shard = self.shard(&link.user);
        let Some(attached) = find(&mut shard, link) else { return };
        let is_first = attached.spellings.is_empty();
        attached.spellings.insert(spelling);
        link.replay();
        let Some(presence) = shard.get(&link.user).filter(|_| is_first) else { return };
        let others = presence.connections.iter().map(|other| &other.link).filter(|other| other.id != link.id);
        let unconfirmed: BTreeMap<(Sequence, ChatId), Obligation> = others
            .flat_map(|other| other.unconfirmed(|kind| kind == Kind::Notification || other.device == link.device))
            .filter(|obligation| !obligation.is_settled())
            .map(|obligation| ((obligation.message().sequence, obligation.message().chat.clone()), obligation))
            .collect();
        for obligation in unconfirmed.into_values() {
            link.carry_over(obligation);
        }
    }

    /// The connection has left the notification topic under one spelling; returns what it had not confirmed there, as
    /// [`Hub::detach`] does. Under another spelling that stays it comes again, since what was written before may have been
    /// for the one that is left.
    pub(crate) fn leave_notifications(&self, link: &Link, spelling: Spelling) -> Left {
        let mut shard = self.shard(&link.user);
        let Some(attached) = find(&mut shard, link) else { return Left::default() };
        attached.spellings.remove(spelling);
        if !attached.spellings.is_empty() {
            // A replay that was under way began with both.
            link.replay();
        }
        self.take_back(&mut shard, link, |_, kind| kind == Kind::Notification)
    }

    /// Gives a message to one recipient: to every connection of theirs in the room, else to every one with the
    /// notification topic.
    pub(crate) fn deliver(&self, user: &UserId, entry: &Arc<Entry>, frames: &Encoded) -> Delivered {
        let obligation = Obligation::new(entry.clone(), user.clone());
        let chat = &entry.message.chat;
        let mut shard = self.shard(user);
        if let Some(presence) = shard.get(user) {
            let mut delivered = None;
            for attached in presence.connections.iter().filter(|attached| attached.has_joined(chat)) {
                let frame = frames.room(attached.link.serializer);
                attached.link.send(Outgoing::Frame(frame, Some(obligation.clone())));
                delivered = Some(Delivered::Room);
            }
            if delivered.is_none() {
                for attached in presence.connections.iter().filter(|attached| !attached.spellings.is_empty()) {
                    let frames = frames.notification(attached.link.serializer, user, attached.spellings);
                    attached.link.notify(frames, obligation.clone());
                    delivered = Some(Delivered::Notification);
                }
            }
            if let Some(delivered) = delivered {
                return delivered;
            }
        }
        shard.entry(user.clone()).or_default().begin_hand_back(true);
        Delivered::Nowhere(obligation.give_up().expect("no connection holds a clone"))
    }

    /// Gives a message to the sender's other connections in the room. Nothing is owed for them.
    pub(crate) fn echo(&self, sender: &UserId, origin: Option<&ConnectionId>, chat: &ChatId, frames: &Encoded) {
        let shard = self.shard(sender);
        let Some(presence) = shard.get(sender) else { return };
        for attached in &presence.connections {
            if attached.has_joined(chat) && Some(&attached.link.id) != origin {
                attached.link.send(Outgoing::Frame(frames.room(attached.link.serializer), None));
            }
        }
    }

    /// Rows that were owed to `user` are stored: replays that waited may read.
    pub(crate) fn handed_back(&self, user: &UserId) {
        let mut shard = self.shard(user);
        if let Some(presence) = shard.get_mut(user) {
            presence.handing_back = presence.handing_back.saturating_sub(1);
            presence.replay();
            if presence.is_idle() {
                shard.remove(user);
            }
        }
        drop(shard);
        self.settled.notify_waiters();
    }

    /// Waits until nothing of `user` is being handed back on this node. Cancel safe.
    pub(crate) async fn settled(&self, user: &UserId) {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if self.shard(user).get(user).is_none_or(|presence| presence.handing_back == 0) {
                return;
            }
            settled.await;
        }
    }

    /// Rows were stored for `user` while they came online: each connection with the notification topic reads again.
    pub(crate) fn ring(&self, user: &UserId) {
        if let Some(presence) = self.shard(user).get(user) {
            presence.replay();
        }
    }

    /// Rings for every user of this node, and has each connection ask whether its user is still a member of what it has
    /// joined.
    pub(crate) fn ring_all(&self) {
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for presence in shard.values() {
                presence.replay();
                for Attached { link, chats, .. } in &presence.connections {
                    chats.iter().for_each(|chat| link.send(Outgoing::CloseChat(chat.clone())));
                }
            }
        }
    }

    /// `user` is no longer a member of `chat`: each connection ends the channel, behind what was queued before.
    pub(crate) fn close_chat(&self, user: &UserId, chat: &ChatId) {
        let mut shard = self.shard(user);
        let Some(presence) = shard.get_mut(user) else { return };
        presence.removals += 1;
        for attached in presence.connections.iter().filter(|attached| attached.has_joined(chat)) {
            attached.link.send(Outgoing::CloseChat(chat.clone()));
        }
    }

    /// Closes a user's connections, or those of one device.
    pub(crate) fn disconnect(&self, user: &UserId, device: Option<&DeviceId>) {
        let shard = self.shard(user);
        let Some(presence) = shard.get(user) else { return };
        for attached in &presence.connections {
            if device.is_none_or(|device| attached.link.device == *device) {
                attached.link.close(Close::Disconnected);
            }
        }
    }

    /// Shows a signal to everyone in the room but the connection it came from.
    pub(crate) fn signal(&self, signal: &Signal) {
        self.rooms.signal(signal);
    }

    /// Every connection, for draining.
    pub(crate) fn links(&self) -> Vec<Arc<Link>> {
        let mut links = Vec::with_capacity(self.connections.load(Ordering::Relaxed));
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            links.extend(shard.values().flat_map(|presence| &presence.connections).map(|one| one.link.clone()));
        }
        links
    }

    /// How many connections there are.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Presence {
    fn is_idle(&self) -> bool {
        self.connections.is_empty() && self.handing_back == 0 && self.rooms.is_empty()
    }

    fn begin_hand_back(&mut self, something_owed: bool) {
        if something_owed {
            self.handing_back += 1;
            self.replay();
        }
    }
}

fn find<'a>(shard: &'a mut HashMap<UserId, Presence>, link: &Link) -> Option<&'a mut Attached> {
    shard.get_mut(&link.user)?.connections.iter_mut().find(|attached| attached.link.id == link.id)
}
