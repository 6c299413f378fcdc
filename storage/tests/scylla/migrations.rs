//! Making the keyspace and its tables.

use roost_storage::scylla::{MigrationReport, ScyllaError, ScyllaStorage, migrate};

use super::shared::{PENDING_TTL, shared};

const TABLES: [&str; 11] = [
    "chats",
    "chats_of",
    "cursors",
    "history",
    "history_buckets",
    "members",
    "migrations",
    "pending",
    "removals",
    "room_chats",
    "rooms_of",
];

fn names(report: &MigrationReport) -> Vec<&str> {
    report.steps.iter().map(|step| step.name.as_str()).collect()
}

async fn open_error(keyspace: &str) -> ScyllaError {
    match ScyllaStorage::open(&shared().config(keyspace), PENDING_TTL).await {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let (config, cql) = (shared().config("dry_run"), &shared().cql);
    let report = migrate(&config, true).await.unwrap();
    assert_eq!(names(&report), ["keyspace", "001_pending", "002_history", "003_chats", "004_rooms"]);
    let printed = report.to_string();
    let keyspace = "CREATE KEYSPACE IF NOT EXISTS \"dry_run\" WITH replication = \
        {'class': 'NetworkTopologyStrategy', 'datacenter1': 1};\n";
    assert!(printed.contains(keyspace), "{printed}");
    assert!(printed.contains("-- 003_chats would be applied\nCREATE TABLE IF NOT EXISTS chats ("), "{printed}");
    assert!(printed.ends_with("\n-- keyspace dry_run: 5 would be applied, 0 were before"), "{printed}");
    assert!(matches!(open_error("dry_run").await, ScyllaError::NoKeyspace { .. }), "nothing was made");
    assert_eq!(cql.tables("dry_run").await, Vec::<String>::new());
}

/// One keyspace through its life, because each schema change takes a part of a second.
#[tokio::test(flavor = "multi_thread")]
async fn migrations_are_applied_once_whoever_runs_them_and_never_with_another_text() {
    let (config, cql) = (shared().config("Life_of_1"), &shared().cql);
    cql.run(
        "CREATE KEYSPACE \"Life_of_1\" WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}",
        (),
    )
    .await;
    let error = open_error("Life_of_1").await.to_string();
    assert_eq!(
        error,
        "the keyspace \"Life_of_1\" lacks 001_pending, 002_history, 003_chats, 004_rooms: run `roost migrate`"
    );

    let several = (0..4).map(|_| {
        let config = config.clone();
        tokio::spawn(async move { migrate(&config, false).await })
    });
    for one in several.collect::<Vec<_>>() {
        one.await.unwrap().unwrap();
    }
    assert_eq!(cql.tables("Life_of_1").await, TABLES);
    let storage = ScyllaStorage::open(&config, PENDING_TTL).await.unwrap();
    storage.check().await.unwrap();

    let again = migrate(&config, false).await.unwrap();
    assert_eq!((again.up_to_date, names(&again)), (4, vec![]));
    assert_eq!(again.to_string(), "-- keyspace Life_of_1: 0 applied, 4 were before");

    let newer = "INSERT INTO \"Life_of_1\".migrations (part, version, name, checksum) VALUES (0, 99, '099_new', 'x')";
    cql.run(newer, ()).await;
    assert_eq!(migrate(&config, false).await.unwrap().unknown, [99]);
    ScyllaStorage::open(&config, PENDING_TTL).await.expect("an older version runs beside a newer one's tables");

    let changed = "UPDATE \"Life_of_1\".migrations SET checksum = 'y' WHERE part = 0 AND version = 2";
    cql.run(changed, ()).await;
    for error in [open_error("Life_of_1").await, migrate(&config, false).await.unwrap_err()] {
        assert!(matches!(&error, ScyllaError::Changed { .. }), "{error:?}");
        assert!(error.to_string().starts_with("migration 002_history of the keyspace \"Life_of_1\" was applied with"));
        assert!(!error.is_transient());
    }
}
