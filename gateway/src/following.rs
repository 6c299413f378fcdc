//! What this gateway has told the registry it wants to hear of: the signals of chats whose room someone here is in, and
//! the messages of chats in room mode that concern someone here.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use roost_storage::{ChatId, GatewayId, MailboxItem, Put, Refusal, Registration, Storage, StorageError, UserId};
use tokio::sync::MutexGuard;
use tracing::warn;

use crate::hub::Hub;
use crate::retry::retry;

/// Chats are followed one at a time within one of these, so that the last word matches the hub.
const TURNS: usize = 64;
/// How long to wait for room in another gateway's mailbox.
const RING_AGAIN: Duration = Duration::from_millis(50);

/// The gateway's side of following.
pub(crate) struct Following {
    gateway: GatewayId,
    storage: Storage,
    hub: Arc<Hub>,
    turns: Vec<tokio::sync::Mutex<()>>,
    hasher: RandomState,
    /// Rooms that the registry knows this gateway follows.
    rooms: Mutex<HashSet<ChatId>>,
}

impl Following {
    pub(crate) fn new(gateway: GatewayId, storage: Storage, hub: Arc<Hub>) -> Self {
        let turns = (0..TURNS).map(|_| tokio::sync::Mutex::default()).collect();
        Self { gateway, storage, hub, turns, hasher: RandomState::new(), rooms: Mutex::default() }
    }

    async fn turn(&self, chat: &ChatId) -> MutexGuard<'_, ()> {
        let index = usize::try_from(self.hasher.hash_one(chat) % TURNS as u64).expect("a turn's index is small");
        self.turns[index].lock().await
    }

    /// Follows the chat's signals while anyone here is in its room. Call it when the room's first came or last left.
    pub(crate) async fn signals(&self, chat: &ChatId) {
        let _turn = self.turn(chat).await;
        let follow = self.hub.is_in_room(chat);
        if let Err(error) = self.storage.signals.follow(&self.gateway, chat, follow).await {
            // Typing is lost until the room's next first join; nothing else travels by signals.
            warn!(%error, follow, "signals of a chat not followed or unfollowed");
        }
    }

    /// Follows the room's messages while they concern anyone here. Once it has returned, what is appended to the chat's
    /// history comes, or was there before.
    pub(crate) async fn room(&self, chat: &ChatId) -> Result<Registration, StorageError> {
        let _turn = self.turn(chat).await;
        let follow = self.hub.is_followed(chat);
        let rooms = || self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        if follow == rooms().contains(chat) {
            return Ok(Registration::Done);
        }
        if !follow {
            self.storage.sessions.unfollow(&self.gateway, chat).await?;
            rooms().remove(chat);
            return Ok(Registration::Done);
        }
        let registration = self.storage.sessions.follow(&self.gateway, chat).await?;
        if registration == Registration::Done {
            rooms().insert(chat.clone());
        }
        Ok(registration)
    }

    /// [`Following::room`], until it succeeds. A lost lease is somebody else's business.
    pub(crate) async fn room_at_last(&self, chat: &ChatId) {
        let _ = retry("follow a room", || self.room(chat)).await;
    }

    /// The registry was told by fanout that this gateway follows the room: that is so, or is taken back. It is said again in
    /// any case, since an unfollow of before may have come after it. Who reads history after that misses nothing.
    pub(crate) async fn room_followed_by_fanout(&self, chat: &ChatId) {
        let is_followed = self.hub.is_followed(chat);
        {
            let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
            if is_followed {
                rooms.remove(chat)
            } else {
                rooms.insert(chat.clone())
            };
        }
        self.room_at_last(chat).await;
    }

    /// The lease may have run out for a while: what could not be followed then is now.
    pub(crate) async fn after_a_lapse(&self) {
        for chat in self.hub.followed() {
            if let Err(error) = self.room(&chat).await {
                // Whoever reads the room's history next follows it first.
                warn!(%error, "a room not followed again");
            }
        }
    }

    /// Rings every other gateway where one of these users has the notification topic: what is pending, or where they are,
    /// has changed. This gateway's own connections are told through the hub.
    pub(crate) async fn ring_elsewhere(&self, users: Vec<UserId>) {
        let found = retry("look up sessions", || self.storage.sessions.look_up(&users)).await;
        let mut rings: HashMap<GatewayId, Vec<MailboxItem>> = HashMap::new();
        for (user, sessions) in users.iter().zip(found) {
            let gateways: HashSet<GatewayId> = sessions
                .into_iter()
                .filter(|session| session.notifications && session.connection.gateway != self.gateway)
                .map(|session| session.connection.gateway)
                .collect();
            for gateway in gateways {
                rings.entry(gateway).or_default().push(MailboxItem::Ring { user: user.clone() });
            }
        }
        for (gateway, items) in rings {
            loop {
                match retry("ring a gateway", || self.storage.mailboxes.put(&gateway, items.clone())).await {
                    Put::Accepted | Put::Refused(Refusal::Gone) => break,
                    Put::Refused(Refusal::Full) => tokio::time::sleep(RING_AGAIN).await,
                }
            }
        }
    }
}
