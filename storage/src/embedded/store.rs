//! What the backend's parts share: the engine for reading, the writer for writing, and whether the store has failed.

use std::sync::{Arc, RwLock};

use fjall::Snapshot;

use super::fault::{Failure, Fault, closed};
use super::keyspaces::Keyspaces;
use super::writer::{Batch, Writer};
use crate::StorageError;

/// An open store.
pub(super) struct Store {
    /// Gone once the store is closed. Held for the length of a read, so that closing waits for reads.
    readers: RwLock<Option<Keyspaces>>,
    pub(super) writer: Writer,
    pub(super) failure: Arc<Failure>,
}

/// A consistent view of what is committed, which is durable too.
pub(super) struct View<'a> {
    pub(super) spaces: &'a Keyspaces,
    pub(super) at: Snapshot,
}

impl Store {
    pub(super) fn start(spaces: Keyspaces) -> std::io::Result<Self> {
        let failure = Arc::new(Failure::new());
        let writer = Writer::start(spaces.clone(), failure.clone())?;
        Ok(Self { readers: RwLock::new(Some(spaces)), writer, failure })
    }

    /// Reads on the caller's thread: for single records, and for the newest entries of a log or mailbox, which are in
    /// memory.
    pub(super) fn read<T>(&self, read: impl FnOnce(&View<'_>) -> Result<T, Fault>) -> Result<T, StorageError> {
        let spaces = self.readers.read().expect("the readers' lock is never poisoned: it is written once, at the end");
        let Some(spaces) = spaces.as_ref() else { return Err(closed()) };
        let view = View { spaces, at: spaces.db.read_tx() };
        read(&view).map_err(|fault| self.failure.of(fault))
    }

    /// Reads on a thread that may block: for scans that may have to go to the disk.
    pub(super) async fn scan<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&View<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StorageError> {
        let store = self.clone();
        match tokio::task::spawn_blocking(move || store.read(read)).await {
            Ok(result) => result,
            Err(error) => Err(StorageError::Unavailable(Box::new(error))),
        }
    }

    /// See [`Writer::write`].
    pub(super) async fn write<T: Send + 'static>(
        &self,
        weight: usize,
        work: impl FnOnce(&mut Batch<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StorageError> {
        self.writer.write(weight, work).await
    }

    /// Finishes what is queued, syncs, and lets go of the directory. Blocks. Can be repeated.
    pub(super) fn close(&self) {
        self.writer.stop();
        drop(self.readers.write().expect("the readers' lock is never poisoned").take());
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}
