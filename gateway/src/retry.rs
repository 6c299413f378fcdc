//! Repeating a storage call that has to succeed in the end.

use std::time::Duration;

use roost_storage::StorageError;
use tracing::{debug, warn};

const WAIT_MIN: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Repeats a call until it succeeds, with growing waits; `what` names it in the log. For calls whose subject is kept by
/// the storage meanwhile (a mailbox entry, a pending row), so that even a node that dies here loses nothing. Cancel safe
/// where the call is.
pub(crate) async fn retry<T, F>(what: &'static str, mut call: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, StorageError>>,
{
    let mut wait = WAIT_MIN;
    loop {
        match call().await {
            Ok(value) => return value,
            Err(error) if error.is_transient() => debug!(what, %error, "storage unavailable, trying again"),
            Err(error) => warn!(what, %error, "storage failed, trying again"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(WAIT_MAX);
    }
}
