//! Sending a request again when that is worth it. The driver tries other nodes by itself; a write that timed out it gives
//! up, because it can not know that ours may all be repeated.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use scylla::errors::ExecutionError;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::fault;

/// Tries of one request.
const TRIES_MAX: u32 = 4;
/// Wait before the first repetition. Each further one is twice as long.
const WAIT_MIN: Duration = Duration::from_millis(25);

/// Sends until there is an answer, or an error that stays. The last try begins within `limit`: when each takes at most
/// that long, all of it takes at most twice as long.
pub(super) async fn until_answered<T, F>(
    limit: Duration,
    repetitions: &AtomicU64,
    send: impl Fn() -> F + Send,
) -> Result<T, ExecutionError>
where
    F: Future<Output = Result<T, ExecutionError>> + Send,
{
    let begun = Instant::now();
    let mut wait = WAIT_MIN;
    for _ in 1..TRIES_MAX {
        match send().await {
            Err(error) if fault::is_worth_repeating(&error) && begun.elapsed() + wait < limit => {
                debug!(%error, "request will be repeated");
                sleep(wait.mul_f64(0.5 + rand::random::<f64>() / 2.0)).await;
                wait *= 2;
                repetitions.fetch_add(1, Ordering::Relaxed);
            }
            answer => return answer,
        }
    }
    send().await
}

#[cfg(test)]
mod tests {
    use scylla::errors::{DbError, RequestAttemptError, WriteType};
    use scylla::statement::Consistency;

    use super::*;

    fn timed_out() -> ExecutionError {
        let (consistency, write_type) = (Consistency::LocalQuorum, WriteType::UnloggedBatch);
        let error = DbError::WriteTimeout { consistency, received: 1, required: 2, write_type };
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(error, String::new()))
    }

    fn invalid() -> ExecutionError {
        ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Invalid, String::new()))
    }

    /// Sends until answered, failing the first `failures` times. Returns how often it was sent, and whether it succeeded.
    async fn sent(limit: Duration, failures: u64, error: fn() -> ExecutionError) -> (u64, bool) {
        let (tries, repetitions) = (AtomicU64::new(0), AtomicU64::new(0));
        let send = || async {
            let before = tries.fetch_add(1, Ordering::Relaxed);
            if before < failures { Err(error()) } else { Ok(()) }
        };
        let answer = until_answered(limit, &repetitions, send).await;
        let tries = tries.into_inner();
        assert_eq!(repetitions.into_inner(), tries - 1);
        (tries, answer.is_ok())
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_write_that_timed_out_is_repeated_a_few_times() {
        assert_eq!(sent(LONG, 0, timed_out).await, (1, true));
        assert_eq!(sent(LONG, 2, timed_out).await, (3, true));
        assert_eq!(sent(LONG, u64::MAX, timed_out).await, (4, false));
    }

    #[tokio::test]
    async fn nothing_is_repeated_when_its_time_is_over() {
        assert_eq!(sent(WAIT_MIN, u64::MAX, timed_out).await, (1, false));
    }

    #[tokio::test]
    async fn an_error_that_stays_is_not_repeated() {
        assert_eq!(sent(LONG, 1, invalid).await, (1, false));
    }
}
