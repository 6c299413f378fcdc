//! The Redis backend: event log, mailboxes, sessions and signals on Redis or Valkey, as a single server, behind
//! Sentinels, or as a Cluster. Pending, history and chats are not here.
//!
//! `keys` is the schema. Each step that must be atomic is one Lua script (`scripts/*.lua`) whose keys are in one slot.
//! `router` sends it to the primary that owns the slot, over a `lane`: one connection whose pipelines are closed by a
//! wait for durability. `readers` wait for entries, each on a connection to itself.
//!
//! A user of the servers needs: `INFO`, `SCRIPT LOAD`, `EVALSHA` and what the scripts call, `SETRANGE`, the commands of streams,
//! hashes, sets and sorted sets, `PUBLISH` and `SUBSCRIBE`, `WAIT` or `WAITAOF` (on Redis 7.0 `CONFIG GET` instead), and in
//! a Cluster `CLUSTER SLOTS`.

mod config;
mod connect;
mod endpoint;
mod error;
mod event_log;
mod files;
mod keys;
mod lane;
mod mailboxes;
mod readers;
mod records;
mod router;
mod scripts;
mod sessions;
mod signals;
mod topology;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::try_join_all;
use redis::Value;
use tokio::sync::Notify;

pub use self::config::{Durability, RedisConfig, RedisUrl};
use self::connect::Connector;
use self::endpoint::Endpoint;
pub use self::error::OpenError;
use self::error::{Fault, answered};
use self::keys::Keys;
use self::lane::{Counts, Shared};
use self::readers::Readers;
use self::records::{FORMAT_VERSION, fixed, text};
use self::router::Router;
use crate::{
    Chats, Cursors, EventLog, History, Mailboxes, Partitions, Pending, Sessions, Signals, Storage, StorageError,
};

/// A store in Redis. Dropping it and everything made from it closes its connections.
pub struct RedisStorage {
    router: Arc<Router>,
    log: Arc<event_log::Log>,
    mailboxes: Arc<mailboxes::Boxes>,
    sessions: Arc<sessions::Registry>,
    signals: Arc<signals::Broadcasts>,
}

/// Numbers for metrics. Counts are since the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedisStats {
    /// Connections opened.
    pub connects_total: u64,
    /// Attempts that failed.
    pub connects_failed_total: u64,
    /// Commands and scripts sent, but for waiting reads.
    pub requests_total: u64,
    /// Pipelines they were sent in.
    pub pipelines_total: u64,
    /// Pipelines whose writes did not become durable in time.
    pub not_durable_total: u64,
    /// Times a server had forgotten the scripts.
    pub scripts_reloaded_total: u64,
    /// Requests sent on to another server of a Cluster.
    pub redirects_total: u64,
    /// Signals that slow receivers have lost, or that could not be read.
    pub signals_lost_total: u64,
    /// Whether a server may evict keys, by `redis.allow_eviction_policy`: it may then delete messages.
    pub eviction_allowed: bool,
}

impl RedisStorage {
    /// Opens the store, making it when there is none. `dedupe_window`: for how long an append with the same key is a
    /// repetition.
    ///
    /// # Errors
    /// [`OpenError`], each a sentence that says what to do; after a transient one, trying again may help.
    pub async fn open(config: &RedisConfig, dedupe_window: Duration) -> Result<Self, OpenError> {
        let faults = config.faults();
        if !faults.is_empty() {
            let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
            return Err(OpenError::Configuration(faults.join("\n")));
        }
        let endpoint = Endpoint::parse(config.url.as_str()).map_err(OpenError::Configuration)?;
        let connector = Connector::new(config, &endpoint)?;
        let shared = Arc::new(Shared { connector, counts: Counts::default(), changed: Notify::new() });
        let router = Router::start(shared, endpoint, config.connections).await.map_err(OpenError::of)?;
        let router = Arc::new(router);
        check_primaries(&router).await?;
        let keys = Keys::new(&config.key_prefix);
        check_format(&router, &keys, config.partitions.get()).await?;

        let readers = Arc::new(Readers::new(router.clone()));
        Ok(Self {
            log: Arc::new(event_log::Log {
                router: router.clone(),
                readers: readers.clone(),
                keys: keys.clone(),
                partitions: Partitions(config.partitions),
                entries_max: config.partition_entries_max,
                // A bucket is a window long, and buckets are whole milliseconds.
                dedupe_window: dedupe_window.max(Duration::from_millis(1)),
            }),
            mailboxes: Arc::new(mailboxes::Boxes {
                router: router.clone(),
                readers,
                keys: keys.clone(),
                entries_max: config.mailbox_entries_max,
            }),
            sessions: Arc::new(sessions::Registry { router: router.clone(), keys: keys.clone() }),
            signals: Arc::new(signals::Broadcasts::new(router.clone(), keys)),
            router,
        })
    }

    /// The event log.
    pub fn log(&self) -> Arc<dyn EventLog> {
        self.log.clone()
    }

    /// The mailboxes.
    pub fn mailboxes(&self) -> Arc<dyn Mailboxes> {
        self.mailboxes.clone()
    }

    /// The session registry.
    pub fn sessions(&self) -> Arc<dyn Sessions> {
        self.sessions.clone()
    }

    /// The signals.
    pub fn signals(&self) -> Arc<dyn Signals> {
        self.signals.clone()
    }

    /// Every trait: those that are in Redis, and the others from another backend.
    pub fn storage_with(
        &self,
        pending: Arc<dyn Pending>,
        history: Arc<dyn History>,
        chats: Arc<dyn Chats>,
        cursors: Arc<dyn Cursors>,
    ) -> Storage {
        Storage {
            log: self.log(),
            mailboxes: self.mailboxes(),
            sessions: self.sessions(),
            pending,
            history,
            chats,
            cursors,
            signals: self.signals(),
        }
    }

    /// Whether every primary takes writes and makes them durable: for readiness. Changes nothing.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] with the reason.
    pub async fn check(&self) -> Result<(), StorageError> {
        let topology = self.router.topology();
        let mut checked = Vec::new();
        let mut checks = Vec::new();
        for partition in self.log.partitions().all() {
            let key = self.log.keys.cursor(partition);
            let owner = topology.owner(keys::slot(&key));
            if checked.contains(&owner) {
                continue;
            }
            checked.push(owner);
            // Writes nothing, also when there is no such key, but is refused whenever a write would be.
            let mut command = redis::cmd("SETRANGE");
            command.arg(&key).arg(0).arg("");
            checks.push(async move { self.router.write_plain(&key, command).await.and_then(answered) });
        }
        try_join_all(checks).await?;
        Ok(())
    }

    /// What was done.
    pub fn stats(&self) -> RedisStats {
        let counts = &self.router.shared().counts;
        RedisStats {
            connects_total: counts.connects.load(Ordering::Relaxed),
            connects_failed_total: counts.connects_failed.load(Ordering::Relaxed),
            requests_total: counts.requests.load(Ordering::Relaxed),
            pipelines_total: counts.pipelines.load(Ordering::Relaxed),
            not_durable_total: counts.not_durable.load(Ordering::Relaxed),
            scripts_reloaded_total: counts.scripts_reloaded.load(Ordering::Relaxed),
            redirects_total: counts.redirects.load(Ordering::Relaxed),
            signals_lost_total: counts.signals_lost.load(Ordering::Relaxed),
            eviction_allowed: counts.evicts.load(Ordering::Relaxed),
        }
    }

    /// Ends the receivers of signals, which would otherwise wait for ever. Connections close when the last user of the
    /// store is gone.
    pub fn close(&self) {
        self.signals.close();
    }
}

/// Connects to every primary once, so that one that may not be used is reported at start and by its reason.
async fn check_primaries(router: &Router) -> Result<(), OpenError> {
    let connector = &router.shared().connector;
    for address in router.topology().primaries() {
        connector.prepare(&address, connector.command_timeout).await.map_err(OpenError::of)?;
    }
    Ok(())
}

/// Writes what a new store is, or compares what an old one says with what is asked for.
async fn check_format(router: &Router, keys: &Keys, partitions: u16) -> Result<(), OpenError> {
    let key = keys.format();
    for (field, value) in [("version", FORMAT_VERSION), ("partitions", partitions.into())] {
        // The first one wins, also between two that start at the same time.
        let mut command = redis::cmd("HSETNX");
        command.arg(&key).arg(field).arg(value);
        router.write_plain(&key, command).await.and_then(answered).map_err(OpenError::of)?;
    }
    let mut command = redis::cmd("HMGET");
    command.arg(&key).arg("version").arg("partitions");
    let answer: Value = router.read(&key, command).await.map_err(OpenError::of)?;
    let [version, stored] = fixed(answer).map(|values| values.map(text)).unwrap_or_default();
    if version.as_deref() != Some(&FORMAT_VERSION.to_string()) {
        return Err(OpenError::UnknownFormat { found: version.unwrap_or_else(|| "unknown".to_owned()) });
    }
    match stored.and_then(|stored| stored.parse().ok()) {
        Some(stored) if stored == partitions => Ok(()),
        Some(stored) => Err(OpenError::Partitions { stored, configured: partitions }),
        None => Err(OpenError::of(Fault::Corrupt(key))),
    }
}
