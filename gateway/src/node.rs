//! One life of a gateway: what all its connections, the mailbox reader and the HTTP API share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use roost_storage::{ConnectionId, GatewayId, Storage};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::appender::Appender;
use crate::auth::Authenticator;
use crate::config::{ChatsConfig, GatewayConfig};
use crate::following::Following;
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
    pub(crate) following: Arc<Following>,
}

impl Node {
    pub(crate) fn next_connection_id(&self) -> ConnectionId {
        let number = self.connection_counter.fetch_add(1, Ordering::Relaxed);
        ConnectionId { gateway: self.id.clone(), number }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
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
