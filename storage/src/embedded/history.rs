//! History: one row per message.

use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use fjall::Guard;

use super::fault::Fault;
use super::keys;
use super::store::{Store, View};
use crate::{ChatId, Direction, History, Message, Sequence, StorageError};

/// The embedded [`History`].
pub(super) struct Rows {
    store: Arc<Store>,
}

impl Rows {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }
}

fn read_messages(
    view: &View<'_>,
    chat: &ChatId,
    from: Option<Sequence>,
    direction: Direction,
    max: usize,
) -> Result<Vec<Message>, Fault> {
    let history = &view.spaces.history;
    let key = |sequence: Sequence| Bound::Excluded(keys::number_below(chat.as_str(), sequence.0));
    let (first, last) = (Bound::Included(keys::below(chat.as_str())), keys::end_below(chat.as_str()));
    let parse = |entry: Guard| {
        let (key, value) = entry.into_inner()?;
        history.parse(&key, &value)
    };
    match direction {
        Direction::Forward => {
            let rows = history.range(&view.at, from.map_or(first, key), last);
            rows.take(max).map(parse).collect()
        }
        Direction::Backward => {
            let rows = history.range(&view.at, first, from.map_or(last, key));
            rows.rev().take(max).map(parse).collect()
        }
    }
}

#[async_trait]
impl History for Rows {
    async fn append(&self, messages: &[Message]) -> Result<(), StorageError> {
        if messages.is_empty() {
            return Ok(());
        }
        let messages = messages.to_vec();
        self.store
            .write(messages.len(), move |batch| {
                for message in &messages {
                    let key = keys::number_below(message.chat.as_str(), message.sequence.0);
                    batch.put(&batch.spaces.history, key, message);
                }
                batch.promise();
                Ok(())
            })
            .await
    }

    async fn range(
        &self,
        chat: &ChatId,
        from: Option<Sequence>,
        direction: Direction,
        max: usize,
    ) -> Result<Vec<Message>, StorageError> {
        let chat = chat.clone();
        self.store.scan(move |view| read_messages(view, &chat, from, direction, max)).await
    }
}
