//! Waiting for something to become true, with a bound.

use std::time::{Duration, Instant};

/// How long a test waits for something that should happen at once, on a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Asks `probe` again and again until it answers, at most for [`PATIENCE`].
///
/// # Panics
/// When it does not answer in time, naming `what`.
pub async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = probe().await {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
