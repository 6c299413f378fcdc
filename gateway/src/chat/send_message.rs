//! `send_message` on a chat topic: checked, appended, and answered once durable.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use roost_storage::{AppendError, Appended, ChatId, EventBody, MessageId, NewEvent};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::oneshot;
use tracing::warn;

use super::{Conversation, read_object, reason};
use crate::appender::dedupe_key;
use crate::config::ChatsConfig;
use crate::hub::timestamp;
use crate::metrics::Metrics;
use crate::phoenix::{EventRequest, Payload, ReplyTo, ServerFrame, Status};

/// The payload as it came. Fields are taken apart one by one, so that each fault has its own reason and a client always
/// gets its `mobile_ref_id` back.
#[derive(Deserialize)]
struct Sent<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    mobile_ref_id: Option<&'a RawValue>,
}

struct Valid {
    content: String,
    mobile_ref_id: String,
}

/// What the sender is told.
#[derive(Serialize)]
struct MessageSent<'a> {
    mobile_ref_id: &'a RawValue,
    status: &'static str,
    chat_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// A send that waits for the event log.
pub(super) struct SendUnderWay {
    outcome: oneshot::Receiver<Result<Appended, AppendError>>,
    respond: Respond,
}

struct Respond {
    chat: ChatId,
    mobile_ref_id: Box<RawValue>,
    reply_to: ReplyTo,
    metrics: Arc<Metrics>,
}

impl Conversation {
    pub(super) fn on_send_message(&mut self, chat: ChatId, event: EventRequest<'_>) {
        let sent = read_object::<Sent<'_>>(event.payload);
        let mobile_ref_id = sent.as_ref().and_then(|sent| sent.mobile_ref_id).unwrap_or(RawValue::NULL).to_owned();
        let metrics = self.node.metrics.clone();
        let respond = Respond { chat: chat.clone(), mobile_ref_id, reply_to: event.reply_to, metrics };
        let valid = match sent.ok_or(reason::INVALID_PAYLOAD).and_then(|sent| validate(&sent, &self.node.chats)) {
            Ok(valid) => valid,
            Err(reason) => return self.refuse_send(&respond, "invalid", reason),
        };
        let (user, device) = (&self.link.user, &self.link.device);
        let dedupe = dedupe_key(user, device, &chat, &valid.mobile_ref_id, &valid.content);
        let body = EventBody::Message {
            sender: user.clone(),
            content: valid.content.into(),
            origin: Some(self.link.id.clone()),
        };
        match self.node.appender.append(NewEvent { chat, body, dedupe: Some(dedupe) }) {
            Ok(outcome) => self.answers.queue_send(SendUnderWay { outcome, respond }),
            Err(_) => self.refuse_send(&respond, "overloaded", reason::OVERLOADED),
        }
    }

    fn refuse_send(&mut self, respond: &Respond, result: &str, reason: &'static str) {
        for frame in respond.error(result, reason) {
            self.say(frame);
        }
    }
}

fn validate(sent: &Sent<'_>, limits: &ChatsConfig) -> Result<Valid, &'static str> {
    let mobile_ref_id = sent
        .mobile_ref_id
        .and_then(|raw| serde_json::from_str::<String>(raw.get()).ok())
        .filter(|id| !id.is_empty() && id.len() <= limits.mobile_ref_id_bytes_max)
        .ok_or(reason::INVALID_MOBILE_REF_ID)?;
    let content =
        sent.content.and_then(|raw| serde_json::from_str::<String>(raw.get()).ok()).ok_or(reason::INVALID_CONTENT)?;
    if content.is_empty() {
        return Err(reason::CONTENT_EMPTY);
    }
    if content.len() > limits.content_bytes_max {
        return Err(reason::CONTENT_TOO_LONG);
    }
    Ok(Valid { content, mobile_ref_id })
}

impl Future for SendUnderWay {
    type Output = Vec<ServerFrame>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.outcome).poll(context).map(|outcome| match outcome {
            Ok(Ok(appended)) => self.respond.sent(appended),
            Ok(Err(AppendError::Full)) => self.respond.error("overloaded", reason::OVERLOADED),
            Ok(Err(AppendError::Storage(error))) => {
                warn!(%error, "message not accepted");
                self.respond.error("unavailable", reason::UNAVAILABLE)
            }
            Err(_) => self.respond.error("unavailable", reason::UNAVAILABLE),
        })
    }
}

impl Respond {
    fn sent(&self, appended: Appended) -> Vec<ServerFrame> {
        let result = if appended.duplicate { "duplicate" } else { "sent" };
        self.metrics.messages.with_label_values(&[result]).inc();
        self.frames(
            Status::Ok,
            &MessageSent {
                mobile_ref_id: &self.mobile_ref_id,
                status: "sent",
                chat_id: self.chat.as_str(),
                message_id: Some(MessageId::new(&self.chat, appended.sequence).to_string()),
                timestamp: Some(timestamp(appended.sequence)),
                reason: None,
            },
        )
    }

    fn error(&self, result: &str, reason: &'static str) -> Vec<ServerFrame> {
        self.metrics.messages.with_label_values(&[result]).inc();
        self.frames(
            Status::Error,
            &MessageSent {
                mobile_ref_id: &self.mobile_ref_id,
                status: "error",
                chat_id: self.chat.as_str(),
                message_id: None,
                timestamp: None,
                reason: Some(reason),
            },
        )
    }

    /// `message_sent` as a push of the channel and, for a client that waits for one, the reply.
    fn frames(&self, status: Status, answer: &MessageSent<'_>) -> Vec<ServerFrame> {
        let payload = Payload::encode(answer);
        let mut frames = vec![self.reply_to.push("message_sent", &payload)];
        if self.reply_to.carries_ref() {
            frames.push(self.reply_to.reply(status, &payload));
        }
        frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(payload: &str) -> Result<(), &'static str> {
        let limits = ChatsConfig { content_bytes_max: 8, mobile_ref_id_bytes_max: 4, ..ChatsConfig::default() };
        let payload: &RawValue = serde_json::from_str(payload).unwrap();
        let sent = read_object::<Sent<'_>>(payload).ok_or(reason::INVALID_PAYLOAD)?;
        validate(&sent, &limits).map(|_| ())
    }

    #[test]
    fn every_fault_of_a_payload_has_its_reason() {
        assert_eq!(check(r#"{"content":"hi","mobile_ref_id":"1"}"#), Ok(()));
        assert_eq!(check(r#"{"content":"a\u0000b","mobile_ref_id":"1","extra":[1]}"#), Ok(()));
        assert_eq!(check(r#"{"content":"😀😀","mobile_ref_id":"1"}"#), Ok(()));
        for (payload, reason) in [
            ("null", reason::INVALID_PAYLOAD),
            ("[1]", reason::INVALID_PAYLOAD),
            (r#"{"content":"a","content":"b","mobile_ref_id":"1"}"#, reason::INVALID_PAYLOAD),
            (r#"{"content":"hi"}"#, reason::INVALID_MOBILE_REF_ID),
            (r#"{"content":"hi","mobile_ref_id":null}"#, reason::INVALID_MOBILE_REF_ID),
            (r#"{"content":"hi","mobile_ref_id":5}"#, reason::INVALID_MOBILE_REF_ID),
            (r#"{"content":"hi","mobile_ref_id":""}"#, reason::INVALID_MOBILE_REF_ID),
            (r#"{"content":"hi","mobile_ref_id":"12345"}"#, reason::INVALID_MOBILE_REF_ID),
            (r#"{"mobile_ref_id":"1"}"#, reason::INVALID_CONTENT),
            (r#"{"content":7,"mobile_ref_id":"1"}"#, reason::INVALID_CONTENT),
            (r#"{"content":"\ud800","mobile_ref_id":"1"}"#, reason::INVALID_CONTENT),
            (r#"{"content":"","mobile_ref_id":"1"}"#, reason::CONTENT_EMPTY),
            (r#"{"content":"123456789","mobile_ref_id":"1"}"#, reason::CONTENT_TOO_LONG),
            (r#"{"content":"😀😀😀","mobile_ref_id":"1"}"#, reason::CONTENT_TOO_LONG),
        ] {
            assert_eq!(check(payload), Err(reason), "{payload}");
        }
    }
}
