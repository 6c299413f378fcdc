//! What is stored inside the keys. JSON where Rust alone reads it, fields of their own where a script does. Samples of
//! the JSON are in the tests of the embedded backend, which stores the same types.

use redis::Value;
use serde::de::DeserializeOwned;

use super::error::Fault;
use crate::{ChatId, Event, LogEntry, Position, Sequence};

/// The format this version writes. A store of a newer one is refused.
pub(super) const FORMAT_VERSION: u32 = 1;

/// One entry of a stream: its id, and its fields in the order written.
pub(super) struct Entry {
    pub(super) position: Position,
    fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Entry {
    /// The value of a field that every entry of the stream has.
    pub(super) fn field(&self, name: &str, key: &str) -> Result<&[u8], Fault> {
        let found = self.fields.iter().find(|(field, _)| field == name.as_bytes());
        found.map(|(_, value)| value.as_slice()).ok_or_else(|| self.corrupt(key))
    }

    pub(super) fn json<T: DeserializeOwned>(&self, name: &str, key: &str) -> Result<T, Fault> {
        serde_json::from_slice(self.field(name, key)?).map_err(|_| self.corrupt(key))
    }

    fn corrupt(&self, key: &str) -> Fault {
        Fault::Corrupt(format!("entry {}-{} of {key}", self.position.0, self.position.1))
    }

    /// As an entry of the event log `key`.
    pub(super) fn into_log_entry(self, key: &str) -> Result<LogEntry, Fault> {
        let number = |name| {
            let text = std::str::from_utf8(self.field(name, key)?).map_err(|_| self.corrupt(key))?;
            if text.is_empty() {
                return Ok(None);
            }
            text.parse().map(|number| Some(Sequence(number))).map_err(|_| self.corrupt(key))
        };
        let chat = String::from_utf8(self.field("c", key)?.to_vec()).map_err(|_| self.corrupt(key))?;
        let chat = ChatId::new(chat).map_err(|_| self.corrupt(key))?;
        let sequence = number("s")?.ok_or_else(|| self.corrupt(key))?;
        let event = Event { chat, sequence, body: self.json("b", key)? };
        Ok(LogEntry { position: self.position, previous: number("p")?, event })
    }
}

/// The entries in an answer to `XREAD` of one stream.
pub(super) fn entries(answer: Value) -> Result<Vec<Entry>, Fault> {
    let wrong = || Fault::Answer("XREAD");
    let Value::Array(streams) = answer else {
        return if answer == Value::Nil { Ok(Vec::new()) } else { Err(wrong()) };
    };
    let stream = streams.into_iter().next().ok_or_else(wrong)?;
    let Some([_, Value::Array(entries)]) = fixed(stream) else { return Err(wrong()) };
    entries.into_iter().map(|value| entry(value).ok_or_else(wrong)).collect()
}

fn entry(value: Value) -> Option<Entry> {
    let [Value::BulkString(id), Value::Array(fields)] = fixed(value)? else { return None };
    let mut fields = fields.into_iter();
    let mut pairs = Vec::new();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        let (Value::BulkString(name), Value::BulkString(value)) = (name, value) else { return None };
        pairs.push((name, value));
    }
    Some(Entry { position: position(&id)?, fields: pairs })
}

/// The values of an array of a known length.
pub(super) fn fixed<const N: usize>(value: Value) -> Option<[Value; N]> {
    let Value::Array(values) = value else { return None };
    values.try_into().ok()
}

/// A stream id.
pub(super) fn position(id: &[u8]) -> Option<Position> {
    let (first, second) = std::str::from_utf8(id).ok()?.split_once('-')?;
    Some(Position(first.parse().ok()?, second.parse().ok()?))
}

/// As a stream id.
pub(super) fn stream_id(position: Position) -> String {
    format!("{}-{}", position.0, position.1)
}

/// A text.
pub(super) fn text(value: Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Texts of a list or a set.
pub(super) fn texts(value: Value) -> Option<Vec<String>> {
    match value {
        Value::Array(values) | Value::Set(values) => values.into_iter().map(text).collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventBody;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn stream(fields: &[&str]) -> Value {
        let fields = Value::Array(fields.iter().copied().map(bulk).collect());
        let entries = Value::Array(vec![Value::Array(vec![bulk("1700000000000-3"), fields])]);
        Value::Array(vec![Value::Array(vec![bulk("{p1}log"), entries])])
    }

    #[test]
    fn log_entries_of_format_1_are_readable() {
        let body = r#"{"message":{"sender":"u1","content":"a\u0000😀","origin":{"gateway":"00ff","number":7}}}"#;
        let parse = |fields: &[&str]| entries(stream(fields)).unwrap().remove(0).into_log_entry("{p1}log");
        let entry = parse(&["c", "c1", "s", "1700000000000001", "p", "5", "b", body]).unwrap();
        assert_eq!(entry.position, Position(1_700_000_000_000, 3));
        assert_eq!((entry.event.sequence, entry.previous), (Sequence(1_700_000_000_000_001), Some(Sequence(5))));
        assert!(matches!(&entry.event.body, EventBody::Message { content, .. } if &**content == "a\0😀"));
        assert_eq!(parse(&["c", "c1", "s", "9", "p", "", "b", body]).unwrap().previous, None);
        for fields in [
            &["c", "c1", "s", "9", "p", "", "b", "{"][..],
            &["c", "c1", "s", "x", "p", "", "b", body],
            &["c", "", "s", "9", "p", "", "b", body],
            &["s", "9", "p", "", "b", body],
        ] {
            assert!(
                matches!(parse(fields), Err(Fault::Corrupt(what)) if what == "entry 1700000000000-3 of {p1}log"),
                "{fields:?}"
            );
        }
    }

    #[test]
    fn answers_of_another_shape_are_no_entries() {
        assert!(entries(Value::Nil).unwrap().is_empty());
        for answer in [Value::Okay, Value::Array(vec![]), Value::Array(vec![Value::Array(vec![bulk("k")])])] {
            assert!(matches!(entries(answer), Err(Fault::Answer("XREAD"))));
        }
    }
}
