//! Redis and ScyllaDB: waited for at start, asked for readiness, closed at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use prometheus::Registry;
use roost_gateway::Readiness;
use roost_storage::redis::{OpenError, RedisStorage};
use roost_storage::scylla::{ScyllaError, ScyllaStorage};
use roost_storage::{Storage, StorageError};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::metrics;
use crate::causes;
use crate::config::Config;

/// First and longest wait for a backend that is not there.
const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(5);

/// How long a backend may take to answer a probe. Probes should wait longer than that.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// The two backends of a cluster.
pub(super) struct Backends {
    redis: Arc<RedisStorage>,
    scylla: Arc<ScyllaStorage>,
}

impl Backends {
    /// Opens both, waiting for as long as they are not there; `starting` knows for which.
    ///
    /// # Errors
    /// What waiting does not mend: a sentence that says what to do.
    pub(super) async fn open(config: &Config, starting: &Starting) -> anyhow::Result<Self> {
        let redis = async || {
            let opened = RedisStorage::open(&config.redis, config.chats.dedupe_window).await;
            opened.map_err(|error| (OpenError::is_transient(&error), error.into()))
        };
        let scylla = async || {
            let opened = ScyllaStorage::open(&config.scylla, config.chats.pending_ttl).await;
            opened.map_err(|error| (ScyllaError::is_transient(&error), error.into()))
        };
        let (redis, scylla) = tokio::try_join!(
            wait_for("redis", redis, &starting.waits_for_redis),
            wait_for("scylla", scylla, &starting.waits_for_scylla),
        )?;
        info!("backends opened");
        Ok(Self { redis: Arc::new(redis), scylla: Arc::new(scylla) })
    }

    /// Makes their numbers part of what `registry` gathers.
    ///
    /// # Errors
    /// When it has them already.
    pub(super) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        metrics::register(registry, self.redis.clone(), self.scylla.clone())
    }

    /// Every trait, on these two.
    pub(super) fn storage(&self) -> Storage {
        self.redis.storage_with(
            self.scylla.pending(),
            self.scylla.history(),
            self.scylla.chats(),
            self.scylla.cursors(),
        )
    }

    /// The last thing before the process ends.
    pub(super) fn close(&self) {
        self.redis.close();
    }
}

#[async_trait]
impl Readiness for Backends {
    async fn check(&self) -> Result<(), &'static str> {
        let (redis, scylla) = tokio::join!(answers(self.redis.check()), answers(self.scylla.check()));
        match unavailable(!redis, !scylla) {
            Some(reason) => Err(reason),
            None => Ok(()),
        }
    }
}

async fn answers(check: impl Future<Output = Result<(), StorageError>>) -> bool {
    timeout(CHECK_TIMEOUT, check).await.is_ok_and(|checked| checked.is_ok())
}

fn unavailable(redis: bool, scylla: bool) -> Option<&'static str> {
    match (redis, scylla) {
        (true, true) => Some("redis and scylla unavailable"),
        (true, false) => Some("redis unavailable"),
        (false, true) => Some("scylla unavailable"),
        (false, false) => None,
    }
}

/// Readiness of a process that opens its backends.
#[derive(Debug, Default)]
pub(super) struct Starting {
    waits_for_redis: AtomicBool,
    waits_for_scylla: AtomicBool,
}

#[async_trait]
impl Readiness for Starting {
    async fn check(&self) -> Result<(), &'static str> {
        let waits_for = |backend: &AtomicBool| backend.load(Ordering::Relaxed);
        Err(unavailable(waits_for(&self.waits_for_redis), waits_for(&self.waits_for_scylla)).unwrap_or("starting"))
    }
}

/// Opens a backend again and again while that may help. `open`: with an error whether it is transient.
async fn wait_for<T>(
    backend: &'static str,
    open: impl AsyncFn() -> Result<T, (bool, anyhow::Error)>,
    waits: &AtomicBool,
) -> anyhow::Result<T> {
    let mut wait = WAIT_MIN;
    loop {
        match open().await {
            Ok(opened) => {
                waits.store(false, Ordering::Relaxed);
                return Ok(opened);
            }
            Err((true, error)) => warn!(backend, error = causes::told(&error), "backend not available, trying again"),
            Err((false, error)) => return Err(error.context(format!("{backend} can not be used"))),
        }
        waits.store(true, Ordering::Relaxed);
        sleep(wait).await;
        wait = (wait * 2).min(WAIT_MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[tokio::test]
    async fn a_backend_is_waited_for_and_readiness_says_for_which() {
        let (starting, attempts) = (Starting::default(), AtomicU32::new(0));
        assert_eq!(starting.check().await, Err("starting"));
        let open = async || {
            if attempts.fetch_add(1, Ordering::Relaxed) == 0 {
                return Err((true, anyhow::anyhow!("not there")));
            }
            assert_eq!(starting.check().await, Err("scylla unavailable"));
            Ok("opened")
        };
        assert_eq!(wait_for("scylla", open, &starting.waits_for_scylla).await.unwrap(), "opened");
        assert_eq!(attempts.load(Ordering::Relaxed), 2);
        assert_eq!(starting.check().await, Err("starting"));
    }

    #[tokio::test]
    async fn what_waiting_does_not_mend_is_not_waited_for() {
        let starting = Starting::default();
        let open = async || Err::<(), _>((false, anyhow::anyhow!("run `roost migrate`")));
        let error = wait_for("scylla", open, &starting.waits_for_scylla).await.unwrap_err();
        assert_eq!(format!("{error:#}"), "scylla can not be used: run `roost migrate`");
    }

    #[test]
    fn the_reason_names_what_is_missing() {
        assert_eq!(unavailable(false, false), None);
        assert_eq!(unavailable(true, false), Some("redis unavailable"));
        assert_eq!(unavailable(false, true), Some("scylla unavailable"));
        assert_eq!(unavailable(true, true), Some("redis and scylla unavailable"));
    }
}
