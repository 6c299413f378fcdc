//! Binary keys. Numbers are big-endian, so that keys sort as what they name does; an id that something follows carries
//! its length, so that no id is a prefix of another's keys.

use std::ops::Bound;

use crate::{ChatId, DedupeKey, PartitionId, PendingKey, Sequence, UserId};

/// The one record of the `format` keyspace.
pub(super) const FORMAT: &[u8] = b"format";

pub(super) fn partition(id: PartitionId) -> [u8; 2] {
    id.0.to_be_bytes()
}

pub(super) fn event(partition: PartitionId, position: u64) -> Vec<u8> {
    [&partition.0.to_be_bytes()[..], &position.to_be_bytes()].concat()
}

/// `time` in microseconds since the Unix epoch.
pub(super) fn dedupe_age(time: u64, key: &DedupeKey) -> Vec<u8> {
    [&time.to_be_bytes()[..], &key.0].concat()
}

/// The time and the dedupe key inside a `dedupe_age` key.
pub(super) fn split_dedupe_age(key: &[u8]) -> Option<(u64, DedupeKey)> {
    let (time, key) = key.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*time), DedupeKey(key.try_into().ok()?)))
}

/// What all keys below an id begin with.
pub(super) fn below(id: &str) -> Vec<u8> {
    let length = u8::try_from(id.len()).expect("ids used as keys are at most 128 bytes");
    [&[length], id.as_bytes()].concat()
}

/// A number below an id: a mailbox's item, a chat's message.
pub(super) fn number_below(id: &str, number: u64) -> Vec<u8> {
    [&below(id)[..], &number.to_be_bytes()].concat()
}

/// A text below an id: a chat's member, a user's chat.
pub(super) fn text_below(id: &str, text: &str) -> Vec<u8> {
    [&below(id)[..], text.as_bytes()].concat()
}

/// The text inside a [`text_below`] key.
pub(super) fn text_of<'a>(key: &'a [u8], id: &str) -> Option<&'a str> {
    std::str::from_utf8(key.get(1 + id.len()..)?).ok()
}

/// An end for scans below an id: neither UTF-8 nor a number below 2^63 begins with this byte.
pub(super) fn end_below(id: &str) -> Bound<Vec<u8>> {
    Bound::Excluded([&below(id)[..], &[0xff]].concat())
}

pub(super) fn pending(user: &UserId, sequence: Sequence, chat: &ChatId) -> Vec<u8> {
    [&number_below(user.as_str(), sequence.0)[..], chat.as_str().as_bytes()].concat()
}

/// The pending key inside a [`pending`] key.
pub(super) fn split_pending(key: &[u8], user: &UserId) -> Option<PendingKey> {
    let (sequence, chat) = key.get(1 + user.as_str().len()..)?.split_first_chunk::<8>()?;
    let chat = ChatId::new(std::str::from_utf8(chat).ok()?).ok()?;
    Some(PendingKey { sequence: Sequence(u64::from_be_bytes(*sequence)), chat })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_one_id_are_together_and_in_order() {
        let mut keys = [
            number_below("b", 1),
            number_below("a", 256),
            number_below("ab", 1),
            number_below("a", 255),
            number_below("a", 1 << 53),
        ];
        keys.sort();
        let expected =
            [("a", 255), ("a", 256), ("a", 1 << 53), ("b", 1), ("ab", 1)].map(|(id, number)| number_below(id, number));
        assert_eq!(keys, expected);
        let Bound::Excluded(end) = end_below("a") else { panic!("an excluded bound") };
        assert!(keys[2] < end && end < keys[3]);
    }

    #[test]
    fn pending_keys_sort_by_sequence_then_chat_and_can_be_split() {
        let user = UserId::new("ü".repeat(64)).unwrap();
        let chat = |text: &str| ChatId::new(text).unwrap();
        let early = pending(&user, Sequence(255), &chat("z"));
        let late = pending(&user, Sequence(256), &chat("a"));
        let tie = pending(&user, Sequence(256), &chat("b"));
        assert!(early < late && late < tie);
        assert_eq!(split_pending(&tie, &user), Some(PendingKey { sequence: Sequence(256), chat: chat("b") }));
        assert_eq!(split_pending(b"?", &user), None);
    }

    #[test]
    fn dedupe_ages_can_be_split() {
        let key = DedupeKey(*b"0123456789abcdef");
        assert_eq!(split_dedupe_age(&dedupe_age(7, &key)), Some((7, key)));
        assert_eq!(split_dedupe_age(b"short"), None);
    }
}
