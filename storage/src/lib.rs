//! Roost's domain types, the traits its routing is written against, and the backends behind those traits.
//!
//! The gateway and the fanout know only what is re-exported here; a vendor is named inside one backend's module
//! and nowhere else. Each trait's documentation is its contract, and `contract` holds one test per promise.

mod chats;
mod config;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod cursors;
pub mod embedded;
mod error;
mod event_log;
mod history;
mod ids;
mod mailboxes;
mod message;
mod partition;
mod pending;
pub mod redis;
pub mod scylla;
mod sessions;
mod signals;

use std::sync::Arc;

pub use chats::{Chats, MemberPage, Membership, MembershipChange, RoomMember, Routing, Span};
pub use config::{Fault, Faults, duration_text};
pub use cursors::{Cursor, Cursors, Gap};
pub use error::StorageError;
pub use event_log::{
    Acquired, AppendError, Appended, Commit, DedupeKey, EventLog, Lease, LogEntry, NewEvent, Position, Renewal,
};
pub use history::{Direction, History};
pub use ids::{ChatId, ConnectionId, DeviceId, Epoch, GatewayId, InvalidId, MessageId, Sequence, UserId, WorkerId};
pub use mailboxes::{Delivery, MailboxEntry, MailboxItem, MailboxPosition, Mailboxes, Put, Refusal, RoomDelivery};
pub use message::{Change, Event, EventBody, Message};
pub use partition::{PartitionId, Partitions};
pub use pending::{Pending, PendingKey, PendingPage};
pub use sessions::{Registration, Session, SessionKey, Sessions};
pub use signals::{Signal, SignalReceiver, Signals};

/// One backend of every trait: what a gateway and a fanout are built from.
#[derive(Clone)]
pub struct Storage {
    /// Accepted events, by partition.
    pub log: Arc<dyn EventLog>,
    /// What each gateway is asked to push.
    pub mailboxes: Arc<dyn Mailboxes>,
    /// Who is reachable where.
    pub sessions: Arc<dyn Sessions>,
    /// Notifications no client has confirmed yet.
    pub pending: Arc<dyn Pending>,
    /// Every message, by chat.
    pub history: Arc<dyn History>,
    /// Members of chats.
    pub chats: Arc<dyn Chats>,
    /// How far members of rooms have confirmed.
    pub cursors: Arc<dyn Cursors>,
    /// Fire-and-forget signals between gateways.
    pub signals: Arc<dyn Signals>,
}
