//! The embedded backend: every trait on one directory, for one process. Durable, survives `kill -9`, needs nothing
//! installed.
//!
//! Data is in fjall behind one group-commit writer (see `writer` for why what was answered survives). What dies with the
//! process anyway (sessions, leases, announcements, signals) is in memory. The writer is a thread of its own, so tests
//! that pause tokio's clock see their timeouts run out while it works: do not pause the clock over this backend.

mod chats;
mod config;
mod cursors;
mod event_log;
mod fault;
mod history;
mod keys;
mod keyspaces;
mod mailboxes;
mod pending;
mod records;
mod sessions;
mod signals;
mod store;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::Arc;
use std::sync::atomic::Ordering;

pub use self::config::{EmbeddedConfig, OpenError};
use self::event_log::Log;
use self::fault::Fault;
use self::keyspaces::Keyspaces;
use self::mailboxes::Boxes;
use self::pending::Notifications;
use self::sessions::Registry;
use self::signals::Broadcast;
use self::store::Store;
use crate::{Partitions, Storage, StorageError};

/// An open store. Dropping it and every [`Storage`] made from it closes it, too, and blocks while it does.
pub struct Embedded {
    store: Arc<Store>,
    log: Arc<Log>,
    mailboxes: Arc<Boxes>,
    sessions: Arc<Registry>,
    pending: Arc<Notifications>,
    history: Arc<history::Rows>,
    chats: Arc<chats::Members>,
    cursors: Arc<cursors::Rows>,
    signals: Arc<Broadcast>,
}

/// Numbers for metrics. Counts are since the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbeddedStats {
    /// Writes that wait for the writer.
    pub write_queue_depth: u64,
    /// How many may wait; beyond it, callers wait for room.
    pub write_queue_max: u64,
    /// Writes done.
    pub writes_total: u64,
    /// Transactions they were done in.
    pub batches_total: u64,
    /// Transactions that were synced to the disk.
    pub syncs_total: u64,
    /// Event log entries above the cursors.
    pub log_entries: u64,
    /// Mailbox items not confirmed.
    pub mailbox_entries: u64,
    /// Pending notifications.
    pub pending_rows: u64,
    /// Signals that slow receivers have lost.
    pub signals_lost_total: u64,
}

impl Embedded {
    /// Opens the store in `config.dir`, making it when there is none. Blocks: it replays the journal.
    ///
    /// # Errors
    /// [`OpenError`], each a sentence that says what to do.
    pub fn open(config: EmbeddedConfig) -> Result<Self, OpenError> {
        let failed = |error| OpenError::of(&config, Fault::Engine(error));
        std::fs::create_dir_all(&config.dir).map_err(|error| failed(error.into()))?;
        let spaces = Keyspaces::open(&config.dir, config.cache_bytes).map_err(failed)?;
        let partitions = Partitions(config.partitions);
        config::check_format(&spaces, &config)?;
        let store = Store::start(spaces.clone()).map_err(|error| failed(error.into()))?;
        Self::load(Arc::new(store), &spaces, partitions, &config).map_err(|fault| OpenError::of(&config, fault))
    }

    fn load(
        store: Arc<Store>,
        spaces: &Keyspaces,
        partitions: Partitions,
        config: &EmbeddedConfig,
    ) -> Result<Self, Fault> {
        let mailboxes = Boxes::open(store.clone(), spaces, config.mailbox_entries_max)?;
        let sessions = Registry::open(store.clone(), spaces, mailboxes.gateways())?;
        Ok(Self {
            log: Arc::new(Log::open(store.clone(), spaces, partitions, config)?),
            mailboxes: Arc::new(mailboxes),
            sessions: Arc::new(sessions),
            pending: Arc::new(Notifications::open(store.clone(), spaces)?),
            history: Arc::new(history::Rows::new(store.clone())),
            chats: Arc::new(chats::Members::new(store.clone())),
            cursors: Arc::new(cursors::Rows::new(store.clone())),
            signals: Arc::new(Broadcast::new()),
            store,
        })
    }

    /// Every trait, on this store.
    pub fn storage(&self) -> Storage {
        Storage {
            log: self.log.clone(),
            mailboxes: self.mailboxes.clone(),
            sessions: self.sessions.clone(),
            pending: self.pending.clone(),
            history: self.history.clone(),
            chats: self.chats.clone(),
            cursors: self.cursors.clone(),
            signals: self.signals.clone(),
        }
    }

    /// Resolves with the reason once the store has failed, and never otherwise. From then on nothing is acknowledged:
    /// the process should exit and be started again.
    pub fn failed(&self) -> impl Future<Output = StorageError> + Send + use<> {
        self.store.failure.wait()
    }

    /// What there is, and what was done.
    pub fn stats(&self) -> EmbeddedStats {
        let counts = &self.store.writer.counts;
        EmbeddedStats {
            write_queue_depth: self.store.writer.depth() as u64,
            write_queue_max: writer::QUEUE_MAX as u64,
            writes_total: counts.writes.load(Ordering::Relaxed),
            batches_total: counts.batches.load(Ordering::Relaxed),
            syncs_total: counts.syncs.load(Ordering::Relaxed),
            log_entries: self.log.entries(),
            mailbox_entries: self.mailboxes.items(),
            pending_rows: self.pending.rows(),
            signals_lost_total: self.signals.lost(),
        }
    }

    /// Finishes what is queued, syncs, and lets go of the directory: another process may open it when this returns.
    /// Calls on a [`Storage`] of it fail from then on.
    pub async fn close(&self) {
        self.signals.close();
        let store = self.store.clone();
        // An error would mean that closing panicked: the panic has been reported, and there is nothing else to do.
        let _ = tokio::task::spawn_blocking(move || store.close()).await;
    }
}
