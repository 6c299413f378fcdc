//! Identifiers. None is a bare string: a user can not be passed where a chat is asked for.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be 1 to {bytes_max} bytes without control characters")]
pub struct InvalidId {
    what: &'static str,
    bytes_max: usize,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "Arc<str>", into = "Arc<str>")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Longest accepted identifier, in bytes.
            pub const BYTES_MAX: usize = $max;

            /// Takes a text from outside.
            ///
            /// # Errors
            /// [`InvalidId`] when it is empty, too long, or holds a control character.
            pub fn new(text: impl Into<Arc<str>>) -> Result<Self, InvalidId> {
                let text = text.into();
                if text.is_empty() || text.len() > $max || text.chars().any(char::is_control) {
                    return Err(InvalidId { what: $what, bytes_max: $max });
                }
                Ok(Self(text))
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<Arc<str>> for $name {
            type Error = InvalidId;
            fn try_from(text: Arc<str>) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl From<$name> for Arc<str> {
            fn from(id: $name) -> Arc<str> {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($what, " {:?}"), &self.0)
            }
        }
    };
}

text_id!(
    /// An account: the token's `sub`.
    UserId, "user id", 128
);
text_id!(
    /// Where people talk. Its topic is `chat:<id>`.
    ChatId, "chat id", 128
);
text_id!(
    /// `device_unique_id` of a connection.
    DeviceId, "device id", 256
);
text_id!(
    /// One life of one gateway. A restarted process is a new gateway with a new id.
    GatewayId, "gateway id", 64
);
text_id!(
    /// One life of one fanout process.
    WorkerId, "worker id", 64
);

fn random_hex() -> Arc<str> {
    format!("{:016x}", rand::random::<u64>()).into()
}

impl GatewayId {
    /// A new, unique id.
    pub fn random() -> Self {
        Self(random_hex())
    }
}

impl WorkerId {
    /// A new, unique id.
    pub fn random() -> Self {
        Self(random_hex())
    }
}

/// One open connection: unique over all gateways and all time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConnectionId {
    /// The gateway that holds it.
    pub gateway: GatewayId,
    /// Counted up by that gateway.
    pub number: u64,
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.gateway, self.number)
    }
}

/// An event's place in its chat: microseconds since the Unix epoch when it was accepted, and at least one more than
/// the chat's previous event's. Strictly increasing per chat; below 2^53, so exact as a double.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sequence(pub u64);

impl Sequence {
    /// When the event was accepted.
    pub fn timestamp(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(self.0)
    }

    /// The sequence that an event accepted now gets in a chat whose last one is `last`.
    pub fn next(last: Option<Sequence>, now: SystemTime) -> Sequence {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        Sequence(last.map_or(now, |last| now.max(last.0 + 1)))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// How often a lease has changed hands. A write that carries an older epoch than the lease's is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// A message's public id: 24 hexadecimal digits, 14 of the sequence and 10 of a hash of the chat. Derived, never
/// stored: the same message has the same id everywhere, and within one chat ids sort as the messages do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId {
    sequence: u64,
    chat_hash: u64,
}

impl MessageId {
    /// The id of the message at `sequence` of `chat`.
    pub fn new(chat: &ChatId, sequence: Sequence) -> Self {
        Self { sequence: sequence.0, chat_hash: crate::partition::stable_hash(chat.as_str()) & 0xff_ffff_ffff }
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:014x}{:010x}", self.sequence, self.chat_hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_refused_when_empty_too_long_or_with_control_characters() {
        assert!(UserId::new("674bd8ba5a0b920001bd9f5d").is_ok());
        assert!(UserId::new("").is_err());
        assert!(UserId::new("x".repeat(128)).is_ok());
        assert!(UserId::new("x".repeat(129)).is_err());
        assert!(ChatId::new("a\nb").is_err());
        assert!(ChatId::new("a\0b").is_err());
    }

    #[test]
    fn sequences_increase_even_when_the_clock_does_not() {
        let now = UNIX_EPOCH + Duration::from_secs(10);
        assert_eq!(Sequence::next(None, now), Sequence(10_000_000));
        assert_eq!(Sequence::next(Some(Sequence(9)), now), Sequence(10_000_000));
        assert_eq!(Sequence::next(Some(Sequence(20_000_000)), now), Sequence(20_000_001));
    }

    #[test]
    fn message_ids_look_like_object_ids_and_sort_by_sequence() {
        let chat = ChatId::new("c").unwrap();
        let (a, b) = (MessageId::new(&chat, Sequence(1)), MessageId::new(&chat, Sequence(2)));
        assert_eq!(a.to_string().len(), 24);
        assert!(a.to_string() < b.to_string());
    }
}
