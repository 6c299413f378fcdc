//! Messages of a chat, by sequence.

use hyper::StatusCode;
use roost_storage::{ChatId, Direction, Message, Sequence};
use serde::Serialize;

use super::answer::{self, Answer};
use super::chats::check_exists;
use super::problem::Problem;
use crate::hub::timestamp;
use crate::node::Node;

/// Content of one page, in bytes, about: a page of the largest messages is shorter than was asked for.
const PAGE_BYTES_MAX: usize = 8 << 20;

#[derive(Serialize)]
struct Page {
    chat_id: ChatId,
    messages: Vec<Item>,
    next: Option<Sequence>,
}

#[derive(Serialize)]
struct Item {
    message_id: String,
    sequence: Sequence,
    timestamp: String,
    sender_id: String,
    content: std::sync::Arc<str>,
}

impl From<Message> for Item {
    fn from(message: Message) -> Self {
        Self {
            message_id: message.id().to_string(),
            sequence: message.sequence,
            timestamp: timestamp(message.sequence),
            sender_id: message.sender.to_string(),
            content: message.content,
        }
    }
}

/// Some messages beyond `from`, in `direction`.
pub(super) async fn list(
    node: &Node,
    chat: ChatId,
    from: Option<Sequence>,
    direction: Direction,
    limit: usize,
) -> Result<Answer, Problem> {
    check_exists(node, &chat).await?;
    let length = page_length(limit, node.chats.content_bytes_max);
    // One more than is shown says whether there is more.
    let found = node.storage.history.range(&chat, from, direction, length + 1).await;
    let (messages, next) = cut(found.map_err(|error| Problem::storage(&error))?, length);
    let messages = messages.into_iter().map(Item::from).collect();
    Ok(answer::json(StatusCode::OK, &Page { chat_id: chat, messages, next }))
}

fn page_length(limit: usize, content_bytes_max: usize) -> usize {
    limit.min(PAGE_BYTES_MAX / content_bytes_max.max(1)).max(1)
}

fn cut(mut messages: Vec<Message>, length: usize) -> (Vec<Message>, Option<Sequence>) {
    let has_more = messages.len() > length;
    messages.truncate(length);
    let next = messages.last().filter(|_| has_more).map(|message| message.sequence);
    (messages, next)
}

#[cfg(test)]
mod tests {
    use roost_storage::UserId;

    use super::*;

    fn message(sequence: u64) -> Message {
        let (chat, sender) = (ChatId::new("c").unwrap(), UserId::new("a").unwrap());
        Message { chat, sequence: Sequence(sequence), sender, content: "hi".into() }
    }

    #[test]
    fn a_page_says_where_the_next_begins_only_when_there_is_one() {
        let found: Vec<_> = (1..=3).map(message).collect();
        assert_eq!(cut(found.clone(), 3), (found.clone(), None));
        assert_eq!(cut(found.clone(), 2), (found[..2].to_vec(), Some(Sequence(2))));
        assert_eq!(cut(Vec::new(), 2), (Vec::new(), None));
    }

    #[test]
    fn a_page_of_large_messages_is_shorter() {
        assert_eq!(page_length(1000, 4000), 1000);
        assert_eq!(page_length(1000, 4_000_000), 2);
        assert_eq!(page_length(1, 16 << 20), 1);
    }

    #[test]
    fn a_message_is_shown_as_clients_see_it() {
        let shown = serde_json::to_value(Item::from(message(1_764_037_331_123_456))).unwrap();
        let expected = serde_json::json!({
            "message_id": message(1_764_037_331_123_456).id().to_string(),
            "sequence": 1_764_037_331_123_456_u64,
            "timestamp": "2025-11-25T02:22:11.123Z",
            "sender_id": "a",
            "content": "hi",
        });
        assert_eq!(shown, expected);
    }
}
