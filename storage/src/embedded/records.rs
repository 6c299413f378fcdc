//! The stored records. JSON, so that a field can be added with a default and old records stay readable; the samples in
//! the tests are what earlier versions wrote, and must be readable for ever. A change that older code can not live with
//! raises [`FORMAT_VERSION`].

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Event, Sequence, Span};

/// The format this version writes. A store of a newer one is refused.
pub(super) const FORMAT_VERSION: u32 = 1;

/// What the store is.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FormatRecord {
    pub(super) version: u32,
    pub(super) partitions: u16,
}

/// An entry of the event log.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EventRecord {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) previous: Option<Sequence>,
    pub(super) event: Event,
}

/// How far a partition is read, and how often it changed hands.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PartitionRecord {
    pub(super) cursor: u64,
    pub(super) epoch: u64,
}

/// A chat's last sequence.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ClockRecord {
    pub(super) last: Sequence,
}

/// An event that was appended under a dedupe key.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DedupeRecord {
    pub(super) sequence: Sequence,
    /// Microseconds since the Unix epoch.
    pub(super) accepted_at: u64,
}

/// A gateway's mailbox.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MailboxRecord {
    pub(super) confirmed: u64,
    #[serde(default)]
    pub(super) fenced: bool,
}

/// A user who has pending notifications.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PendingUserRecord {
    pub(super) rows: u64,
    /// No row is older than this.
    pub(super) oldest: Sequence,
}

/// A chat that exists.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ChatRecord {
    pub(super) applied: Sequence,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) rooms: Vec<Span>,
}

pub(super) fn encode(record: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_into(&mut bytes, record);
    bytes
}

/// Appends the encoded record to `bytes`.
pub(super) fn encode_into(bytes: &mut Vec<u8>, record: &impl Serialize) {
    serde_json::to_writer(bytes, record).expect("records have text keys and no failing serializers");
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(bytes)
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;
    use crate::{
        Change, ChatId, ConnectionId, Cursor, Delivery, DeviceId, EventBody, Gap, GatewayId, MailboxItem, Message,
        RoomDelivery, UserId,
    };

    /// Format 1, literally. Never change a sample: add one.
    fn sample<T: Debug + PartialEq + DeserializeOwned + Serialize>(json: &str, expected: T) {
        assert_eq!(decode::<T>(json.as_bytes()).unwrap(), expected);
        assert_eq!(decode::<T>(&encode(&expected)).unwrap(), expected, "and what is written now can be read");
    }

    fn user(text: &str) -> UserId {
        UserId::new(text).unwrap()
    }

    fn message() -> Message {
        Message {
            chat: ChatId::new("c1").unwrap(),
            sequence: Sequence(1_700_000_000_000_001),
            sender: user("u1"),
            content: "a\0😀".into(),
        }
    }

    fn origin() -> ConnectionId {
        ConnectionId { gateway: GatewayId::new("00ff").unwrap(), number: 7 }
    }

    #[test]
    fn events_of_format_1_are_readable() {
        let event = |body| Event { chat: message().chat, sequence: message().sequence, body };
        let said = |origin| EventBody::Message { sender: user("u1"), content: "a\0😀".into(), origin };
        sample(
            r#"{"previous":5,"event":{"chat":"c1","sequence":1700000000000001,"body":{"message":{"sender":"u1","content":"a\u0000😀","origin":{"gateway":"00ff","number":7}}}}}"#,
            EventRecord { previous: Some(Sequence(5)), event: event(said(Some(origin()))) },
        );
        sample(
            r#"{"event":{"chat":"c1","sequence":1700000000000001,"body":{"message":{"sender":"u1","content":"a\u0000😀"}}}}"#,
            EventRecord { previous: None, event: event(said(None)) },
        );
        for (change, expected) in [
            (r#"{"set":["u1","u2"]}"#, Change::Set([user("u1"), user("u2")].into())),
            (r#"{"add":"u1"}"#, Change::Add(user("u1"))),
            (r#"{"remove":"u1"}"#, Change::Remove(user("u1"))),
        ] {
            sample(
                &format!(r#"{{"event":{{"chat":"c1","sequence":1700000000000001,"body":{{"members":{change}}}}}}}"#),
                EventRecord { previous: None, event: event(EventBody::Members(expected)) },
            );
        }
    }

    #[test]
    fn mailbox_items_of_format_1_are_readable() {
        let (chat, reader) = (message().chat, user("u2"));
        sample(
            r#"{"deliver":{"message":{"chat":"c1","sequence":1700000000000001,"sender":"u1","content":"a\u0000😀"},"origin":{"gateway":"00ff","number":7},"recipients":["u2"]}}"#,
            MailboxItem::Deliver(Delivery {
                message: message(),
                origin: Some(origin()),
                recipients: vec![reader.clone()],
            }),
        );
        sample(
            r#"{"deliver_room":{"message":{"chat":"c1","sequence":1700000000000001,"sender":"u1","content":"a\u0000😀"},"previous":7}}"#,
            MailboxItem::DeliverRoom(RoomDelivery { message: message(), previous: Some(Sequence(7)), origin: None }),
        );
        sample(r#"{"ring_room":{"chat":"c1"}}"#, MailboxItem::RingRoom { chat: chat.clone() });
        sample(
            r#"{"enter_room":{"chat":"c1","users":["u2"]}}"#,
            MailboxItem::EnterRoom { chat: chat.clone(), users: vec![reader.clone()] },
        );
        sample(r#"{"ring":{"user":"u2"}}"#, MailboxItem::Ring { user: reader.clone() });
        sample(r#"{"close_chat":{"chat":"c1","user":"u2"}}"#, MailboxItem::CloseChat { chat, user: reader.clone() });
        sample(
            r#"{"disconnect":{"user":"u2","device":"d"}}"#,
            MailboxItem::Disconnect { user: reader.clone(), device: Some(DeviceId::new("d").unwrap()) },
        );
        sample(r#"{"disconnect":{"user":"u2"}}"#, MailboxItem::Disconnect { user: reader, device: None });
    }

    #[test]
    fn other_records_of_format_1_are_readable() {
        sample(r#"{"version":1,"partitions":16}"#, FormatRecord { version: 1, partitions: 16 });
        sample(r#"{"cursor":4,"epoch":2}"#, PartitionRecord { cursor: 4, epoch: 2 });
        sample(r#"{"last":9}"#, ClockRecord { last: Sequence(9) });
        sample(r#"{"sequence":9,"accepted_at":8}"#, DedupeRecord { sequence: Sequence(9), accepted_at: 8 });
        sample(r#"{"confirmed":3,"fenced":true}"#, MailboxRecord { confirmed: 3, fenced: true });
        sample(r#"{"rows":2,"oldest":9}"#, PendingUserRecord { rows: 2, oldest: Sequence(9) });
        sample(r#"{"applied":9}"#, ChatRecord { applied: Sequence(9), rooms: Vec::new() });
        sample(
            r#"{"applied":9,"rooms":[{"since":2,"until":5},{"since":7}]}"#,
            ChatRecord {
                applied: Sequence(9),
                rooms: vec![
                    Span { since: Sequence(2), until: Some(Sequence(5)) },
                    Span { since: Sequence(7), until: None },
                ],
            },
        );
        sample(r#"[{"since":2}]"#, vec![Span { since: Sequence(2), until: None }]);
        let gap = Gap { after: Sequence(3), through: Sequence(5) };
        sample(r#"{"through":9}"#, Cursor { through: Sequence(9), gap: None });
        sample(r#"{"through":9,"gap":{"after":3,"through":5}}"#, Cursor { through: Sequence(9), gap: Some(gap) });
        sample(r#"{"chat":"c1","sequence":1700000000000001,"sender":"u1","content":"a\u0000😀"}"#, message());
    }
}
