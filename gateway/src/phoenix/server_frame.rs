//! What the server says: frames encoded once, compact, and shared between connections.

use serde::Serialize;
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::{Name, Ref, Serializer, json};

/// One encoded text frame. A clone shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFrame(Utf8Bytes);

impl ServerFrame {
    /// A reply to the frame that carried `reference`.
    pub fn reply(
        serializer: Serializer,
        join_ref: &Ref,
        reference: &Ref,
        topic: &Name<'_>,
        status: Status,
        response: &Payload,
    ) -> ServerFrame {
        let (status, response) = (status.as_str(), response.as_json());
        let mut payload = String::with_capacity(r#"{"status":"","response":}"#.len() + status.len() + response.len());
        payload.push_str(r#"{"status":"#);
        push_string(&mut payload, status);
        payload.push_str(r#","response":"#);
        payload.push_str(response);
        payload.push('}');
        ServerFrame::encode(serializer, join_ref, reference, topic, "phx_reply", &payload)
    }

    /// An event for one client's channel; `join_ref` is the channel's effective one. The payload has to be an object.
    pub fn push(serializer: Serializer, join_ref: &Ref, topic: &str, event: &str, payload: &Payload) -> ServerFrame {
        debug_assert!(payload.as_json().starts_with('{'), "clients take only objects in pushes and broadcasts");
        ServerFrame::encode(serializer, join_ref, &Ref::NULL, &Name::from(topic), event, payload.as_json())
    }

    /// An event for everyone on the topic: the same frame for all who speak `serializer`. The payload has to be an object.
    pub fn broadcast(serializer: Serializer, topic: &str, event: &str, payload: &Payload) -> ServerFrame {
        ServerFrame::push(serializer, &Ref::NULL, topic, event, payload)
    }

    /// The channel has ended and the client is not to join it again; `join_ref` as the join sent it.
    pub fn close(serializer: Serializer, join_ref: &Ref, topic: &str) -> ServerFrame {
        ServerFrame::encode(serializer, join_ref, join_ref, &Name::from(topic), "phx_close", "{}")
    }

    /// The channel has failed and the client may join it again; `join_ref` as the join sent it.
    pub fn crash(serializer: Serializer, join_ref: &Ref, topic: &str) -> ServerFrame {
        let payload = r#"{"reason":"channel_crash"}"#;
        ServerFrame::encode(serializer, join_ref, join_ref, &Name::from(topic), "phx_error", payload)
    }

    /// The frame as it goes over the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn encode(
        serializer: Serializer,
        join_ref: &Ref,
        reference: &Ref,
        topic: &Name<'_>,
        event: &str,
        payload: &str,
    ) -> ServerFrame {
        let (join_ref, reference) = (join_ref.as_json(), reference.as_json());
        let frame_bytes = match serializer {
            Serializer::V1 => r#"{"topic":"","event":"","payload":,"ref":}"#.len() + reference.len(),
            Serializer::V2 => r#"[,,"","",]"#.len() + join_ref.len() + reference.len(),
        };
        let topic_bytes = topic.as_text().map_or(0, str::len);
        // Exact for names without escapes: the bytes are then shared as they are, without another allocation.
        let mut text = String::with_capacity(frame_bytes + topic_bytes + event.len() + payload.len());
        match serializer {
            Serializer::V1 => {
                text.push_str(r#"{"topic":"#);
                push_name(&mut text, topic);
                text.push_str(r#","event":"#);
                push_string(&mut text, event);
                text.push_str(r#","payload":"#);
                text.push_str(payload);
                text.push_str(r#","ref":"#);
                text.push_str(reference);
                text.push('}');
            }
            Serializer::V2 => {
                text.push('[');
                text.push_str(join_ref);
                text.push(',');
                text.push_str(reference);
                text.push(',');
                push_name(&mut text, topic);
                text.push(',');
                push_string(&mut text, event);
                text.push(',');
                text.push_str(payload);
                text.push(']');
            }
        }
        ServerFrame(Utf8Bytes::from(text))
    }
}

impl From<ServerFrame> for Message {
    fn from(frame: ServerFrame) -> Self {
        Message::Text(frame.0)
    }
}

fn push_name(text: &mut String, name: &Name<'_>) {
    match name {
        Name::Text(name) => push_string(text, name),
        Name::Other(value) => text.push_str(&json::compact(value.get())),
    }
}

fn push_string(text: &mut String, value: &str) {
    let needs_escapes = value.bytes().any(|byte| matches!(byte, b'"' | b'\\' | ..b' '));
    if needs_escapes {
        text.push_str(&serde_json::to_string(value).expect("a string is always JSON"));
    } else {
        text.push('"');
        text.push_str(value);
        text.push('"');
    }
}

/// The frames that answer one frame of a client: one or two, to be sent in this order with nothing in between.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Frames {
    pub(super) first: ServerFrame,
    pub(super) second: Option<ServerFrame>,
}

impl IntoIterator for Frames {
    type Item = ServerFrame;
    type IntoIter = std::iter::Chain<std::iter::Once<ServerFrame>, std::option::IntoIter<ServerFrame>>;

    fn into_iter(self) -> Self::IntoIter {
        std::iter::once(self.first).chain(self.second)
    }
}

/// What a reply says about the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It was done.
    Ok,
    /// It was not; the response says why.
    Error,
    /// A status of the application's own.
    Other(&'static str),
}

impl Status {
    /// The status as clients see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::Error => "error",
            Status::Other(status) => status,
        }
    }
}

/// A payload or response, encoded once for every frame that carries it. A clone shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payload(Utf8Bytes);

impl Payload {
    /// `{}`: what a reply carries when there is nothing to say.
    pub fn empty() -> Payload {
        Payload(Utf8Bytes::from_static("{}"))
    }

    /// `{"reason":"…"}`: what an error reply carries.
    pub fn reason(reason: &str) -> Payload {
        let mut text = String::with_capacity(r#"{"reason":""}"#.len() + reason.len());
        text.push_str(r#"{"reason":"#);
        push_string(&mut text, reason);
        text.push('}');
        Payload(Utf8Bytes::from(text))
    }

    /// Any value as JSON.
    ///
    /// # Panics
    /// When the value has no JSON form (a map whose keys are not strings): a fault of its type, not of a client.
    pub fn encode(value: &(impl Serialize + ?Sized)) -> Payload {
        Payload(Utf8Bytes::from(serde_json::to_string(value).expect("a payload's type has a JSON form")))
    }

    /// The payload as JSON text, compact.
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

/// Passes a client's payload on: numbers keep their digits, white space goes.
impl From<&RawValue> for Payload {
    fn from(value: &RawValue) -> Self {
        Payload(Utf8Bytes::from(json::compact(value.get()).into_owned()))
    }
}
