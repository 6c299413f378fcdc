//! The Phoenix Channels wire for text frames: frames in, frames out. No socket, no async, no chat.
//!
//! A connection parses what came with [`ClientFrame::parse`], asks its [`Channels`] what to do about it, and sends the
//! [`ServerFrame`]s it is handed, in the order it is handed them.

mod channels;
mod client_frame;
mod json;
mod reference;
mod server_frame;
#[cfg(test)]
mod tests;
mod vsn;

pub use channels::{Channels, EventRequest, JoinRequest, ReplyTo, Step};
pub use client_frame::{ClientFrame, Malformed, Name};
pub use reference::Ref;
pub use server_frame::{Frames, Payload, ServerFrame, Status};

/// Which form of frames a connection speaks; negotiated from `vsn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Serializer {
    /// JSON objects, `vsn` 1.0.x or none.
    V1,
    /// JSON arrays, `vsn` 2.0.x.
    V2,
}

/// The reasons this layer gives in error replies, and those the protocol reserves for the application.
pub mod reason {
    /// No route matches the topic, or it is not joined.
    pub const UNMATCHED_TOPIC: &str = "unmatched topic";
    /// The connection has joined as many topics as it may.
    pub const TOO_MANY_CHANNELS: &str = "too many channels joined";
    /// The application failed while it decided on a join; for the application to give.
    pub const JOIN_CRASHED: &str = "join crashed";
    /// A joined topic does not know the event; for the application to give, when the event carries a ref.
    pub const UNKNOWN_EVENT: &str = "unknown event";
}
