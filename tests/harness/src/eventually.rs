//! Waiting for something to become true, with a bound; and ports to wait at.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a test waits for something that should happen at once, on a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(15);
/// How long a test waits for a server of somebody else's to start or to notice something.
const PATIENCE_WITH_SERVERS: Duration = Duration::from_secs(30);

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

/// Repeats `check` on this thread until it holds, for at most 30 seconds.
///
/// # Panics
/// When it does not hold in time, naming `what`.
pub fn eventually_blocking(what: &str, mut check: impl FnMut() -> bool) {
    let started = Instant::now();
    while !check() {
        assert!(started.elapsed() < PATIENCE_WITH_SERVERS, "{what}: not within {PATIENCE_WITH_SERVERS:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A port of loopback that nobody listens on, and that nothing else in this process was given.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let given = given.get_or_insert_default();
    loop {
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = address.expect("there is a free port").port();
        if given.insert(port) {
            return port;
        }
    }
}
