//! Storing how far users have got in rooms: now and then while they are connected, and at once when they go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use roost_storage::{ChatId, Cursor, Storage, UserId};

use crate::hub::{Hub, Parting};
use crate::metrics::Metrics;
use crate::retry::retry;

/// Cursors in one call.
const ROWS_MAX: usize = 256;
/// Users whose cursors are loaded at once.
const LOADS_AT_ONCE: usize = 16;

type Row = (UserId, ChatId, Cursor);

/// Stores every changed cursor each `interval`, for ever. What a crash keeps from being stored comes again.
pub(crate) async fn run(hub: Arc<Hub>, storage: Storage, interval: Duration, metrics: Arc<Metrics>) {
    loop {
        tokio::time::sleep(interval).await;
        metrics.rooms_followed.set(hub.rooms_followed().try_into().unwrap_or(i64::MAX));
        metrics.cursors_dirty.set(hub.dirty().try_into().unwrap_or(i64::MAX));
        let changed = hub.take_dirty();
        let unloaded: BTreeSet<UserId> =
            changed.iter().filter(|(user, chat)| hub.needs_loading(user, chat)).map(|(user, _)| user.clone()).collect();
        for (user, cursors) in load(&storage, unloaded).await {
            hub.load_cursors(&user, &cursors);
        }
        let rows = changed.into_iter().filter_map(|(user, chat)| {
            let cursor = hub.take_cursor(&user, &chat)?;
            Some((user, chat, cursor))
        });
        put(&storage, rows.collect(), &metrics).await;
    }
}

/// Stores the cursors of users who go.
pub(crate) async fn store(storage: &Storage, mut partings: Vec<Parting>, metrics: &Metrics) {
    if partings.is_empty() {
        return;
    }
    // Where something is missing another gateway may know better.
    let needs_loading = |parting: &Parting| !parting.progress.is_loaded() || parting.progress.missing().is_some();
    let unloaded = partings.iter().filter(|parting| needs_loading(parting));
    let loaded = load(storage, unloaded.map(|parting| parting.user.clone()).collect()).await;
    let rows = partings.iter_mut().filter_map(|Parting { user, chat, progress }| {
        if let Some(cursors) = loaded.get(user) {
            progress.load(cursors.iter().find(|(other, _)| other == chat).map(|(_, cursor)| *cursor));
        }
        Some((user.clone(), chat.clone(), progress.take_cursor()?))
    });
    put(storage, rows.collect(), metrics).await;
}

async fn load(storage: &Storage, users: BTreeSet<UserId>) -> BTreeMap<UserId, Vec<(ChatId, Cursor)>> {
    let loads = stream::iter(users).map(|user| async move {
        let cursors = retry("load cursors", || storage.cursors.of(&user)).await;
        (user, cursors)
    });
    loads.buffer_unordered(LOADS_AT_ONCE).collect().await
}

async fn put(storage: &Storage, rows: Vec<Row>, metrics: &Metrics) {
    for piece in rows.chunks(ROWS_MAX) {
        retry("store cursors", || storage.cursors.put(piece)).await;
        metrics.cursors_stored.inc_by(piece.len() as u64);
    }
}
