//! Frames the hub pushes: each encoded once per serializer and topic, then shared.

use std::cell::OnceCell;

use roost_storage::{ChatId, Message, Sequence, UserId};
use serde::Serialize;

use crate::phoenix::{Payload, Serializer, ServerFrame};

/// How a client spells the notification topic, and with it the event of a replayed notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spelling {
    /// `notifications:<user>`, event `pending_notification`.
    Notifications,
    /// `notification:<user>`, event `pending_notifications`.
    Notification,
}

impl Spelling {
    const ALL: [Spelling; 2] = [Self::Notifications, Self::Notification];

    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Notifications => "notifications:",
            Self::Notification => "notification:",
        }
    }

    pub(crate) fn topic(self, user: &UserId) -> String {
        format!("{}{user}", self.prefix())
    }

    pub(crate) fn pending_event(self) -> &'static str {
        match self {
            Self::Notifications => "pending_notification",
            Self::Notification => "pending_notifications",
        }
    }
}

/// The spellings one connection has joined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Spellings([bool; 2]);

impl Spellings {
    pub(crate) fn insert(&mut self, spelling: Spelling) {
        self.0[spelling as usize] = true;
    }

    pub(crate) fn remove(&mut self, spelling: Spelling) {
        self.0[spelling as usize] = false;
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == [false; 2]
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Spelling> {
        Spelling::ALL.into_iter().filter(move |spelling| self.0[*spelling as usize])
    }
}

/// ISO 8601 in UTC with milliseconds.
pub(crate) fn timestamp(sequence: Sequence) -> String {
    humantime::format_rfc3339_millis(sequence.timestamp()).to_string()
}

/// The payload of `receive_message` and of the three notification events.
#[derive(Serialize)]
struct MessagePayload<'a> {
    chat_id: &'a str,
    content: &'a str,
    sender_id: &'a str,
    message_id: String,
    timestamp: String,
}

/// A message's payload as JSON.
pub(crate) fn message_payload(message: &Message) -> Payload {
    Payload::encode(&MessagePayload {
        chat_id: message.chat.as_str(),
        content: &message.content,
        sender_id: message.sender.as_str(),
        message_id: message.id().to_string(),
        timestamp: timestamp(message.sequence),
    })
}

/// One message's frames, made when first asked for. Room frames are shared by everyone who speaks the serializer.
pub(crate) struct Encoded<'a> {
    message: &'a Message,
    payload: OnceCell<Payload>,
    room: [OnceCell<ServerFrame>; 2],
}

impl<'a> Encoded<'a> {
    pub(crate) fn new(message: &'a Message) -> Self {
        Self { message, payload: OnceCell::new(), room: Default::default() }
    }

    fn payload(&self) -> &Payload {
        self.payload.get_or_init(|| message_payload(self.message))
    }

    /// `receive_message` on the chat's topic.
    pub(crate) fn room(&self, serializer: Serializer) -> ServerFrame {
        self.room[usize::from(serializer == Serializer::V2)]
            .get_or_init(|| {
                ServerFrame::broadcast(serializer, &chat_topic(&self.message.chat), "receive_message", self.payload())
            })
            .clone()
    }

    /// `new_notification` on each spelling of the user's notification topic.
    pub(crate) fn notification(&self, serializer: Serializer, user: &UserId, spellings: Spellings) -> Vec<ServerFrame> {
        spellings
            .iter()
            .map(|spelling| {
                ServerFrame::broadcast(serializer, &spelling.topic(user), "new_notification", self.payload())
            })
            .collect()
    }
}

/// A chat's topic.
pub(crate) fn chat_topic(chat: &ChatId) -> String {
    format!("chat:{chat}")
}

/// `typing` on the chat's topic.
pub(crate) fn typing(serializer: Serializer, chat: &ChatId, user: &UserId, is_typing: bool) -> ServerFrame {
    #[derive(Serialize)]
    struct Typing<'a> {
        is_typing: bool,
        user_id: &'a str,
    }
    let payload = Payload::encode(&Typing { is_typing, user_id: user.as_str() });
    ServerFrame::broadcast(serializer, &chat_topic(chat), "typing", &payload)
}
