//! Why the cluster can not be used, each a sentence that says what to do.

use std::error::Error;

/// Why opening or migrating failed.
#[derive(Debug, thiserror::Error)]
pub enum ScyllaError {
    /// No node could be connected to.
    #[error("none of the ScyllaDB nodes {nodes} can be used: check scylla.nodes, the network and TLS")]
    Unreachable {
        /// What was tried.
        nodes: String,
        /// Why the last one could not.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The cluster does not let the user in.
    #[error("the ScyllaDB cluster refuses the user or the password: check scylla.username and scylla.password_file")]
    Refused {
        /// What the server says.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The local datacenter has no nodes.
    #[error(
        "there is no datacenter {datacenter:?} in the ScyllaDB cluster: set scylla.local_datacenter to one of {found}"
    )]
    NoDatacenter {
        /// The configured name.
        datacenter: String,
        /// The names there are.
        found: String,
    },
    /// The keyspace is not there, or may not be used.
    #[error("the keyspace {keyspace:?} can not be used: run `roost migrate`, or check scylla.keyspace")]
    NoKeyspace {
        /// Its name.
        keyspace: String,
        /// What the server says.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The tables are older than this version.
    #[error("the keyspace {keyspace:?} lacks {missing}: run `roost migrate`")]
    NotMigrated {
        /// Its name.
        keyspace: String,
        /// The migrations it lacks.
        missing: String,
    },
    /// A migration was applied with another text than this version has.
    #[error(
        "migration {name} of the keyspace {keyspace:?} was applied with another text (checksum {applied}, here {known}): use the version that applied it"
    )]
    Changed {
        /// The keyspace.
        keyspace: String,
        /// The migration.
        name: String,
        /// The checksum that is recorded.
        applied: String,
        /// The checksum it has here.
        known: String,
    },
    /// A statement failed.
    #[error("the ScyllaDB cluster has not done: {statement}")]
    Statement {
        /// The statement, shortened.
        statement: String,
        /// Whether it may succeed later without anyone acting.
        transient: bool,
        /// What the server or the driver says.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A file of the configuration can not be used.
    #[error("{key}: {problem}")]
    File {
        /// Which.
        key: &'static str,
        /// Why.
        problem: String,
    },
}

impl ScyllaError {
    /// Whether the same may succeed later without anyone acting.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Statement { transient, .. } => *transient,
            _ => false,
        }
    }
}
