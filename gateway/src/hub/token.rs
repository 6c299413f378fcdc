//! What stands in a connection's watermark until a Pong confirms it.

use roost_storage::PendingKey;

use super::obligation::Obligation;

/// Something written that the client has to confirm.
pub(crate) enum Token {
    /// A live message.
    Live(Obligation, Kind),
    /// A row of pending.
    Pending(Row),
}

/// As what a live message was pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// On the chat's topic.
    Room,
    /// On the notification topic.
    Notification,
}

/// A row that was pushed, and in which of the connection's replays: only that one may delete it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// The connection's replay.
    pub(crate) generation: u32,
    /// Names the row.
    pub(crate) key: PendingKey,
}
