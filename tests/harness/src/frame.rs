//! Phoenix frames as a client writes and reads them.

use serde_json::{Value, json};

/// Which serializer a connection uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// JSON objects.
    V1,
    /// JSON arrays.
    V2,
}

impl Version {
    /// The `vsn` parameter that asks for it.
    pub fn vsn(self) -> &'static str {
        match self {
            Self::V1 => "1.0.0",
            Self::V2 => "2.0.0",
        }
    }
}

/// One Phoenix message, in either direction.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// The channel's join reference; `null` in V1.
    pub join_ref: Value,
    /// The message's reference.
    pub reference: Value,
    /// The topic.
    pub topic: Value,
    /// The event.
    pub event: String,
    /// The payload.
    pub payload: Value,
}

impl Frame {
    /// Reads a text frame from the server, and holds the server to the exact shape: nothing missing, nothing more.
    pub fn parse(version: Version, text: &str) -> Option<Frame> {
        let value: Value = serde_json::from_str(text).ok()?;
        match version {
            Version::V2 => {
                let [join_ref, reference, topic, event, payload] = value.as_array()?.as_slice() else { return None };
                Some(Frame {
                    join_ref: join_ref.clone(),
                    reference: reference.clone(),
                    topic: topic.clone(),
                    event: event.as_str()?.to_owned(),
                    payload: payload.clone(),
                })
            }
            Version::V1 => {
                let object = value.as_object().filter(|object| object.len() == 4)?;
                Some(Frame {
                    join_ref: Value::Null,
                    reference: object.get("ref")?.clone(),
                    topic: object.get("topic")?.clone(),
                    event: object.get("event")?.as_str()?.to_owned(),
                    payload: object.get("payload")?.clone(),
                })
            }
        }
    }

    /// Writes it as a client does.
    pub fn encode(&self, version: Version) -> String {
        let Frame { join_ref, reference, topic, event, payload } = self;
        match version {
            Version::V2 => json!([join_ref, reference, topic, event, payload]),
            Version::V1 => json!({"topic": topic, "event": event, "payload": payload, "ref": reference}),
        }
        .to_string()
    }

    /// Whether it is `event` on `topic`.
    pub fn is(&self, topic: &str, event: &str) -> bool {
        self.topic == topic && self.event == event
    }

    /// A text field of the payload; empty when there is none.
    pub fn text(&self, field: &str) -> &str {
        self.payload[field].as_str().unwrap_or_default()
    }

    /// As a V2 array, to compare whole frames.
    pub fn array(&self) -> Value {
        json!([self.join_ref, self.reference, self.topic, self.event, self.payload])
    }
}
