//! [`History`].
#![allow(missing_docs, reason = "each function's name is the promise")]

use std::sync::Arc;

use super::{SOON, message_at, new_chat};
use crate::{ChatId, Direction, History, Message, Sequence, Storage};

/// Sequences of tests, far enough apart to fall into different parts of a table that is split by time.
const SEQUENCES: [u64; 6] = [
    1_600_000_000_000_000,
    1_600_000_000_000_001,
    1_600_000_000_000_300,
    1_650_000_000_000_000,
    1_700_000_000_000_000,
    1_700_000_000_000_001,
];

async fn stored(history: &dyn History, chat: &ChatId) -> Vec<Message> {
    let messages = SEQUENCES.map(|sequence| message_at(chat, sequence)).to_vec();
    let shuffled = [3, 0, 5, 1, 4, 2].map(|n: usize| messages[n].clone());
    history.append(&shuffled).await.expect("they are stored");
    messages
}

async fn range(
    history: &dyn History,
    chat: &ChatId,
    from: Option<u64>,
    direction: Direction,
    max: usize,
) -> Vec<Message> {
    history.range(chat, from.map(Sequence), direction, max).await.expect("it reads")
}

pub async fn a_chat_without_messages_is_empty(storage: Storage) {
    for direction in [Direction::Forward, Direction::Backward] {
        assert_eq!(range(&*storage.history, &new_chat(), None, direction, 10).await, []);
        assert_eq!(range(&*storage.history, &new_chat(), Some(SEQUENCES[1]), direction, 10).await, []);
    }
    storage.history.append(&[]).await.expect("nothing is stored");
}

pub async fn messages_are_read_forward_and_backward(storage: Storage) {
    let (history, chat) = (&*storage.history, new_chat());
    let mut messages = stored(history, &chat).await;
    assert_eq!(range(history, &chat, None, Direction::Forward, 10).await, messages);
    assert_eq!(range(history, &chat, None, Direction::Forward, 4).await, messages[..4]);
    messages.reverse();
    assert_eq!(range(history, &chat, None, Direction::Backward, 10).await, messages);
    assert_eq!(range(history, &chat, None, Direction::Backward, 4).await, messages[..4]);
}

pub async fn reading_goes_on_beyond_a_sequence(storage: Storage) {
    let (history, chat) = (&*storage.history, new_chat());
    let messages = stored(history, &chat).await;
    assert_eq!(range(history, &chat, Some(SEQUENCES[2]), Direction::Forward, 2).await, messages[3..5]);
    assert_eq!(range(history, &chat, Some(SEQUENCES[2] - 1), Direction::Forward, 1).await, messages[2..3]);
    assert_eq!(range(history, &chat, Some(SEQUENCES[5]), Direction::Forward, 2).await, []);
    let backward = range(history, &chat, Some(SEQUENCES[3]), Direction::Backward, 2).await;
    assert_eq!(backward, [messages[2].clone(), messages[1].clone()]);
    assert_eq!(range(history, &chat, Some(SEQUENCES[0]), Direction::Backward, 2).await, []);
}

pub async fn appending_again_does_not_double_a_message(storage: Storage) {
    let (history, chat) = (&*storage.history, new_chat());
    let messages = stored(history, &chat).await;
    history.append(&messages).await.expect("they are stored");
    assert_eq!(range(history, &chat, None, Direction::Forward, 100).await, messages);
}

pub async fn content_comes_back_byte_for_byte(storage: Storage) {
    let (history, chat) = (&*storage.history, new_chat());
    let mut message = message_at(&chat, SEQUENCES[0]);
    message.content = format!("{}{}", super::CONTENT, "😀".repeat(1000)).into();
    history.append(std::slice::from_ref(&message)).await.expect("it is stored");
    assert_eq!(range(history, &chat, None, Direction::Forward, 1).await, [message]);
}

pub async fn chats_whose_ids_begin_alike_do_not_mix(storage: Storage) {
    let (history, base) = (&*storage.history, new_chat());
    let chats = ["", "a", "aa", "😀"].map(|end| ChatId::new(format!("{base}{end}")).expect("it is short"));
    let mut all = Vec::new();
    for chat in &chats {
        all.push(stored(history, chat).await);
    }
    for (chat, messages) in chats.iter().zip(all) {
        assert_eq!(range(history, chat, None, Direction::Forward, 100).await, messages);
    }
}

pub async fn one_append_may_mix_chats(storage: Storage) {
    let messages: Vec<_> = (0..10).map(|_| message_at(&new_chat(), SEQUENCES[0])).collect();
    storage.history.append(&messages).await.expect("they are stored");
    for message in messages {
        assert_eq!(range(&*storage.history, &message.chat, None, Direction::Forward, 10).await, [message]);
    }
}

/// Hours apart, so that a table that is split by time has some in one part and some in the next. Readers begin again and
/// again: one before all of them, the others shortly before the last they found.
pub async fn who_reads_forward_during_appends_finds_no_message_without_those_before_it(storage: Storage) {
    const COUNT: usize = 1000;
    let (chat, sequence) = (new_chat(), |number: usize| SEQUENCES[0] + number as u64 * 7 * 3_600_000_000);
    let messages: Arc<Vec<_>> = Arc::new((0..COUNT).map(|number| message_at(&chat, sequence(number))).collect());
    let (history, all) = (storage.history.clone(), messages.clone());
    let writer = tokio::spawn(async move {
        let mut written = 0;
        while written < COUNT {
            let next = COUNT.min(written + 1 + written % 3);
            history.append(&all[written..next]).await.expect("they are stored");
            written = next;
        }
    });
    let readers: Vec<_> = [usize::MAX, 1, 3, 8]
        .map(|back| {
            let (history, all, chat) = (storage.history.clone(), messages.clone(), chat.clone());
            tokio::spawn(async move {
                let mut found = 0_usize;
                while found < COUNT {
                    let after = found.saturating_sub(back);
                    let from = (after > 0).then(|| sequence(after - 1));
                    let answer = range(&*history, &chat, from, Direction::Forward, 2 * COUNT).await;
                    assert_eq!(answer, all[after..after + answer.len()], "after {after}");
                    found = found.max(after + answer.len());
                }
            })
        })
        .into();
    writer.await.expect("the writer ends");
    for reader in readers {
        tokio::time::timeout(SOON, reader).await.expect("it finds everything").expect("it finds no gap");
    }
}
