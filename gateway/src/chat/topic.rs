//! The topics of the chat.

use std::fmt;

use roost_storage::{ChatId, UserId};

use crate::hub::Spelling;

const CHAT: &str = "chat:";

/// A topic that was joined, or is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Topic {
    /// `chat:<chat>`.
    Chat(ChatId),
    /// `notifications:<user>` or `notification:<user>`.
    Notifications(Spelling, UserId),
}

/// Whether there is a route for the topic: `chat:*`, `notifications:*`, `notification:*`.
pub(super) fn is_routable(topic: &str) -> bool {
    [CHAT, Spelling::Notifications.prefix(), Spelling::Notification.prefix()]
        .iter()
        .any(|prefix| topic.starts_with(prefix))
}

/// Whether the topic is meant to be a chat's.
pub(super) fn is_chat(topic: &str) -> bool {
    topic.starts_with(CHAT)
}

impl Topic {
    /// None when there is no route, or what follows the prefix is no identifier.
    pub(super) fn parse(topic: &str) -> Option<Self> {
        if let Some(chat) = topic.strip_prefix(CHAT) {
            return ChatId::new(chat).ok().map(Self::Chat);
        }
        [Spelling::Notifications, Spelling::Notification].into_iter().find_map(|spelling| {
            let user = UserId::new(topic.strip_prefix(spelling.prefix())?).ok()?;
            Some(Self::Notifications(spelling, user))
        })
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chat(chat) => write!(f, "{CHAT}{chat}"),
            Self::Notifications(spelling, user) => write!(f, "{}{user}", spelling.prefix()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_told_apart_by_their_whole_prefix() {
        let user = UserId::new("u1").unwrap();
        assert_eq!(Topic::parse("chat:c1"), Some(Topic::Chat(ChatId::new("c1").unwrap())));
        let plural = Topic::Notifications(Spelling::Notifications, user.clone());
        assert_eq!(Topic::parse("notifications:u1"), Some(plural.clone()));
        assert_eq!(Topic::parse("notification:u1"), Some(Topic::Notifications(Spelling::Notification, user)));
        assert_eq!(plural.to_string(), "notifications:u1");
        assert_eq!(Topic::parse("chat:"), None);
        assert!(is_routable("chat:"));
        assert!(!is_routable("presence:lobby") && !is_routable("chats:1") && !is_routable(""));
    }
}
