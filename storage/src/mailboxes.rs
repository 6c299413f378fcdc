//! Mailboxes: what each gateway is asked to push, kept until it is confirmed or has become pending.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{ChatId, ConnectionId, DeviceId, GatewayId, Message, Sequence, StorageError, UserId};

/// Where an entry stands in its mailbox. [`MailboxPosition::START`] is before every entry.
pub type MailboxPosition = crate::Position;

/// One thing for a gateway to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailboxItem {
    /// Push a message. Carries an obligation: until each recipient has confirmed it or it is pending for them, the
    /// entry stays.
    Deliver(Delivery),
    /// Push a message of a chat in room mode to everyone here whom it concerns. Carries no obligation: what is not
    /// confirmed is behind its user's [`Cursor`](crate::Cursor).
    DeliverRoom(RoomDelivery),
    /// Some message of a chat in room mode could not be put here: everyone here whom it concerns reads history.
    RingRoom {
        /// The chat.
        chat: ChatId,
    },
    /// These users are members of a chat in room mode: follow it for those who are connected, and read history.
    EnterRoom {
        /// The chat.
        chat: ChatId,
        /// Who was found here.
        users: Vec<UserId>,
    },
    /// Read `user`'s pending again: a row was written while they came online.
    Ring {
        /// Whose.
        user: UserId,
    },
    /// `user` is no longer a member of `chat`: close the channel on each of their connections.
    CloseChat {
        /// The chat.
        chat: ChatId,
        /// The former member.
        user: UserId,
    },
    /// Close `user`'s connections: all of them, or one device's.
    Disconnect {
        /// Whose.
        user: UserId,
        /// Only this device's, when given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        device: Option<DeviceId>,
    },
}

/// A message and whom this gateway should push it to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// The connection that sent it, which does not get it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<ConnectionId>,
    /// Members who were reachable on this gateway, never the sender. The sender's other connections in the room get
    /// the message too, without an obligation, whether listed or not.
    pub recipients: Vec<UserId>,
}

/// A message of a chat in room mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomDelivery {
    /// The message.
    pub message: Message,
    /// The room's message before it: a gateway that has not had it reads history. None when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Sequence>,
    /// The connection that sent it, which does not get it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<ConnectionId>,
}

/// One entry, as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxEntry {
    /// Where it stands.
    pub position: MailboxPosition,
    /// What it asks for.
    pub item: MailboxItem,
}

/// What became of putting items into a mailbox: all of them, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Put {
    /// Durably there, in the order given.
    Accepted,
    /// Nothing was written.
    Refused(Refusal),
}

/// Why a mailbox takes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The gateway is fenced or was never opened: it will never take anything again.
    Gone,
    /// At its length limit. What is no delivery has room of its own beyond it.
    Full,
}

impl MailboxItem {
    /// Whether the length limit for deliveries counts for it.
    pub fn is_delivery(&self) -> bool {
        matches!(self, Self::Deliver(_) | Self::DeliverRoom(_))
    }
}

/// One mailbox per gateway.
#[async_trait]
pub trait Mailboxes: Send + Sync {
    /// Makes the mailbox of a new gateway. Until then, puts are refused as [`Refusal::Gone`].
    ///
    /// # Errors
    /// Those of the backend.
    async fn open(&self, gateway: &GatewayId) -> Result<(), StorageError>;

    /// Puts items, in order, all or none; one atomic step checks the fence and writes. Durable when it returns.
    ///
    /// # Errors
    /// Those of the backend; the items may or may not be there, and putting them again is safe: receivers know
    /// messages by id.
    async fn put(&self, gateway: &GatewayId, items: Vec<MailboxItem>) -> Result<Put, StorageError>;

    /// Reads at most `max` entries after `after`, oldest first; waits up to `wait` for the first one. Cancel safe.
    /// After an error load the position again, from [`Mailboxes::confirmed`]: one in memory may point past what a new
    /// primary has.
    ///
    /// # Errors
    /// Those of the backend.
    async fn read(
        &self,
        gateway: &GatewayId,
        after: MailboxPosition,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<MailboxEntry>, StorageError>;

    /// The position through which everything is dealt with; entries at or below it may be gone. Never moves back.
    ///
    /// # Errors
    /// Those of the backend.
    async fn confirm(&self, gateway: &GatewayId, through: MailboxPosition) -> Result<(), StorageError>;

    /// The position last confirmed; [`MailboxPosition::START`] when none was.
    ///
    /// # Errors
    /// Those of the backend.
    async fn confirmed(&self, gateway: &GatewayId) -> Result<MailboxPosition, StorageError>;

    /// After this returns, no put into this mailbox is ever accepted again. What is in it stays readable.
    ///
    /// # Errors
    /// Those of the backend.
    async fn fence(&self, gateway: &GatewayId) -> Result<(), StorageError>;

    /// Deletes a fenced mailbox and what is left in it. It stays fenced.
    ///
    /// # Errors
    /// Those of the backend.
    async fn remove(&self, gateway: &GatewayId) -> Result<(), StorageError>;
}
