//! The Phoenix Channels wire: frames in, frames out, no socket.

/// Which form of frames a connection speaks; negotiated from `vsn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Serializer {
    /// JSON objects, `vsn` 1.0.x or none.
    V1,
    /// JSON arrays, `vsn` 2.0.x.
    V2,
}
