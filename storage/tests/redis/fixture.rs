//! A store of its own for each test: Redis for what Redis backs, an embedded store for the rest. Tests share servers
//! and keep apart by the prefix of their keys.

use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use roost_storage::Storage;
use roost_storage::contract::{Fixture, MAILBOX_ENTRIES_MAX, PARTITION_ENTRIES_MAX};
use roost_storage::embedded::{Embedded, EmbeddedConfig};
use roost_storage::redis::{Durability, OpenError, RedisConfig, RedisStorage, RedisUrl};

/// Longer than any test.
pub(crate) const WINDOW: Duration = Duration::from_hours(1);

/// What the contract suites ask for, under a prefix that no other test has.
pub(crate) fn config(url: &str, durability: Durability) -> RedisConfig {
    RedisConfig {
        url: RedisUrl::new(url),
        durability,
        partitions: NonZeroU16::new(16).unwrap(),
        key_prefix: format!("test-{:016x}:", rand::random::<u64>()),
        partition_entries_max: PARTITION_ENTRIES_MAX,
        mailbox_entries_max: MAILBOX_ENTRIES_MAX,
        command_timeout: Duration::from_secs(5),
        connections: 2,
        ..RedisConfig::default()
    }
}

pub(crate) async fn open(config: &RedisConfig) -> Result<RedisStorage, OpenError> {
    RedisStorage::open(config, WINDOW).await
}

/// What Redis does not back. Opening one syncs hundreds of files, so tests that run side by side share it.
struct Tables {
    embedded: Embedded,
    // Deleted after the store is closed.
    _dir: tempfile::TempDir,
}

impl Tables {
    fn open() -> Arc<Self> {
        static SHARED: Mutex<Weak<Tables>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap();
        if let Some(tables) = shared.upgrade() {
            return tables;
        }
        let dir = tempfile::tempdir().unwrap();
        let tables = Arc::new(Self { embedded: Embedded::open(EmbeddedConfig::new(dir.path())).unwrap(), _dir: dir });
        *shared = Arc::downgrade(&tables);
        tables
    }
}

/// Every trait.
pub(crate) struct Both {
    storage: Storage,
    _redis: RedisStorage,
    _tables: Arc<Tables>,
}

impl Both {
    pub(crate) async fn open(config: &RedisConfig) -> Self {
        let tables = Tables::open();
        let redis = open(config).await.unwrap();
        let Storage { pending, history, chats, cursors, .. } = tables.embedded.storage();
        let storage = redis.storage_with(pending, history, chats, cursors);
        Self { storage, _redis: redis, _tables: tables }
    }
}

impl Fixture for Both {
    fn storage(&self) -> Storage {
        self.storage.clone()
    }
}
