//! Making and changing the tables. Versions that are applied are recorded in the keyspace, with a checksum of what was
//! done.
//!
//! Several may run at once. Each statement may be run again, and all of them go to the same node, where schema changes
//! are done one after the other: two nodes that make the same table at the same time make two different ones.

mod report;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use scylla::client::session::Session;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use scylla::policies::load_balancing::{LoadBalancingPolicy, NodeIdentifier, SingleTargetLoadBalancingPolicy};
use scylla::statement::unprepared::Statement;
use tokio::time::{Instant, sleep};

pub use self::report::{MigrationReport, MigrationStep};
use super::config::ScyllaConfig;
use super::error::ScyllaError;
use super::{cql, fault, session, statements};
use crate::partition::stable_hash;

/// How long one schema change may take: on a loaded cluster that is seconds.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long what was just made may be unknown to some node.
const KNOWN_WAIT: Duration = Duration::from_secs(20);
const KNOWN_PAUSE: Duration = Duration::from_millis(100);

/// One file.
struct Migration {
    version: i32,
    name: &'static str,
    file: &'static str,
}

/// In order. Never change one that was released: add another. Statements must be ones that may be run again.
const MIGRATIONS: [Migration; 4] = [
    Migration { version: 1, name: "001_pending", file: include_str!("migrations/001_pending.cql") },
    Migration { version: 2, name: "002_history", file: include_str!("migrations/002_history.cql") },
    Migration { version: 3, name: "003_chats", file: include_str!("migrations/003_chats.cql") },
    Migration { version: 4, name: "004_rooms", file: include_str!("migrations/004_rooms.cql") },
];

impl Migration {
    fn statements(&self) -> Vec<String> {
        cql::statements(self.file)
    }

    /// Of the statements only: a comment may be mended.
    fn checksum(&self) -> String {
        format!("{:016x}", stable_hash(&self.statements().join(";")))
    }
}

/// What is recorded: checksums by version.
type Applied = BTreeMap<i32, String>;

/// Makes the keyspace and its tables, or brings them up to this version. With `dry_run` nothing is changed, and the
/// report says what would be. Ends when all nodes agree.
///
/// # Errors
/// [`ScyllaError`]; what was done until then is done, and running it again goes on there.
pub async fn migrate(config: &ScyllaConfig, dry_run: bool) -> Result<MigrationReport, ScyllaError> {
    let session = session::connect(config, None, STATEMENT_TIMEOUT).await?;
    let migrator = Migrator { node: one_node(config, &session), session, config };
    migrator.run(dry_run).await
}

/// Fails unless every migration of this version is applied, with the same text. Later ones may be there, too.
pub(super) async fn check(config: &ScyllaConfig, session: &Session) -> Result<(), ScyllaError> {
    let applied = applied(session).await?;
    let missing = missing(config, &applied)?;
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.iter().map(|migration| migration.name).collect::<Vec<_>>().join(", ");
    Err(ScyllaError::NotMigrated { keyspace: config.keyspace.clone(), missing })
}

/// The same for everybody, as long as it is up.
fn one_node(config: &ScyllaConfig, session: &Session) -> Option<Arc<dyn LoadBalancingPolicy>> {
    let state = session.get_cluster_state();
    let local = state.get_nodes_info().iter().filter(|node| node.datacenter.as_ref() == Some(&config.local_datacenter));
    let node = local.filter(|node| node.is_connected()).map(|node| node.host_id).min()?;
    Some(SingleTargetLoadBalancingPolicy::new(NodeIdentifier::HostId(node), None))
}

fn missing(config: &ScyllaConfig, applied: &Applied) -> Result<Vec<&'static Migration>, ScyllaError> {
    let mut missing = Vec::new();
    for migration in &MIGRATIONS {
        match applied.get(&migration.version) {
            None => missing.push(migration),
            Some(checksum) if *checksum == migration.checksum() => {}
            Some(checksum) => {
                return Err(ScyllaError::Changed {
                    keyspace: config.keyspace.clone(),
                    name: migration.name.into(),
                    applied: checksum.clone(),
                    known: migration.checksum(),
                });
            }
        }
    }
    Ok(missing)
}

/// What is recorded in the keyspace the session uses. Nothing when there is no record.
async fn applied(session: &Session) -> Result<Applied, ScyllaError> {
    let text = statements::text(include_str!("statements/migrations_applied.cql"));
    let failed = |error| statement_failed(&text, error);
    let mut statement = Statement::new(text.clone());
    statement.set_is_idempotent(true);
    let result = match session.query_unpaged(statement, ()).await {
        Ok(result) => result,
        Err(ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Invalid, _))) => {
            return Ok(Applied::new());
        }
        Err(error) => return Err(failed(error)),
    };
    let unreadable = |error: &dyn std::fmt::Display| ScyllaError::Statement {
        statement: text.clone(),
        transient: false,
        source: error.to_string().into(),
    };
    let result = result.into_rows_result().map_err(|error| unreadable(&error))?;
    let rows = result.rows::<(i32, String)>().map_err(|error| unreadable(&error))?;
    rows.map(|row| row.map_err(|error| unreadable(&error))).collect()
}

fn statement_failed(statement: &str, error: ExecutionError) -> ScyllaError {
    let transient = matches!(error, ExecutionError::SchemaAgreementError(_)) || fault::is_worth_repeating(&error);
    let statement = statement.chars().take(80).collect();
    ScyllaError::Statement { statement, transient, source: Box::new(error) }
}

/// Repeats `send` for a while. When another migration has made something just now, the node that made it writes that down
/// before it knows it itself, and all nodes may for a moment agree on what was before.
async fn once_known<T, E, F: Future<Output = Result<T, E>>>(send: impl Fn() -> F) -> Result<T, E> {
    let begun = Instant::now();
    loop {
        match send().await {
            Err(_) if begun.elapsed() < KNOWN_WAIT => sleep(KNOWN_PAUSE).await,
            answer => return answer,
        }
    }
}

struct Migrator<'a> {
    config: &'a ScyllaConfig,
    session: Session,
    node: Option<Arc<dyn LoadBalancingPolicy>>,
}

impl Migrator<'_> {
    async fn run(&self, dry_run: bool) -> Result<MigrationReport, ScyllaError> {
        let config = self.config;
        let mut report = MigrationReport::new(&config.keyspace, dry_run);
        let has_keyspace = self.has_keyspace().await?;
        if !has_keyspace {
            report.add("keyspace", vec![self.create_keyspace()]);
            if !dry_run {
                self.change(&self.create_keyspace()).await?;
            }
        }
        if has_keyspace || !dry_run {
            self.use_keyspace().await?;
        }
        let applied = if has_keyspace { applied(&self.session).await? } else { Applied::new() };
        let missing = missing(config, &applied)?;
        report.unknown = applied.keys().filter(|version| !is_known(**version)).copied().collect();
        report.up_to_date = MIGRATIONS.len() - missing.len();
        if !dry_run && !missing.is_empty() {
            self.change(&statements::text(include_str!("statements/migrations_table.cql"))).await?;
        }
        for migration in missing {
            report.add(migration.name, migration.statements());
            if !dry_run {
                self.apply(migration).await?;
            }
        }
        Ok(report)
    }

    async fn apply(&self, migration: &Migration) -> Result<(), ScyllaError> {
        for statement in migration.statements() {
            self.change(&statement).await?;
        }
        let text = statements::text(include_str!("statements/migrations_record.cql"));
        let values = (migration.version, migration.name, migration.checksum());
        let record = || self.session.query_unpaged(self.on_one_node(&text), &values);
        once_known(record).await.map_err(|error| statement_failed(&text, error))?;
        Ok(())
    }

    /// Changes the schema, and waits until all nodes agree on it. The driver does so only when something was changed,
    /// and another migration may have changed the same just now.
    async fn change(&self, text: &str) -> Result<(), ScyllaError> {
        let answer = self.session.query_unpaged(self.on_one_node(text), ()).await;
        answer.map_err(|error| statement_failed(text, error))?;
        self.agree().await
    }

    async fn agree(&self) -> Result<(), ScyllaError> {
        let agreed = self.session.await_schema_agreement().await;
        agreed.map(|_| ()).map_err(|error| statement_failed("wait for schema agreement", error.into()))
    }

    async fn use_keyspace(&self) -> Result<(), ScyllaError> {
        let keyspace = &self.config.keyspace;
        self.agree().await?;
        once_known(|| self.session.use_keyspace(keyspace, true))
            .await
            .map_err(|source| ScyllaError::NoKeyspace { keyspace: keyspace.clone(), source: Box::new(source) })
    }

    async fn has_keyspace(&self) -> Result<bool, ScyllaError> {
        let keyspace = &self.config.keyspace;
        let text = format!("SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = '{keyspace}'");
        let answer = self.session.query_unpaged(self.on_one_node(&text), ()).await;
        let result = answer.map_err(|error| statement_failed(&text, error))?;
        Ok(result.into_rows_result().is_ok_and(|result| result.rows_num() > 0))
    }

    fn on_one_node(&self, text: &str) -> Statement {
        let mut statement = Statement::new(text);
        statement.set_is_idempotent(true);
        statement.set_load_balancing_policy(self.node.clone());
        statement
    }

    fn create_keyspace(&self) -> String {
        let replication = self.config.replication.cql(&self.config.local_datacenter);
        let mut text =
            format!("CREATE KEYSPACE IF NOT EXISTS \"{}\" WITH replication = {replication}", self.config.keyspace);
        if !self.config.keyspace_options.trim().is_empty() {
            text.push_str(" AND ");
            text.push_str(self.config.keyspace_options.trim());
        }
        text
    }
}

fn is_known(version: i32) -> bool {
    MIGRATIONS.iter().any(|migration| migration.version == version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_in_order_and_may_be_run_again() {
        for (version, migration) in (1..).zip(&MIGRATIONS) {
            assert_eq!(migration.version, version);
            assert!(migration.name.starts_with(&format!("{version:03}_")), "{}", migration.name);
            for statement in migration.statements() {
                assert!(statement.starts_with("CREATE TABLE IF NOT EXISTS "), "{statement}");
            }
        }
    }

    #[test]
    fn statements_use_what_both_engines_have() {
        let only_one_has = [
            "tablets",
            "tombstone_gc",
            "per_partition_rate_limit",
            "paxos_grace_seconds",
            "bypass cache",
            "using timeout",
            "incrementalcompactionstrategy",
            "memtable",
            "read_repair",
            "additional_write_policy",
            "unifiedcompactionstrategy",
            "add if not exists",
            "materialized view",
            "counter",
            "allow filtering",
        ];
        for statement in MIGRATIONS.iter().flat_map(Migration::statements) {
            let lower = statement.to_lowercase();
            assert!(!only_one_has.iter().any(|word| lower.contains(word)), "{statement}");
        }
    }

    /// Applied ones are compared with these for ever.
    #[test]
    fn released_migrations_never_change() {
        let checksums: Vec<_> = MIGRATIONS.iter().map(Migration::checksum).collect();
        assert_eq!(checksums, ["cce2bc765160c0de", "45c957f1667a4d35", "40f7c4c5c956e6e9", "929e13725fa5cae2"]);
    }
}
