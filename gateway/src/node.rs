//! One life of a gateway: what all its connections, the mailbox reader and the HTTP API share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use roost_storage::{ChatId, ConnectionId, GatewayId, Storage};
use tokio::sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore};
use tracing::warn;

use crate::appender::Appender;
use crate::auth::Authenticator;
use crate::config::{ChatsConfig, GatewayConfig};
use crate::handback::Handback;
use crate::hub::Hub;
use crate::metrics::Metrics;

/// Shared by everything in one gateway.
pub(crate) struct Node {
    pub(crate) id: GatewayId,
    pub(crate) config: GatewayConfig,
    pub(crate) chats: ChatsConfig,
    pub(crate) storage: Storage,
    pub(crate) authenticator: Authenticator,
    /// How long a connection outlives its token.
    pub(crate) expiry_grace: Duration,
    pub(crate) hub: Arc<Hub>,
    pub(crate) handback: Arc<Handback>,
    pub(crate) appender: Appender,
    pub(crate) metrics: Arc<Metrics>,
    /// One permit per socket of the public listener.
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) draining: AtomicBool,
    /// Connections, from the accepted handshake on until everything they were owed is handed back.
    pub(crate) running: AtomicU64,
    /// Notified when a connection ends.
    pub(crate) closed: Notify,
    pub(crate) connection_counter: AtomicU64,
    /// Held while a chat is followed or unfollowed, so that the last word matches the room.
    pub(crate) following: Mutex<()>,
}

impl Node {
    pub(crate) fn next_connection_id(&self) -> ConnectionId {
        let number = self.connection_counter.fetch_add(1, Ordering::Relaxed);
        ConnectionId { gateway: self.id.clone(), number }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Follows the chat's signals while anyone here is in its room. Call it when the room's first came or last left.
    pub(crate) async fn follow(&self, chat: &ChatId) {
        let _guard = self.following.lock().await;
        let follow = self.hub.is_in_room(chat);
        if let Err(error) = self.storage.signals.follow(&self.id, chat, follow).await {
            // Typing is lost until the room's next first join; nothing else travels by signals.
            warn!(%error, follow, "signals of a chat not followed or unfollowed");
        }
    }
}

/// A connection's place on the node, from the accepted handshake on.
pub(crate) struct Place {
    node: Arc<Node>,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    pub(crate) fn new(node: &Arc<Node>, permit: OwnedSemaphorePermit) -> Self {
        node.running.fetch_add(1, Ordering::Relaxed);
        Self { node: node.clone(), _permit: permit }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.node.running.fetch_sub(1, Ordering::Relaxed);
        self.node.closed.notify_waiters();
    }
}
