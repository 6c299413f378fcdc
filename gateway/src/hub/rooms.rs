//! Rooms of this node: who hears a chat's signals.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roost_storage::{ChatId, ConnectionId, Signal};

use super::frames;
use super::link::{Link, Outgoing};
use crate::phoenix::Serializer;

/// Chats that a connection of this node has joined. Locked after a user's shard, never before.
#[derive(Default)]
pub(super) struct Rooms(Mutex<HashMap<ChatId, Vec<Arc<Link>>>>);

impl Rooms {
    fn lock(&self) -> MutexGuard<'_, HashMap<ChatId, Vec<Arc<Link>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn contains(&self, chat: &ChatId) -> bool {
        self.lock().contains_key(chat)
    }

    /// True when this is the first connection in the room. Can be repeated.
    pub(super) fn join(&self, chat: &ChatId, link: &Arc<Link>) -> bool {
        let mut rooms = self.lock();
        let room = rooms.entry(chat.clone()).or_default();
        if room.iter().all(|other| other.id != link.id) {
            room.push(link.clone());
        }
        room.len() == 1
    }

    /// True when this was the last connection in the room.
    pub(super) fn leave(&self, chat: &ChatId, connection: &ConnectionId) -> bool {
        let mut rooms = self.lock();
        let Some(room) = rooms.get_mut(chat) else { return false };
        let before = room.len();
        room.retain(|link| link.id != *connection);
        let last = room.is_empty() && before > 0;
        if last {
            rooms.remove(chat);
        }
        last
    }

    pub(super) fn signal(&self, signal: &Signal) {
        let Signal::Typing { chat, user, is_typing, origin } = signal;
        let rooms = self.lock();
        let Some(room) = rooms.get(chat) else { return };
        let mut encoded = [None, None];
        for link in room.iter().filter(|link| link.id != *origin) {
            let slot = &mut encoded[usize::from(link.serializer == Serializer::V2)];
            let frame = slot.get_or_insert_with(|| frames::typing(link.serializer, chat, user, *is_typing));
            link.send(Outgoing::Frame(frame.clone(), None));
        }
    }
}
