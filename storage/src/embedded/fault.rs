//! What can go wrong inside the store, and the one failure after which it acknowledges nothing.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;
use tracing::error;

use crate::StorageError;

/// Why a piece of work did not succeed.
#[derive(Debug)]
pub(super) enum Fault {
    /// The engine failed: the store is done for.
    Engine(fjall::Error),
    /// One record can not be read: only this call fails.
    Corrupt(String),
}

impl From<fjall::Error> for Fault {
    fn from(error: fjall::Error) -> Self {
        Self::Engine(error)
    }
}

/// The cause of a failure, handed to everyone who asks.
#[derive(Debug, Clone)]
struct SharedCause(Arc<dyn Error + Send + Sync>);

impl fmt::Display for SharedCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for SharedCause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// Whether the store has failed, and why. The first cause stays.
pub(super) struct Failure(watch::Sender<Option<SharedCause>>);

impl Failure {
    pub(super) fn new() -> Self {
        Self(watch::channel(None).0)
    }

    /// Fails the store. Logged here and nowhere else.
    pub(super) fn set(&self, cause: impl Into<Box<dyn Error + Send + Sync>>) {
        let cause = SharedCause(Arc::from(cause.into()));
        let first = self.0.send_if_modified(|current| {
            let first = current.is_none();
            current.get_or_insert_with(|| cause.clone());
            first
        });
        if first {
            error!(cause = %cause, "the embedded store has failed");
        }
    }

    pub(super) fn get(&self) -> Option<StorageError> {
        self.0.borrow().clone().map(|cause| StorageError::Failed(Box::new(cause)))
    }

    /// The failure, or that the writer has ended, which happens when the store is closed.
    pub(super) fn get_or_closed(&self) -> StorageError {
        self.get().unwrap_or_else(closed)
    }

    /// The caller's error for `fault`; an engine's fault fails the store.
    pub(super) fn of(&self, fault: Fault) -> StorageError {
        match fault {
            Fault::Corrupt(what) => StorageError::Corrupt { what },
            Fault::Engine(error) => {
                self.set(error);
                self.get_or_closed()
            }
        }
    }

    /// Resolves once the store has failed, never if it is closed before.
    pub(super) fn wait(&self) -> impl Future<Output = StorageError> + Send + use<> {
        let mut failed = self.0.subscribe();
        async move {
            let cause = match failed.wait_for(Option::is_some).await {
                Ok(cause) => cause.clone(),
                Err(_) => None,
            };
            match cause {
                Some(cause) => StorageError::Failed(Box::new(cause)),
                None => std::future::pending().await,
            }
        }
    }
}

/// What calls on a closed store answer.
pub(super) fn closed() -> StorageError {
    StorageError::Failed("the embedded store is closed".into())
}
