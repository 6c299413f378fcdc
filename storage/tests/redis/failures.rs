//! Servers that die, forget, refuse and come back: what was acknowledged is there, and nothing needs a restart of ours.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use roost_harness::eventually_blocking;
use roost_harness::redis::{Cluster, SINGLE, Server, Software, Watched};
use roost_storage::redis::{Durability, RedisConfig, RedisStorage};
use roost_storage::{
    Acquired, ChatId, DedupeKey, GatewayId, MailboxItem, MailboxPosition, NewEvent, Position, Put, Refusal, Sequence,
    StorageError, WorkerId,
};

use crate::fixture::{config, open};
use crate::samples::{all_entries, append, append_until_done, new_chat, new_user, said};

fn causes(error: &StorageError) -> String {
    let mut causes = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        causes = format!("{causes}: {cause}");
        next = cause.source();
    }
    causes
}

fn assert_unavailable<T: std::fmt::Debug>(result: Result<T, StorageError>, because: &str) {
    let error = result.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert!(causes(&error).contains(because), "{}", causes(&error));
}

async fn eventually_open(config: &RedisConfig) -> RedisStorage {
    loop {
        match open(config).await {
            Ok(store) => return store,
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
    }
}

/// Appends from many sides, kills a server in the middle, and compares what is there with what was acknowledged.
async fn kill_under_load(url: &str, kill: impl FnOnce()) {
    const WRITERS: usize = 12;
    let config = RedisConfig { command_timeout: Duration::from_secs(1), ..config(url, Durability::Replica) };
    let store = eventually_open(&config).await;
    let log = store.log();
    let (done, killed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let writers: Vec<_> = (0..WRITERS)
        .map(|_| {
            let (log, done, killed) = (log.clone(), done.clone(), killed.clone());
            tokio::spawn(async move {
                let chat = new_chat();
                let mut acknowledged = Vec::new();
                let mut left = 50;
                while left > 0 {
                    // However long the kill takes, it dies under load.
                    left -= usize::from(killed.load(Ordering::Relaxed));
                    let content = acknowledged.len().to_string();
                    let appended = append_until_done(&*log, &said(&chat, &content)).await;
                    acknowledged.push(appended.sequence);
                    done.fetch_add(1, Ordering::Relaxed);
                }
                (chat, acknowledged)
            })
        })
        .collect();
    while done.load(Ordering::Relaxed) < WRITERS * 30 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    kill();
    killed.store(true, Ordering::Relaxed);
    let mut expected: BTreeMap<ChatId, Vec<Sequence>> = BTreeMap::new();
    for writer in writers {
        let (chat, acknowledged) = writer.await.unwrap();
        expected.insert(chat, acknowledged);
    }
    let mut found: BTreeMap<ChatId, Vec<Sequence>> = BTreeMap::new();
    for partition in log.partitions().all() {
        for entry in all_entries(&*log, partition).await {
            found.entry(entry.event.chat).or_default().push(entry.event.sequence);
        }
    }
    assert_eq!(found, expected, "each once, in order, and none but those");
}

async fn kill_behind_a_sentinel(software: Software) {
    let mut watched = Watched::start(software);
    let primary = watched.primary();
    kill_under_load(&watched.url(), || watched.servers[primary].kill()).await;
    assert_ne!(watched.primary(), primary);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_primary_loses_nothing_that_a_replica_has_confirmed_on_redis() {
    kill_behind_a_sentinel(Software::Redis).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_primary_loses_nothing_that_a_replica_has_confirmed_on_valkey() {
    kill_behind_a_sentinel(Software::Valkey).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_primary_of_a_cluster_loses_nothing_that_a_replica_has_confirmed() {
    let mut cluster = Cluster::start_with_replicas(Software::Valkey);
    let url = cluster.url();
    kill_under_load(&url, || cluster.servers[0].kill()).await;
}

/// A server counts only what a connection wrote itself: a repetition that wrote nothing would be acknowledged though
/// nothing of the first attempt is replicated.
#[tokio::test(flavor = "multi_thread")]
async fn a_repetition_is_not_acknowledged_before_the_first_attempt_is_replicated() {
    for software in [Software::Redis, Software::Valkey] {
        let primary = Server::start(software, &["--repl-diskless-sync-delay", "0"]);
        let replica = Server::start(software, &["--replicaof", "127.0.0.1", &primary.port.to_string()]);
        eventually_blocking("it follows", || primary.command("INFO replication").contains("state=online"));
        let config =
            RedisConfig { command_timeout: Duration::from_millis(500), ..config(&primary.url(), Durability::Replica) };
        let store = eventually_open(&config).await;
        let event = said(&new_chat(), "once");
        append_until_done(&*store.log(), &said(&new_chat(), "before")).await;
        replica.pause();
        assert_unavailable(append(&*store.log(), &event).await, "no replica");
        assert_unavailable(append(&*store.log(), &event).await, "no replica");
        // On connections that wrote nothing before.
        replica.resume();
        let other = eventually_open(&config).await;
        replica.pause();
        assert_unavailable(append(&*other.log(), &event).await, "no replica");
        assert!(other.stats().not_durable_total > 0);
        replica.resume();
        assert!(append_until_done(&*other.log(), &event).await.duplicate);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_that_the_server_has_forgotten_are_given_again() {
    let server = Server::start(Software::Redis, SINGLE);
    let store = open(&config(&server.url(), Durability::Aof)).await.unwrap();
    let (log, chat) = (store.log(), new_chat());
    for n in 0..5 {
        server.command("SCRIPT FLUSH");
        let events: Vec<_> = (0..40).map(|m| said(&chat, &format!("{n}.{m}"))).collect();
        assert!(log.append(events).await.iter().all(Result::is_ok));
    }
    let entries = all_entries(&*log, log.partitions().of(&chat)).await;
    assert_eq!(entries.len(), 200);
    assert!(entries.is_sorted_by(|a, b| a.event.sequence < b.event.sequence));
    assert!(store.stats().scripts_reloaded_total >= 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_server_is_used_again_and_readers_load_their_position() {
    let mut server = Server::start(Software::Redis, SINGLE);
    let config = RedisConfig { command_timeout: Duration::from_secs(1), ..config(&server.url(), Durability::Aof) };
    let store = open(&config).await.unwrap();
    let (log, chat) = (store.log(), new_chat());
    let partition = log.partitions().of(&chat);
    append(&*log, &said(&chat, "before")).await.unwrap();
    let wait = Duration::from_secs(20);
    let before = log.read(partition, Position::START, 10, wait).await.unwrap();
    let waiting = {
        let (log, after) = (log.clone(), before[0].position);
        tokio::spawn(async move { log.read(partition, after, 10, wait).await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.kill();
    assert!(waiting.await.unwrap().unwrap_err().is_transient());
    assert!(append(&*log, &said(&chat, "while it is down")).await.unwrap_err().is_transient());

    server.start_again();
    append_until_done(&*log, &said(&chat, "after")).await;
    assert_unavailable(log.read(partition, before[0].position, 10, wait).await, "another Redis server");
    let after = log.read(partition, before[0].position, 10, wait).await.unwrap();
    assert_eq!(after.len(), 1);
    assert_eq!(all_entries(&*log, partition).await.len(), 2, "the file had it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_writes_is_used_again_when_it_takes_them() {
    let server = Server::start(Software::Redis, SINGLE);
    let store = open(&config(&server.url(), Durability::Aof)).await.unwrap();
    let log = store.log();
    for (refuse, accept, because) in [
        ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0", "NOREPLICAS"),
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", "OOM"),
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", ""),
    ] {
        server.command(refuse);
        let event = said(&new_chat(), "patient");
        assert_unavailable(append(&*log, &event).await, because);
        server.command(accept);
        append_until_done(&*log, &event).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_given_up_in_time_and_used_again() {
    let server = Server::start(Software::Redis, SINGLE);
    let config = RedisConfig { command_timeout: Duration::from_millis(300), ..config(&server.url(), Durability::Aof) };
    let store = open(&config).await.unwrap();
    let (log, chat) = (store.log(), new_chat());
    let partition = log.partitions().of(&chat);
    append(&*log, &said(&chat, "before")).await.unwrap();
    server.pause();
    let begun = tokio::time::Instant::now();
    let calls = (0..50).map(|_| {
        let (log, event) = (log.clone(), said(&chat, "while it hangs"));
        tokio::spawn(async move { append(&*log, &event).await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_unavailable(call.await.unwrap(), "no answer");
    }
    assert!(log.read(partition, Position::START, 10, Duration::from_millis(100)).await.unwrap_err().is_transient());
    assert!(log.lag(partition).await.unwrap_err().is_transient());
    assert!(store.check().await.unwrap_err().is_transient());
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    server.resume();
    append_until_done(&*log, &said(&chat, "after")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_can_not_save_is_used_again_when_it_can() {
    let server = Server::start(Software::Redis, SINGLE);
    server.command("CONFIG SET save \"3600 1\"");
    let store = open(&config(&server.url(), Durability::Aof)).await.unwrap();
    let (log, event) = (store.log(), said(&new_chat(), "patient"));
    store.check().await.unwrap();
    server.let_save(false);
    assert_unavailable(append(&*log, &event).await, "MISCONF");
    assert!(store.check().await.unwrap_err().is_transient(), "it answers, but takes no writes");
    server.let_save(true);
    assert!(!append_until_done(&*log, &event).await.duplicate);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_while_the_append_only_file_is_off() {
    for software in [Software::Redis, Software::Valkey] {
        let server = Server::start(software, SINGLE);
        let store = open(&config(&server.url(), Durability::Aof)).await.unwrap();
        let (log, chat) = (store.log(), new_chat());
        append(&*log, &said(&chat, "before")).await.unwrap();
        server.command("CONFIG SET appendonly no");
        // Redis 7.0 can not say so behind a write: it is noticed with the next connection.
        if software == Software::Redis {
            server.command("CLIENT KILL TYPE normal");
        }
        let event = said(&chat, "while it is off");
        append(&*log, &event).await.unwrap_err();
        assert_unavailable(append(&*log, &event).await, "append-only file is off");
        store.check().await.unwrap_err();
        server.command("CONFIG SET appendonly yes");
        append_until_done(&*log, &event).await;
        store.check().await.unwrap();
    }
}

/// A new primary's clock may be behind the old one's.
#[tokio::test(flavor = "multi_thread")]
async fn sequences_and_dedupe_keys_survive_a_clock_that_goes_back() {
    let server = Server::start(Software::Redis, SINGLE);
    let config = config(&server.url(), Durability::Aof);
    let store = open(&config).await.unwrap();
    let (log, chat) = (store.log(), new_chat());
    let partition = log.partitions().of(&chat).0;
    let prefix = format!("{}{{p{partition}}}", config.key_prefix);
    let now = append(&*log, &said(&chat, "now")).await.unwrap().sequence;
    let ahead = now.0 + 60_000_000;
    server.command(&format!("SET {prefix}clock:{chat} {ahead}"));
    for n in 1..4 {
        assert_eq!(append(&*log, &said(&chat, "later")).await.unwrap().sequence.0, ahead + n);
    }

    // Remembered in the bucket that the old clock had begun: with this window its end is always near.
    let window = Duration::from_mins(2);
    let store = RedisStorage::open(&config, window).await.unwrap();
    let bucket = now.0 / 1000 / 120_000 + 1;
    server.command(&format!("HSET {prefix}seen:1031:{bucket} 0123456789abcdef {ahead}"));
    let event = NewEvent { dedupe: Some(DedupeKey(*b"0123456789abcdef")), ..said(&chat, "again") };
    let appended = append(&*store.log(), &event).await.unwrap();
    assert!(appended.duplicate && appended.sequence.0 == ahead);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_stores_never_hold_one_partition() {
    let server = Server::start(Software::Redis, SINGLE);
    let config = config(&server.url(), Durability::Aof);
    let stores = [open(&config).await.unwrap(), open(&config).await.unwrap()];
    let ttl = Duration::from_secs(60);
    let race = stores.iter().map(|store| {
        let (log, worker) = (store.log(), WorkerId::random());
        tokio::spawn(async move {
            let mut held = Vec::new();
            for partition in log.partitions().all() {
                if matches!(log.acquire(partition, &worker, ttl).await.unwrap(), Acquired::Held { .. }) {
                    held.push(partition);
                }
            }
            held
        })
    });
    let mut held = Vec::new();
    for racer in race.collect::<Vec<_>>() {
        held.extend(racer.await.unwrap());
    }
    held.sort();
    assert_eq!(held, stores[0].log().partitions().all().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mailbox_of_a_claimed_gateway_takes_nothing() {
    let server = Server::start(Software::Redis, SINGLE);
    let store = open(&config(&server.url(), Durability::Aof)).await.unwrap();
    let (mailboxes, sessions, gateway) = (store.mailboxes(), store.sessions(), GatewayId::random());
    mailboxes.open(&gateway).await.unwrap();
    sessions.gateway_up(&gateway, Duration::from_millis(30)).await.unwrap();
    let ring = || vec![MailboxItem::Ring { user: new_user() }];
    assert_eq!(mailboxes.put(&gateway, ring()).await.unwrap(), Put::Accepted);
    while sessions.dead_gateways().await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(mailboxes.put(&gateway, ring()).await.unwrap(), Put::Accepted, "it may come back");
    assert!(sessions.claim_gateway(&gateway, &WorkerId::random(), Duration::from_secs(60)).await.unwrap());
    assert_eq!(mailboxes.put(&gateway, ring()).await.unwrap(), Put::Refused(Refusal::Gone));
    let left = mailboxes.read(&gateway, MailboxPosition::START, 10, Duration::ZERO).await.unwrap();
    assert_eq!(left.len(), 2, "what is in it can be drained");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_left_over_from_a_forgotten_gateway_is_removed_by_a_look_up() {
    let server = Server::start(Software::Redis, SINGLE);
    let config = config(&server.url(), Durability::Aof);
    let store = open(&config).await.unwrap();
    let (user, gateway) = (new_user(), GatewayId::random());
    let key = format!("{}{{u:{user}}}sessions", config.key_prefix);
    let session = serde_json::to_string(&crate::samples::session(&user, &gateway, 1)).unwrap();
    // What a registration that was late by a whole reaping leaves.
    server.command(&format!("HSET {key} {gateway}.1 '{session}'"));
    assert_eq!(server.command(&format!("HLEN {key}")), "1");
    assert_eq!(store.sessions().look_up(&[user]).await.unwrap(), [[]]);
    assert_eq!(server.command(&format!("HLEN {key}")), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn dedupe_keys_expire_with_their_window() {
    let server = Server::start(Software::Redis, SINGLE);
    let config = config(&server.url(), Durability::Aof);
    let store = RedisStorage::open(&config, Duration::from_secs(1)).await.unwrap();
    let (log, event) = (store.log(), said(&new_chat(), "once"));
    let first = append(&*log, &event).await.unwrap();
    assert!(append(&*log, &event).await.unwrap().duplicate);
    let again = async || {
        let again: NewEvent = event.clone();
        append(&*log, &again).await.unwrap()
    };
    // Asking again does not make it last longer.
    let begun = tokio::time::Instant::now();
    loop {
        let appended = again().await;
        if !appended.duplicate {
            assert!(appended.sequence > first.sequence);
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "it never expires");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(begun.elapsed() > Duration::from_millis(900), "it lasts its window: {:?}", begun.elapsed());
}
