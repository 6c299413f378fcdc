//! The ScyllaDB backend on Apache Cassandra 5: the contracts of its traits, the migrations, the rows as they are stored,
//! who is let in, and what survives a dead node.
//!
//! The servers are `deploy/dev/cassandra.sh`'s, and stop with this process. Nothing is skipped: without a server the tests
//! fail.

#![allow(clippy::unwrap_used, reason = "all of it is a test")]

mod certificates;
mod cql;
mod dead_node;
mod members;
mod migrations;
mod rooms;
mod rows;
mod security;
mod shared;

use roost_harness::cassandra::Cassandra;
use roost_storage::Storage;
use roost_storage::contract::{Fixture, MAILBOX_ENTRIES_MAX, PARTITION_ENTRIES_MAX};
use roost_storage::embedded::{Embedded, EmbeddedConfig};
use roost_storage::scylla::{Replication, ScyllaConfig};

use self::shared::shared;

/// How to use the servers.
fn config(server: &Cassandra, keyspace: &str) -> ScyllaConfig {
    let nodes = server.nodes();
    let copies = u16::try_from(nodes.len()).unwrap();
    ScyllaConfig {
        nodes,
        keyspace: keyspace.into(),
        replication: Replication::Factor(copies),
        ..ScyllaConfig::default()
    }
}

/// Pending, history, chats and cursors on Cassandra, the rest embedded.
struct Combined {
    embedded: Embedded,
    // Deleted after the store is closed.
    _dir: tempfile::TempDir,
}

impl Fixture for Combined {
    fn storage(&self) -> Storage {
        let scylla = &shared().storage;
        Storage {
            pending: scylla.pending(),
            history: scylla.history(),
            chats: scylla.chats(),
            cursors: scylla.cursors(),
            ..self.embedded.storage()
        }
    }
}

async fn combined() -> Combined {
    let dir = tempfile::tempdir().unwrap();
    let config = EmbeddedConfig {
        partition_entries_max: PARTITION_ENTRIES_MAX,
        mailbox_entries_max: MAILBOX_ENTRIES_MAX,
        ..EmbeddedConfig::new(dir.path())
    };
    Combined { embedded: Embedded::open(config).unwrap(), _dir: dir }
}

roost_storage::contract_suite!(contract, combined());
