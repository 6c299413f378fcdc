//! Looks at what a store holds, at what each kind of store lets it cost.

use std::time::Duration;

use futures_util::FutureExt as _;
use roost_storage::StorageError;
use tokio::task::coop::unconstrained;

use crate::tests::rig::LONG;

/// How the log and the mailboxes are looked at while nothing is being written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answers {
    /// A read answers without waiting when there is something, as the embedded store's; waiting for what will not come
    /// would cost a tick of the clock each time.
    AtOnce,
    /// A read takes its time either way.
    InTime,
}

impl Answers {
    /// What there is.
    pub(super) async fn of<T, F>(self, read: impl FnOnce(Duration) -> F) -> Vec<T>
    where
        F: Future<Output = Result<Vec<T>, StorageError>>,
    {
        match self {
            // Unconstrained: else tokio would make it wait once this task has done much without a pause.
            Self::AtOnce => unconstrained(read(LONG)).now_or_never().map(Result::unwrap).unwrap_or_default(),
            Self::InTime => read(Duration::ZERO).await.unwrap(),
        }
    }
}
