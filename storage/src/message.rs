//! What travels through the event log.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{ChatId, ConnectionId, MessageId, Sequence, UserId};

/// What `send_message` created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Where it was said.
    pub chat: ChatId,
    /// Its place in the chat; also its timestamp.
    pub sequence: Sequence,
    /// Who said it.
    pub sender: UserId,
    /// What was said.
    pub content: Arc<str>,
}

impl Message {
    /// The message's public id.
    pub fn id(&self) -> MessageId {
        MessageId::new(&self.chat, self.sequence)
    }
}

/// An accepted event: something that happened in a chat, at one place of its order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The chat it happened in.
    pub chat: ChatId,
    /// Its place in the chat.
    pub sequence: Sequence,
    /// What happened.
    pub body: EventBody,
}

impl Event {
    /// The message, when this event is one, with the connection that sent it.
    pub fn message(&self) -> Option<(Message, Option<&ConnectionId>)> {
        let EventBody::Message { sender, content, origin } = &self.body else { return None };
        let message = Message {
            chat: self.chat.clone(),
            sequence: self.sequence,
            sender: sender.clone(),
            content: content.clone(),
        };
        Some((message, origin.as_ref()))
    }
}

/// What can happen in a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventBody {
    /// A user said something.
    Message {
        /// Who.
        sender: UserId,
        /// What.
        content: Arc<str>,
        /// The connection it came from, which does not get it back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        origin: Option<ConnectionId>,
    },
    /// The chat's members changed; the chat is created if there is none.
    Members(Change),
}

/// A change of a chat's members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// These, and nobody else, are members from here on.
    Set(BTreeSet<UserId>),
    /// This user is a member from here on.
    Add(UserId),
    /// This user is not a member from here on.
    Remove(UserId),
}
