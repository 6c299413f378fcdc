//! The store's keyspaces, and reading typed records from them.

use std::ops::Bound;
use std::path::Path;

use fjall::{KeyspaceCreateOptions, PersistMode, Readable, SingleWriterTxDatabase, SingleWriterTxKeyspace};
use serde::de::DeserializeOwned;

use super::fault::Fault;
use super::records;

/// One keyspace: records of one kind.
#[derive(Clone)]
pub(super) struct Space {
    pub(super) handle: SingleWriterTxKeyspace,
    /// Named in errors about a record that can not be read.
    kind: &'static str,
}

/// Every keyspace. The value of a record is JSON (see `records`), the key binary (see `keys`).
#[derive(Clone)]
pub(super) struct Keyspaces {
    pub(super) db: SingleWriterTxDatabase,
    /// The store itself: its format and its number of partitions.
    pub(super) format: Space,
    /// partition, position → event.
    pub(super) events: Space,
    /// partition → cursor and epoch.
    pub(super) partitions: Space,
    /// chat → last sequence.
    pub(super) clocks: Space,
    /// dedupe key → sequence.
    pub(super) dedupe: Space,
    /// time, dedupe key → nothing: in which order dedupe records expire.
    pub(super) dedupe_ages: Space,
    /// gateway → fence and confirmed position.
    pub(super) mailboxes: Space,
    /// gateway, position → item.
    pub(super) mailbox_items: Space,
    /// gateway → nothing: that it is known.
    pub(super) gateways: Space,
    /// user, sequence, chat → message.
    pub(super) pending: Space,
    /// user → how many rows, and where the first may be.
    pub(super) pending_users: Space,
    /// chat, sequence → message.
    pub(super) history: Space,
    /// chat → last applied change.
    pub(super) chats: Space,
    /// chat, user → nothing: a member.
    pub(super) members: Space,
    /// user, chat → nothing: the same by user.
    pub(super) chats_of: Space,
    /// user, chat → when the user was a member of the chat in room mode.
    pub(super) rooms_of: Space,
    /// user, chat → what is confirmed.
    pub(super) cursors: Space,
}

/// A memtable grows to this before it is flushed: bounds the memory of all keyspaces.
const MEMTABLE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Rows of one range, none when it is inverted.
pub(super) type Rows = std::iter::Flatten<std::option::IntoIter<fjall::Iter>>;

impl Keyspaces {
    pub(super) fn open(dir: &Path, cache_bytes: u64) -> fjall::Result<Self> {
        let db = SingleWriterTxDatabase::builder(dir)
            .cache_size(cache_bytes)
            .worker_threads(2)
            // The writer says when the journal is flushed and synced, once per batch.
            .manual_journal_persist(true)
            .open()?;
        let space = |kind: &'static str| -> fjall::Result<Space> {
            let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES_MAX);
            Ok(Space { handle: db.keyspace(kind, options)?, kind })
        };
        Ok(Self {
            format: space("format")?,
            events: space("event")?,
            partitions: space("partition")?,
            clocks: space("clock")?,
            dedupe: space("dedupe")?,
            dedupe_ages: space("dedupe_age")?,
            mailboxes: space("mailbox")?,
            mailbox_items: space("mailbox_item")?,
            gateways: space("gateway")?,
            pending: space("pending")?,
            pending_users: space("pending_user")?,
            history: space("history")?,
            chats: space("chat")?,
            members: space("member")?,
            chats_of: space("chat_of")?,
            rooms_of: space("room_of")?,
            cursors: space("cursor")?,
            db,
        })
    }

    pub(super) fn sync(&self) -> fjall::Result<()> {
        self.db.persist(PersistMode::SyncAll)
    }
}

impl Space {
    /// The record under `key`, as `reader` (a snapshot or the open batch) sees it.
    pub(super) fn get<T: DeserializeOwned>(&self, reader: &impl Readable, key: &[u8]) -> Result<Option<T>, Fault> {
        match reader.get(&self.handle, key)? {
            Some(value) => self.parse(key, &value).map(Some),
            None => Ok(None),
        }
    }

    pub(super) fn contains(&self, reader: &impl Readable, key: &[u8]) -> Result<bool, Fault> {
        Ok(reader.contains_key(&self.handle, key)?)
    }

    /// Records in key order. Give both ends: deleted records linger until compaction, and a scan walks over them.
    pub(super) fn range(&self, reader: &impl Readable, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>) -> Rows {
        // An iterator over an inverted range is empty, where the engine would panic.
        let inverted = match (&from, &to) {
            (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => from >= to,
            _ => false,
        };
        (!inverted).then(|| reader.range(&self.handle, (from, to))).into_iter().flatten()
    }

    pub(super) fn parse<T: DeserializeOwned>(&self, key: &[u8], value: &[u8]) -> Result<T, Fault> {
        records::decode(value).map_err(|_| self.corrupt(key))
    }

    /// The error that names the record under `key`.
    pub(super) fn corrupt(&self, key: &[u8]) -> Fault {
        Fault::Corrupt(format!("{} {}", self.kind, key.escape_ascii()))
    }
}
