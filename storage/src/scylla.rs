//! The ScyllaDB backend: pending, history, chats and their members, cursors. Also runs on Apache Cassandra 5, on which it is
//! tested.
//!
//! Everything is an upsert or a deletion by key, may be repeated, and carries the time of what it is about, not the time
//! of a clock: no lightweight transactions, no counters, no views. Statements are in `statements/`, tables in
//! `migrations/`, one `.cql` file each.

mod batches;
mod chats;
mod client;
mod config;
mod cql;
mod cursors;
mod error;
mod fault;
mod history;
mod migrations;
mod pending;
mod repeat;
mod replication;
mod rows;
mod session;
mod statements;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use self::client::Client;
pub use self::client::ScyllaStats;
pub use self::config::{Consistency, ScyllaConfig};
pub use self::error::ScyllaError;
pub use self::migrations::{MigrationReport, MigrationStep, migrate};
pub use self::replication::{InvalidReplication, Replication};
use self::rows::Partition;
use self::statements::Statements;
use crate::{Chats, Cursors, History, Pending, StorageError};

/// A connection to the cluster, and the four traits on it. It reconnects by itself for as long as it is there.
pub struct ScyllaStorage {
    client: Arc<Client>,
    pending: Arc<pending::Notifications>,
    history: Arc<history::Rows>,
    chats: Arc<chats::Members>,
    cursors: Arc<cursors::Places>,
}

impl ScyllaStorage {
    /// Connects to a cluster whose keyspace is [`migrate`]d. `pending_ttl`: how long a notification stays pending.
    ///
    /// # Errors
    /// [`ScyllaError`], each a sentence that says what to do. Some pass: see [`ScyllaError::is_transient`].
    pub async fn open(config: &ScyllaConfig, pending_ttl: Duration) -> Result<Self, ScyllaError> {
        let session = session::connect(config, Some(&config.keyspace), config.request_timeout).await?;
        migrations::check(config, &session).await?;
        let statements = Statements::prepare(&session).await.map_err(|error| ScyllaError::Statement {
            statement: "prepare the statements".into(),
            transient: true,
            source: Box::new(error),
        })?;
        let client = Arc::new(Client::new(session, statements, config.concurrency_max, config.request_timeout));
        let pending_ttl = config::seconds(pending_ttl);
        Ok(Self {
            pending: Arc::new(pending::Notifications::new(client.clone(), pending_ttl)),
            history: Arc::new(history::Rows::new(client.clone(), config::seconds(config.history_ttl))),
            chats: Arc::new(chats::Members::new(client.clone(), pending_ttl)),
            cursors: Arc::new(cursors::Places::new(client.clone(), pending_ttl)),
            client,
        })
    }

    /// Notifications no client has confirmed yet.
    pub fn pending(&self) -> Arc<dyn Pending> {
        self.pending.clone()
    }

    /// Every message, by chat.
    pub fn history(&self) -> Arc<dyn History> {
        self.history.clone()
    }

    /// Members of chats.
    pub fn chats(&self) -> Arc<dyn Chats> {
        self.chats.clone()
    }

    /// How far users have confirmed chats in room mode.
    pub fn cursors(&self) -> Arc<dyn Cursors> {
        self.cursors.clone()
    }

    /// Whether enough nodes answer: one small read at the configured consistency, for readiness.
    ///
    /// # Errors
    /// [`StorageError::Unavailable`] with the reason.
    pub async fn check(&self) -> Result<(), StorageError> {
        let partition = Partition { table: "chats", key: "" };
        // No chat has this id. Its partition has copies as any other.
        let values = (" ",);
        self.client.read(&self.client.statements.chats_applied, values, partition, |_: (i64,)| Ok(())).await?;
        Ok(())
    }

    /// What there is, and what was done.
    pub fn stats(&self) -> ScyllaStats {
        self.client.stats()
    }
}
