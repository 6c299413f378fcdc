//! The session registry: which connections a user has, and what they have joined. It carries no obligation: what is
//! registered here only decides whether a message goes to a mailbox or to pending.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{ChatId, ConnectionId, DeviceId, GatewayId, Renewal, StorageError, UserId, WorkerId};

/// One connection, as registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Whose.
    pub user: UserId,
    /// Which; names the gateway as well.
    pub connection: ConnectionId,
    /// From which device.
    pub device: DeviceId,
    /// The chats it has joined.
    pub chats: BTreeSet<ChatId>,
    /// Whether it has joined the user's notification topic.
    pub notifications: bool,
}

impl Session {
    /// A connection that has joined nothing. Registered while it closes: what it had not confirmed is being stored.
    pub fn is_closing(&self) -> bool {
        self.chats.is_empty() && !self.notifications
    }
}

/// Names one session.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionKey {
    /// Whose.
    pub user: UserId,
    /// Which.
    pub connection: ConnectionId,
}

/// What became of registering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Registration {
    /// Every look-up from now on sees it.
    Done,
    /// The gateway has no lease any more: it must close its sockets.
    GatewayLost,
}

/// Where users are. Linearizable per user: a look-up that begins after a registration returned sees it.
#[async_trait]
pub trait Sessions: Send + Sync {
    /// Registers a connection, or replaces what it had registered.
    ///
    /// # Errors
    /// Those of the backend.
    async fn register(&self, session: &Session) -> Result<Registration, StorageError>;

    /// Removes exactly this connection's session; another connection's, newer or older, stays. Can be repeated.
    ///
    /// # Errors
    /// Those of the backend.
    async fn unregister(&self, key: &SessionKey) -> Result<(), StorageError>;

    /// The sessions of each user, in the order asked, of gateways whose lease lives.
    ///
    /// # Errors
    /// Those of the backend.
    async fn look_up(&self, users: &[UserId]) -> Result<Vec<Vec<Session>>, StorageError>;

    /// Gives a new gateway its lease for `ttl`.
    ///
    /// # Errors
    /// Those of the backend.
    async fn gateway_up(&self, gateway: &GatewayId, ttl: Duration) -> Result<(), StorageError>;

    /// Renews a gateway's lease for `ttl` from now. [`Renewal::Lost`] once a reaper has claimed it or it was forgotten;
    /// a lease whose time has run out but that nobody claimed is kept.
    ///
    /// # Errors
    /// Those of the backend.
    async fn renew_gateway(&self, gateway: &GatewayId, ttl: Duration) -> Result<Renewal, StorageError>;

    /// Every known gateway whose lease has run out, claimed or not.
    ///
    /// # Errors
    /// Those of the backend.
    async fn dead_gateways(&self) -> Result<Vec<GatewayId>, StorageError>;

    /// Claims a dead gateway for reaping, for `ttl`. False when its lease lives, or another worker's claim does.
    /// Claiming again renews the claim. After a claim the gateway's lease can not be renewed any more.
    ///
    /// # Errors
    /// Those of the backend.
    async fn claim_gateway(&self, gateway: &GatewayId, worker: &WorkerId, ttl: Duration) -> Result<bool, StorageError>;

    /// At most `max` sessions of one gateway, living or dead, in no particular order.
    ///
    /// # Errors
    /// Those of the backend.
    async fn sessions_of(&self, gateway: &GatewayId, max: usize) -> Result<Vec<SessionKey>, StorageError>;

    /// Forgets a gateway: its lease, its claim, its place among the known, what it followed. For a reaped one, and for one that leaves in
    /// good order. Can be repeated.
    ///
    /// # Errors
    /// Those of the backend.
    async fn forget_gateway(&self, gateway: &GatewayId) -> Result<(), StorageError>;

    /// From now on `gateway` wants the messages of `chat`, which is in room mode. Can be repeated.
    ///
    /// # Errors
    /// Those of the backend.
    async fn follow(&self, gateway: &GatewayId, chat: &ChatId) -> Result<Registration, StorageError>;

    /// Takes [`Sessions::follow`] back. Can be repeated.
    ///
    /// # Errors
    /// Those of the backend.
    async fn unfollow(&self, gateway: &GatewayId, chat: &ChatId) -> Result<(), StorageError>;

    /// Which gateways follow each chat, in the order asked, sorted, without those whose lease does not live. Sees every
    /// [`Sessions::follow`] that returned before this was called.
    ///
    /// # Errors
    /// Those of the backend.
    async fn followers(&self, chats: &[ChatId]) -> Result<Vec<Vec<GatewayId>>, StorageError>;

    /// How many sessions there are.
    ///
    /// # Errors
    /// Those of the backend.
    async fn count(&self) -> Result<u64, StorageError>;
}
