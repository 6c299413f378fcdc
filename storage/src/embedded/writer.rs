//! The group-commit writer: one thread that owns the write side.
//!
//! Whoever writes hands it a closure. It takes what is queued, up to [`BATCH_WEIGHT_MAX`], runs the closures one after
//! another inside one transaction in which each sees the writes of those before it, commits, and answers everyone. So
//! a closure that checks something and then writes is one atomic step, and one sync pays for a whole batch.
//!
//! # Why what was answered survives
//!
//! Read in fjall 3.1.13. The commit of a transaction with a [`PersistMode`] appends one checksummed batch to the
//! journal and flushes or syncs it *before* the batch reaches the memtables and becomes visible (`batch/mod.rs`), so
//! readers see nothing that is not durable. `SyncData` is fdatasync, which covers the file's size; nothing else of the
//! metadata matters here.
//!
//! There is one journal for all keyspaces and one lock around its writer; a rotation syncs the old file before the new
//! one is made (`journal/writer.rs`), a memtable is written out only after the journal was synced (`worker_pool.rs`),
//! and recovery replays whole batches and stops at the first torn one (`journal/batch_reader.rs`). So what survives a
//! crash is a prefix of the batches. A batch whose closures promise nothing by themselves (a cursor moves, rows are
//! deleted) therefore needs no sync of its own: if a later write survives, so does it; it is only flushed to the
//! operating system, which `kill -9` does not undo.
//!
//! One case is the engine's to mend: when power fails, a page may be missing inside the last batch, which nobody was
//! answered for. If that page lay inside a value, recovery reports a checksum error where it could have cut the batch
//! off, and the store does not open until the journal's tail is removed by hand. Nothing acknowledged is lost by it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use fjall::{PersistMode, SingleWriterWriteTx};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::fault::{Failure, Fault, closed};
use super::keyspaces::{Keyspaces, Space};
use super::records;
use crate::StorageError;

/// How many writes may wait. Beyond it callers wait for room, which slows senders down instead of filling memory.
pub(super) const QUEUE_MAX: usize = 8192;
/// A batch takes writes until their weight (about: rows) reaches this.
const BATCH_WEIGHT_MAX: usize = 1024;
/// Room for most records.
const ENCODED_BYTES: usize = 1024;

/// The open transaction, as a closure sees it.
pub(super) struct Batch<'a> {
    pub(super) spaces: &'a Keyspaces,
    pub(super) tx: SingleWriterWriteTx<'a>,
    /// Records are encoded in here: one allocation for a batch instead of some for every record.
    encoded: Vec<u8>,
    promises: bool,
    after_commit: Vec<Box<dyn FnOnce() + Send>>,
}

impl<'a> Batch<'a> {
    fn new(spaces: &'a Keyspaces) -> Self {
        Self {
            spaces,
            tx: spaces.db.write_tx(),
            encoded: Vec::with_capacity(ENCODED_BYTES),
            promises: false,
            after_commit: Vec::new(),
        }
    }

    pub(super) fn put(&mut self, space: &Space, key: impl AsRef<[u8]>, record: &impl Serialize) {
        self.encoded.clear();
        records::encode_into(&mut self.encoded, record);
        self.tx.insert(&space.handle, key.as_ref(), self.encoded.as_slice());
    }

    /// Writes a key that says everything by being there.
    pub(super) fn mark(&mut self, space: &Space, key: impl AsRef<[u8]>) {
        self.tx.insert(&space.handle, key.as_ref(), b"");
    }

    pub(super) fn remove(&mut self, space: &Space, key: impl AsRef<[u8]>) {
        self.tx.remove(&space.handle, key.as_ref());
    }

    /// This batch must be on the disk before it is answered.
    pub(super) fn promise(&mut self) {
        self.promises = true;
    }

    /// Runs `wake` once the batch is committed: how readers learn of it.
    pub(super) fn after_commit(&mut self, wake: impl FnOnce() + Send + 'static) {
        self.after_commit.push(Box::new(wake));
    }
}

/// A queued write.
trait Job: Send {
    fn weight(&self) -> usize;
    /// # Errors
    /// Only those that fail the store.
    fn run(&mut self, batch: &mut Batch<'_>) -> Result<(), fjall::Error>;
    fn answer(self: Box<Self>, failure: Option<StorageError>);
}

struct Write<F, T> {
    weight: usize,
    work: Option<F>,
    result: Option<Result<T, StorageError>>,
    reply: oneshot::Sender<Result<T, StorageError>>,
}

impl<F, T> Job for Write<F, T>
where
    F: FnOnce(&mut Batch<'_>) -> Result<T, Fault> + Send,
    T: Send,
{
    fn weight(&self) -> usize {
        self.weight
    }

    fn run(&mut self, batch: &mut Batch<'_>) -> Result<(), fjall::Error> {
        let Some(work) = self.work.take() else { return Ok(()) };
        self.result = Some(match work(batch) {
            Ok(value) => Ok(value),
            Err(Fault::Corrupt(what)) => Err(StorageError::Corrupt { what }),
            Err(Fault::Engine(error)) => return Err(error),
        });
        Ok(())
    }

    fn answer(self: Box<Self>, failure: Option<StorageError>) {
        let result = match failure {
            Some(failure) => Err(failure),
            None => self.result.unwrap_or_else(|| Err(closed())),
        };
        // Whoever asked may have gone.
        let _ = self.reply.send(result);
    }
}

/// Counted since the store was opened.
#[derive(Debug, Default)]
pub(super) struct WriterCounts {
    pub(super) writes: AtomicU64,
    pub(super) batches: AtomicU64,
    pub(super) syncs: AtomicU64,
}

/// The queue in front of the writer thread.
pub(super) struct Writer {
    queue: Mutex<Option<mpsc::Sender<Box<dyn Job>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    failure: Arc<Failure>,
    pub(super) counts: Arc<WriterCounts>,
}

impl Writer {
    pub(super) fn start(spaces: Keyspaces, failure: Arc<Failure>) -> std::io::Result<Self> {
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        let counts = Arc::new(WriterCounts::default());
        let worker = Worker { spaces, failure: failure.clone(), counts: counts.clone() };
        let thread = std::thread::Builder::new().name("roost-writer".into()).spawn(move || worker.run(queue))?;
        Ok(Self { queue: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)), failure, counts })
    }

    /// Has `work` run in some batch and returns what it returned, once the batch is as durable as the work asked for.
    /// `work` must read all it needs before it writes: when it fails because of a corrupt record, what it has written
    /// is not taken back. Dropping the future does not take the write back.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        weight: usize,
        work: impl FnOnce(&mut Batch<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StorageError> {
        let queue = self.queue.lock().expect("the queue's lock is never poisoned").clone();
        let Some(queue) = queue else { return Err(self.failure.get_or_closed()) };
        let (reply, answer) = oneshot::channel();
        let job = Write { weight: weight.max(1), work: Some(work), result: None, reply };
        if queue.send(Box::new(job)).await.is_err() {
            return Err(self.failure.get_or_closed());
        }
        // Not kept while waiting, so that a closing store need not wait for its callers.
        drop(queue);
        answer.await.unwrap_or_else(|_| Err(self.failure.get_or_closed()))
    }

    pub(super) fn depth(&self) -> usize {
        let queue = self.queue.lock().expect("the queue's lock is never poisoned");
        queue.as_ref().map_or(0, |queue| queue.max_capacity() - queue.capacity())
    }

    /// Takes no more writes, waits until those queued are done, and ends the thread. Blocks.
    pub(super) fn stop(&self) {
        drop(self.queue.lock().expect("the queue's lock is never poisoned").take());
        let thread = self.thread.lock().expect("the thread's lock is never poisoned").take();
        // A panic of the thread has failed the store already.
        let _ = thread.map(JoinHandle::join);
    }
}

struct Worker {
    spaces: Keyspaces,
    failure: Arc<Failure>,
    counts: Arc<WriterCounts>,
}

/// Fails the store when the writer thread panics: nobody is acknowledged from then on.
struct PanicGuard(Arc<Failure>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.set("the writer thread has panicked");
        }
    }
}

impl Worker {
    fn run(self, mut queue: mpsc::Receiver<Box<dyn Job>>) {
        let mut jobs: Vec<Box<dyn Job>> = Vec::new();
        // Declared after the jobs, so that it fails the store before their callers learn that they are gone.
        let _guard = PanicGuard(self.failure.clone());
        while let Some(first) = queue.blocking_recv() {
            let mut weight = first.weight();
            jobs.push(first);
            while weight < BATCH_WEIGHT_MAX
                && let Ok(next) = queue.try_recv()
            {
                weight += next.weight();
                jobs.push(next);
            }
            if self.failure.get().is_none()
                && let Err(error) = self.commit(&mut jobs)
            {
                self.failure.set(error);
            }
            for job in jobs.drain(..) {
                job.answer(self.failure.get());
            }
        }
        if self.failure.get().is_none()
            && let Err(error) = self.spaces.sync()
        {
            self.failure.set(error);
        }
    }

    fn commit(&self, jobs: &mut [Box<dyn Job>]) -> fjall::Result<()> {
        let mut batch = Batch::new(&self.spaces);
        for job in jobs.iter_mut() {
            job.run(&mut batch)?;
        }
        let mode = if batch.promises { PersistMode::SyncData } else { PersistMode::Buffer };
        batch.tx.durability(Some(mode)).commit()?;
        self.counts.writes.fetch_add(jobs.len() as u64, Ordering::Relaxed);
        self.counts.batches.fetch_add(1, Ordering::Relaxed);
        self.counts.syncs.fetch_add(u64::from(batch.promises), Ordering::Relaxed);
        for wake in batch.after_commit {
            wake();
        }
        Ok(())
    }
}
