//! Cursors: one row per user and chat.

use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;

use super::keys;
use super::store::Store;
use crate::{ChatId, Cursor, Cursors, StorageError, UserId};

/// The embedded [`Cursors`]. Nothing is forgotten.
pub(super) struct Rows {
    store: Arc<Store>,
}

impl Rows {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }
}

#[async_trait]
impl Cursors for Rows {
    async fn put(&self, rows: &[(UserId, ChatId, Cursor)]) -> Result<(), StorageError> {
        if rows.is_empty() {
            return Ok(());
        }
        let rows = rows.to_vec();
        self.store
            .write(rows.len(), move |batch| {
                for (user, chat, cursor) in &rows {
                    batch.put(&batch.spaces.cursors, keys::text_below(user.as_str(), chat.as_str()), cursor);
                }
                batch.promise();
                Ok(())
            })
            .await
    }

    async fn of(&self, user: &UserId) -> Result<Vec<(ChatId, Cursor)>, StorageError> {
        let user = user.clone();
        self.store
            .scan(move |view| {
                let cursors = &view.spaces.cursors;
                let from = Bound::Included(keys::below(user.as_str()));
                let rows = cursors.range(&view.at, from, keys::end_below(user.as_str())).map(|entry| {
                    let (key, value) = entry.into_inner()?;
                    let chat = keys::text_of(&key, user.as_str()).and_then(|text| ChatId::new(text).ok());
                    Ok((chat.ok_or_else(|| cursors.corrupt(&key))?, cursors.parse(&key, &value)?))
                });
                rows.collect()
            })
            .await
    }
}
