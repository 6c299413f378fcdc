//! Three nodes, three copies, LOCAL_QUORUM, and one node after the other killed while it is written and read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use roost_harness::cassandra::{Cassandra, network};
use roost_storage::scylla::{ScyllaConfig, ScyllaStorage, migrate};
use roost_storage::{
    Change, ChatId, Chats, Message, Pending, PendingKey, Routing, Sequence, Span, StorageError, UserId,
};

use super::shared::PENDING_TTL;

const WRITERS: usize = 6;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Rows stored between one event and the next.
const ROWS_BETWEEN: usize = 150;

/// What the tasks have done.
#[derive(Default)]
struct Done {
    stop: AtomicBool,
    rows: AtomicUsize,
    changes: AtomicUsize,
    errors: AtomicUsize,
}

impl Done {
    /// As fanout does: every call is repeated until it succeeds.
    async fn until_done<T, F>(&self, call: impl Fn() -> F) -> T
    where
        F: Future<Output = Result<T, StorageError>>,
    {
        let begun = Instant::now();
        loop {
            match call().await {
                Ok(value) => return value,
                Err(error) => {
                    assert!(error.is_transient(), "{error:?}");
                    assert!(begun.elapsed() < Duration::from_secs(60), "it never succeeded: {error:?}");
                    self.errors.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn more(&self, rows: usize) {
        let (begun, until) = (Instant::now(), self.rows.load(Ordering::Relaxed) + rows);
        let changes = self.changes.load(Ordering::Relaxed) + 3;
        while self.rows.load(Ordering::Relaxed) < until || self.changes.load(Ordering::Relaxed) < changes {
            assert!(begun.elapsed() < Duration::from_secs(90), "writing has stopped");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Stores rows of one user, deletes the oldest when there are many, and reads them back: everything that was answered is seen by the
/// next read, and nothing that was deleted.
async fn store_and_delete(pending: Arc<dyn Pending>, user: UserId, done: Arc<Done>) {
    let mut expected = BTreeMap::new();
    for number in 0.. {
        if done.stop.load(Ordering::Relaxed) {
            break;
        }
        let message = Message {
            chat: ChatId::new(format!("chat-{}", number % 5)).unwrap(),
            sequence: Sequence(1_700_000_000_000_000 + number),
            sender: UserId::new("sender").unwrap(),
            content: "x".repeat(200).into(),
        };
        let (key, row) = (PendingKey::of(&message), [(user.clone(), message)]);
        done.until_done(|| pending.put(&row)).await;
        let [(_, message)] = row;
        expected.insert(key, message);
        done.rows.fetch_add(1, Ordering::Relaxed);
        while expected.len() > 50 {
            let oldest: Vec<_> = expected.keys().take(7).cloned().collect();
            done.until_done(|| pending.delete(&user, &oldest)).await;
            oldest.iter().for_each(|key| _ = expected.remove(key));
        }
        if number % 10 == 0 {
            let page = done.until_done(|| pending.page(&user, None, usize::MAX)).await;
            let expected: Vec<_> = expected.values().cloned().collect();
            assert!(page.messages == expected, "{user}: {} rows, not {}", page.messages.len(), expected.len());
        }
    }
}

/// Changes the members of one chat, and whether it is in room mode: after each change they are exactly those, and it says
/// whom it removed.
async fn change_members(chats: Arc<dyn Chats>, done: Arc<Done>) {
    let chat = ChatId::new("chat").unwrap();
    let (mut members, mut spans) = (BTreeSet::new(), Vec::new());
    for number in 1.. {
        if done.stop.load(Ordering::Relaxed) {
            break;
        }
        let user = |n: u64| UserId::new(format!("member-{}", n % 40)).unwrap();
        let before = members.clone();
        let change = match number % 3 {
            0 => Change::Add(user(number)),
            1 => Change::Set((0..20).map(|n| user(n + number)).collect()),
            _ => Change::Remove(user(number)),
        };
        match &change {
            Change::Set(users) => members.clone_from(users),
            Change::Add(user) => _ = members.insert(user.clone()),
            Change::Remove(user) => _ = members.remove(user),
        }
        let routing = if number % 2 == 0 { Routing::Room } else { Routing::Members };
        let change =
            roost_storage::MembershipChange { chat: chat.clone(), sequence: Sequence(number), change, routing };
        let removed = done.until_done(|| chats.apply(&change)).await;
        let removed: BTreeSet<_> = removed.into_iter().collect();
        assert_eq!(removed, before.difference(&members).cloned().collect(), "change {number}");
        let page = done.until_done(|| chats.members(&chat, None, 100)).await;
        assert_eq!(page.items, members.iter().cloned().collect::<Vec<_>>(), "change {number}");
        spans = Span::after(spans, Sequence(number), routing == Routing::Room);
        assert_eq!(done.until_done(|| chats.room_spans(&chat)).await, spans, "change {number}");
        done.changes.fetch_add(1, Ordering::Relaxed);
    }
}

/// With two of three dead every call fails soon, as one that may succeed later. Then it does, without opening anew.
async fn the_quorum_goes_and_comes_back(server: &Arc<Cassandra>, storage: &ScyllaStorage) {
    storage.check().await.unwrap();
    server.kill(3);
    let (pending, chat, user) = (storage.pending(), ChatId::new("c").unwrap(), UserId::new("u").unwrap());
    let message = Message { chat, sequence: Sequence(1), sender: user.clone(), content: "x".into() };
    let begun = Instant::now();
    let row = (user.clone(), message.clone());
    let error = pending.put(std::slice::from_ref(&row)).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert!(storage.check().await.unwrap_err().is_transient());
    assert!(begun.elapsed() < 4 * REQUEST_TIMEOUT + Duration::from_secs(2), "{:?}", begun.elapsed());
    let restarting = server.clone();
    tokio::task::spawn_blocking(move || restarting.restart(3)).await.unwrap();
    let done = Done::default();
    done.until_done(|| pending.put(std::slice::from_ref(&row))).await;
    assert_eq!(pending.page(&user, None, 10).await.unwrap().messages, [message]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_node_of_three_loses_nothing_and_brings_nothing_back() {
    let started = Cassandra::start(network(), 3, &["--sync", "batch"]);
    let server = Arc::new(started.unwrap_or_else(|problem| panic!("{problem}")));
    let config = ScyllaConfig { request_timeout: REQUEST_TIMEOUT, ..super::config(&server, "roost") };
    // Each through another node.
    let migrations = server.nodes().into_iter().map(|node| {
        let config = ScyllaConfig { nodes: vec![node], ..config.clone() };
        tokio::spawn(async move { migrate(&config, false).await })
    });
    for migration in migrations.collect::<Vec<_>>() {
        migration.await.unwrap().unwrap();
    }
    let storage = ScyllaStorage::open(&config, PENDING_TTL).await.unwrap();

    let done = Arc::new(Done::default());
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let user = UserId::new(format!("user-{writer}")).unwrap();
        tasks.spawn(store_and_delete(storage.pending(), user, done.clone()));
    }
    tasks.spawn(change_members(storage.chats(), done.clone()));
    done.more(ROWS_BETWEEN).await;
    server.kill(1);
    done.more(ROWS_BETWEEN).await;
    let restarting = server.clone();
    tokio::task::spawn_blocking(move || restarting.restart(1)).await.unwrap();
    done.more(ROWS_BETWEEN).await;
    // What the first one missed is on the third one only now, unless it was told meanwhile.
    server.kill(2);
    done.more(ROWS_BETWEEN).await;
    done.stop.store(true, Ordering::Relaxed);
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    the_quorum_goes_and_comes_back(&server, &storage).await;
    println!(
        "2 kills: {} rows, {} changes of members, {} calls repeated by the caller, {:?}",
        done.rows.load(Ordering::Relaxed),
        done.changes.load(Ordering::Relaxed),
        done.errors.load(Ordering::Relaxed),
        storage.stats(),
    );
}
