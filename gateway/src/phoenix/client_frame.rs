//! What a client says: one text frame, borrowed from the bytes it came in.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Ref, Serializer, json};

/// One frame from a client; nothing in it has been judged yet.
#[derive(Debug, Clone)]
pub struct ClientFrame<'a> {
    /// The instance of the channel the client means; `null` when it does not say.
    pub join_ref: Ref,
    /// What the reply has to carry for the client to know what it answers.
    pub reference: Ref,
    /// The topic, of whatever JSON type.
    pub topic: Name<'a>,
    /// The event, of whatever JSON type.
    pub event: Name<'a>,
    /// The payload as it came, so that numbers keep their digits.
    pub payload: &'a RawValue,
}

/// The frame can not be decoded: the connection is closed with 1011, without a frame before.
///
/// It does not say what was found: that would put a client's message into the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a frame of the negotiated serializer")]
pub struct Malformed;

impl<'a> ClientFrame<'a> {
    /// Reads one text frame. Memory stays in proportion to its bytes, and the stack is not used, however deep it nests.
    ///
    /// # Errors
    /// [`Malformed`] when the text is not JSON, is not an array of five or more (V2), not an object with the keys
    /// `topic`, `event`, `payload` and `ref` (V1), or names a topic or event that Unicode can not represent.
    pub fn parse(serializer: Serializer, text: &'a str) -> Result<ClientFrame<'a>, Malformed> {
        let mut json = serde_json::Deserializer::from_str(text);
        let fields = match serializer {
            Serializer::V1 => json.deserialize_map(V1),
            Serializer::V2 => json.deserialize_seq(V2),
        };
        let fields = fields.and_then(|fields| json.end().map(|()| fields)).map_err(|_| Malformed)?;
        Ok(ClientFrame {
            join_ref: fields.join_ref.map_or(Ref::NULL, Ref::from),
            reference: Ref::from(fields.reference),
            topic: Name::parse(fields.topic)?,
            event: Name::parse(fields.event)?,
            payload: fields.payload,
        })
    }
}

/// A topic or an event in a client's frame: a string if all is well, but any JSON value may come.
#[derive(Debug, Clone)]
pub enum Name<'a> {
    /// A string, without its escapes.
    Text(Cow<'a, str>),
    /// Any other JSON value; no topic or event of ours, but what is said about it gives it back.
    Other(&'a RawValue),
}

impl<'a> Name<'a> {
    /// The name if it is a string.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Name::Text(text) => Some(text),
            Name::Other(_) => None,
        }
    }

    fn parse(value: &'a RawValue) -> Result<Name<'a>, Malformed> {
        if value.get().starts_with('"') {
            json::string(value.get()).map(Name::Text).ok_or(Malformed)
        } else {
            Ok(Name::Other(value))
        }
    }
}

impl<'a> From<&'a str> for Name<'a> {
    fn from(text: &'a str) -> Self {
        Name::Text(Cow::Borrowed(text))
    }
}

struct Fields<'a> {
    join_ref: Option<&'a RawValue>,
    reference: &'a RawValue,
    topic: &'a RawValue,
    event: &'a RawValue,
    payload: &'a RawValue,
}

struct V2;

impl<'de> Visitor<'de> for V2 {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of join_ref, ref, topic, event and payload")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Fields<'de>, A::Error> {
        let mut next = |index| array.next_element()?.ok_or_else(|| A::Error::invalid_length(index, &self));
        let fields = Fields {
            join_ref: Some(next(0)?),
            reference: next(1)?,
            topic: next(2)?,
            event: next(3)?,
            payload: next(4)?,
        };
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(fields)
    }
}

struct V1;

impl<'de> Visitor<'de> for V1 {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with topic, event, payload and ref")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Fields<'de>, A::Error> {
        let (mut join_ref, mut reference, mut topic, mut event, mut payload) = (None, None, None, None, None);
        while let Some(key) = object.next_key()? {
            let field = match key {
                Key::JoinRef => &mut join_ref,
                Key::Reference => &mut reference,
                Key::Topic => &mut topic,
                Key::Event => &mut event,
                Key::Payload => &mut payload,
                Key::Unknown => {
                    object.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *field = Some(object.next_value::<&RawValue>()?);
        }
        Ok(Fields {
            join_ref,
            reference: reference.ok_or_else(|| A::Error::missing_field("ref"))?,
            topic: topic.ok_or_else(|| A::Error::missing_field("topic"))?,
            event: event.ok_or_else(|| A::Error::missing_field("event"))?,
            payload: payload.ok_or_else(|| A::Error::missing_field("payload"))?,
        })
    }
}

enum Key {
    JoinRef,
    Reference,
    Topic,
    Event,
    Payload,
    Unknown,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl Visitor<'_> for KeyVisitor {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Key, E> {
        Ok(match key {
            "join_ref" => Key::JoinRef,
            "ref" => Key::Reference,
            "topic" => Key::Topic,
            "event" => Key::Event,
            "payload" => Key::Payload,
            _ => Key::Unknown,
        })
    }
}
