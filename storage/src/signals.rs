//! Signals: what may be lost. Typing travels here, past the event log and the mailboxes.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{ChatId, ConnectionId, GatewayId, StorageError, UserId};

/// Something that matters only now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// A user began or stopped typing.
    Typing {
        /// Where.
        chat: ChatId,
        /// Who.
        user: UserId,
        /// Whether they type.
        is_typing: bool,
        /// The connection it came from, which does not get it back.
        origin: ConnectionId,
    },
}

impl Signal {
    /// The chat it is about.
    pub fn chat(&self) -> &ChatId {
        match self {
            Self::Typing { chat, .. } => chat,
        }
    }
}

/// One gateway's signals.
#[async_trait]
pub trait SignalReceiver: Send {
    /// The next signal; `None` when the backend is closed. Cancel safe. A receiver that is too slow loses signals.
    async fn next(&mut self) -> Option<Signal>;
}

/// At most once, no order between publishers, bounded. What is lost here is no loss.
#[async_trait]
pub trait Signals: Send + Sync {
    /// Tells every gateway that follows the signal's chat, the publishing one included.
    ///
    /// # Errors
    /// Those of the backend.
    async fn publish(&self, signal: &Signal) -> Result<(), StorageError>;

    /// Everything published from now on about chats this gateway follows.
    ///
    /// # Errors
    /// Those of the backend.
    async fn subscribe(&self, gateway: &GatewayId) -> Result<Box<dyn SignalReceiver>, StorageError>;

    /// Starts (or stops) following a chat: the gateway's first connection joined it, or its last left.
    ///
    /// # Errors
    /// Those of the backend.
    async fn follow(&self, gateway: &GatewayId, chat: &ChatId, follow: bool) -> Result<(), StorageError>;
}
