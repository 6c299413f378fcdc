//! Why the server closes a connection: every close code it sends, listed once.

use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// A close by the server. Codes as Phoenix sends them where Phoenix has a case (`phx_close` and other frames never
/// precede them); reasons only where Phoenix has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Close {
    /// The client closed, or its transport ended.
    ByClient,
    /// A frame broke the WebSocket protocol (RFC 6455).
    ProtocolError,
    /// Nothing came from the client for `gateway.idle_timeout`.
    Idle,
    /// A text frame was not UTF-8.
    InvalidUtf8,
    /// A frame was larger than `gateway.frame_bytes_max`.
    TooLarge,
    /// A frame was not a Phoenix frame.
    Malformed,
    /// An operator disconnected the user or the device.
    Disconnected,
    /// The node is shutting down: come back, elsewhere.
    Restart,
    /// The token has expired: come back with a new one.
    TokenExpired,
    /// The client did not take what was sent in time; what it has not confirmed is pending.
    SlowClient,
    /// The connection's task crashed, a fault of ours; what it was owed is pending.
    Crashed,
    /// No Pong came within `gateway.confirm_timeout`; what it has not confirmed is pending.
    Unconfirmed,
}

impl Close {
    /// Every cause, for metrics.
    pub(crate) const ALL: [Close; 12] = [
        Self::ByClient,
        Self::ProtocolError,
        Self::Idle,
        Self::InvalidUtf8,
        Self::TooLarge,
        Self::Malformed,
        Self::Disconnected,
        Self::Restart,
        Self::TokenExpired,
        Self::SlowClient,
        Self::Crashed,
        Self::Unconfirmed,
    ];

    /// The cause as a metric's label.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::ByClient => "client",
            Self::ProtocolError => "protocol_error",
            Self::Idle => "idle",
            Self::InvalidUtf8 => "invalid_utf8",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::Disconnected => "disconnected",
            Self::Restart => "restart",
            Self::TokenExpired => "token_expired",
            Self::SlowClient => "slow_client",
            Self::Crashed => "crashed",
            Self::Unconfirmed => "unconfirmed",
        }
    }

    /// The close frame; none when the client is gone.
    pub(crate) fn frame(self) -> Option<CloseFrame> {
        let (code, reason) = match self {
            // The socket went with the client, or with the task.
            Self::ByClient | Self::Crashed => return None,
            Self::ProtocolError | Self::Idle => (CloseCode::Protocol, ""),
            Self::InvalidUtf8 => (CloseCode::Invalid, ""),
            Self::TooLarge => (CloseCode::Size, ""),
            Self::Malformed => (CloseCode::Error, ""),
            Self::Disconnected => (CloseCode::Away, ""),
            Self::Restart => (CloseCode::Restart, ""),
            Self::TokenExpired => (CloseCode::Policy, "token expired"),
            Self::SlowClient => (CloseCode::Again, "slow client"),
            Self::Unconfirmed => (CloseCode::Again, "no pong"),
        };
        Some(CloseFrame { code, reason: reason.into() })
    }
}
