//! The rows as they are stored: what version 1 wrote must be readable for ever, and what is written is exactly that.

use std::collections::BTreeMap;

use roost_storage::scylla::{ScyllaConfig, ScyllaStorage};
use roost_storage::{
    Change, ChatId, Direction, Membership, MembershipChange, Message, PendingKey, Routing, Sequence, StorageError,
    UserId,
};

use super::shared::{PENDING_TTL, shared};

const SEQUENCE: u64 = 1_700_000_000_000_001;
const AT: i64 = 1_700_000_000_000_001;
/// Its day.
const BUCKET: i64 = 19_675;

fn unique(kind: &str) -> String {
    format!("{kind}-{:016x}", rand::random::<u64>())
}

fn message(chat: &str) -> Message {
    Message {
        chat: ChatId::new(chat).unwrap(),
        sequence: Sequence(SEQUENCE),
        sender: UserId::new("alice").unwrap(),
        content: "a\0😀".into(),
    }
}

async fn put(user: &str, message: Message) {
    shared().storage.pending().put(&[(UserId::new(user).unwrap(), message)]).await.unwrap();
}

async fn pending_of(user: &str) -> Vec<Message> {
    shared().storage.pending().page(&UserId::new(user).unwrap(), None, 10).await.unwrap().messages
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_have_the_columns_they_were_made_with() {
    let expected = BTreeMap::from([
        ("pending", vec!["chat_id", "content", "sender_id", "sequence", "user_id"]),
        ("history", vec!["bucket", "chat_id", "content", "sender_id", "sequence"]),
        ("history_buckets", vec!["bucket", "chat_id"]),
        ("chats", vec!["applied", "chat_id"]),
        ("members", vec!["chat_id", "user_id"]),
        ("chats_of", vec!["chat_id", "user_id"]),
        ("removals", vec!["chat_id", "sequence", "user_id"]),
        ("room_chats", vec!["chat_id", "spans"]),
        ("rooms_of", vec!["chat_id", "spans", "user_id"]),
        ("cursors", vec!["chat_id", "cursor", "user_id"]),
        ("migrations", vec!["applied_at", "checksum", "name", "part", "version"]),
    ]);
    for (table, columns) in expected {
        assert_eq!(shared().cql.columns("roost", table).await, columns, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pending_rows_of_version_1_are_read_and_written() {
    let (cql, user, chat) = (&shared().cql, unique("user"), unique("chat"));
    let insert = "INSERT INTO roost.pending (user_id, sequence, chat_id, sender_id, content) VALUES (?, ?, ?, ?, ?)";
    cql.run(insert, (&user, AT, &chat, "alice", "a\0😀")).await;
    assert_eq!(pending_of(&user).await, [message(&chat)]);

    let other = unique("user");
    put(&other, message(&chat)).await;
    let select = "SELECT sequence, chat_id, sender_id, content, WRITETIME(content), TTL(content) FROM roost.pending \
        WHERE user_id = ?";
    let rows = cql.rows::<(i64, String, String, String, i64, i32)>(select, (&other,)).await;
    let [(sequence, stored_chat, sender, content, written, ttl)] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!((*sequence, stored_chat, sender.as_str(), content.as_str()), (AT, &chat, "alice", "a\0😀"));
    assert_eq!(*written, AT, "the write time is the message's");
    let days_30 = 30 * 24 * 3600;
    assert!((days_30 - 600..=days_30).contains(ttl), "{ttl}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_confirmed_does_not_come_back_when_it_is_stored_again() {
    let (user, chat) = (unique("user"), unique("chat"));
    put(&user, message(&chat)).await;
    let keys = [PendingKey::of(&message(&chat))];
    shared().storage.pending().delete(&UserId::new(user.as_str()).unwrap(), &keys).await.unwrap();
    put(&user, message(&chat)).await;
    assert_eq!(pending_of(&user).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_expire_by_themselves() {
    let storage = ScyllaStorage::open(&shared().config, std::time::Duration::from_secs(1)).await.unwrap();
    let (user, chat) = (UserId::new(unique("user")).unwrap(), unique("chat"));
    storage.pending().put(&[(user.clone(), message(&chat))]).await.unwrap();
    let begun = std::time::Instant::now();
    while storage.pending().count(&user).await.unwrap() > 0 {
        assert!(begun.elapsed().as_secs() < 10, "it is still there");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_queue_is_read_over_many_pages_of_the_driver() {
    let (pending, user, chat) = (shared().storage.pending(), UserId::new(unique("user")).unwrap(), unique("chat"));
    let nth = |n: u64| (user.clone(), Message { sequence: Sequence(SEQUENCE + n), ..message(&chat) });
    pending.put(&(0..1001).map(nth).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(pending.count(&user).await.unwrap(), 1001);
    let page = pending.page(&user, None, usize::MAX).await.unwrap();
    assert_eq!(page.messages, (0..1001).map(|n| nth(n).1).collect::<Vec<_>>());
    assert_eq!(page.next, None);
    let keys: Vec<_> = page.messages[..1000].iter().map(PendingKey::of).collect();
    pending.delete(&user, &keys).await.unwrap();
    let page = pending.page(&user, None, 10).await.unwrap();
    assert_eq!((page.messages, page.next), (vec![nth(1000).1], None), "behind a thousand deleted ones");
}

#[tokio::test(flavor = "multi_thread")]
async fn history_rows_of_version_1_are_read_and_written() {
    let (cql, chat, history) = (&shared().cql, unique("chat"), shared().storage.history());
    let bucket = "INSERT INTO roost.history_buckets (chat_id, bucket) VALUES (?, ?)";
    cql.run(bucket, (&chat, BUCKET)).await;
    let insert = "INSERT INTO roost.history (chat_id, bucket, sequence, sender_id, content) VALUES (?, ?, ?, ?, ?)";
    cql.run(insert, (&chat, BUCKET, AT, "alice", "a\0😀")).await;
    let read = history.range(&ChatId::new(chat.as_str()).unwrap(), None, Direction::Backward, 10).await.unwrap();
    assert_eq!(read, [message(&chat)]);

    let other = unique("chat");
    history.append(&[message(&other)]).await.unwrap();
    let select = "SELECT sequence, sender_id, content, WRITETIME(content), TTL(content) FROM roost.history \
        WHERE chat_id = ? AND bucket = ?";
    let rows = cql.rows::<(i64, String, String, i64, Option<i32>)>(select, (&other, BUCKET)).await;
    assert_eq!(rows, [(AT, "alice".into(), "a\0😀".into(), AT, None)]);
    let buckets = "SELECT bucket FROM roost.history_buckets WHERE chat_id = ?";
    assert_eq!(cql.rows::<(i64,)>(buckets, (&other,)).await, [(BUCKET,)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn history_of_many_days_is_read_in_both_directions() {
    let (history, chat) = (shared().storage.history(), unique("chat"));
    let id = ChatId::new(chat.as_str()).unwrap();
    // Three on every other day: more days than are listed at once.
    let nth = |n: u64| Message { sequence: Sequence(SEQUENCE + n / 3 * 2 * 86_400_000_000 + n % 3), ..message(&chat) };
    let mut all: Vec<_> = (0..450).map(nth).collect();
    history.append(&all).await.unwrap();
    let forward = history.range(&id, None, Direction::Forward, 1000).await.unwrap();
    assert_eq!(forward, all);
    let from = all[200].sequence;
    assert_eq!(history.range(&id, Some(from), Direction::Forward, 37).await.unwrap(), all[201..238]);
    all.reverse();
    assert_eq!(history.range(&id, None, Direction::Backward, 1000).await.unwrap(), all);
    assert_eq!(history.range(&id, Some(from), Direction::Backward, 37).await.unwrap(), all[250..287]);
}

#[tokio::test(flavor = "multi_thread")]
async fn history_with_a_time_to_live_outlives_no_bucket() {
    let config = ScyllaConfig { history_ttl: std::time::Duration::from_secs(3600), ..shared().config.clone() };
    let storage = ScyllaStorage::open(&config, PENDING_TTL).await.unwrap();
    let chat = unique("chat");
    storage.history().append(&[message(&chat)]).await.unwrap();
    let messages = "SELECT TTL(content) FROM roost.history WHERE chat_id = ? AND bucket = ?";
    let [(ttl,)] = shared().cql.rows::<(i32,)>(messages, (&chat, BUCKET)).await[..] else { panic!("no row") };
    assert!((3000..=3600).contains(&ttl), "{ttl}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_members_of_version_1_are_read() {
    let (cql, chat, user) = (&shared().cql, unique("chat"), unique("user"));
    cql.run("INSERT INTO roost.chats (chat_id, applied) VALUES (?, ?)", (&chat, AT)).await;
    cql.run("INSERT INTO roost.members (chat_id, user_id) VALUES (?, ?)", (&chat, &user)).await;
    cql.run("INSERT INTO roost.chats_of (user_id, chat_id) VALUES (?, ?)", (&user, &chat)).await;
    let (chats, chat, user) = (shared().storage.chats(), ChatId::new(chat).unwrap(), UserId::new(user).unwrap());
    assert_eq!(chats.applied(&chat).await.unwrap(), Some(Sequence(SEQUENCE)));
    assert_eq!(chats.membership(&chat, &user).await.unwrap(), Membership::Member);
    assert_eq!(chats.members(&chat, None, 10).await.unwrap().items, std::slice::from_ref(&user));
    assert_eq!(chats.chats_of(&user, None, 10).await.unwrap().items, std::slice::from_ref(&chat));
    let (change, routing) = (Change::Remove(user), Routing::Members);
    let change = MembershipChange { chat: chat.clone(), sequence: Sequence(SEQUENCE), change, routing };
    assert_eq!(chats.apply(&change).await.unwrap(), [], "it is applied already");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_can_not_be_read_is_corrupt_and_its_content_is_not_told() {
    let (cql, user) = (&shared().cql, unique("user"));
    let insert = "INSERT INTO roost.pending (user_id, sequence, chat_id, sender_id, content) VALUES (?, ?, ?, ?, ?)";
    cql.run(insert, (&user, AT, "chat", "bell\u{7}", "secret")).await;
    let error = shared().storage.pending().page(&UserId::new(user.as_str()).unwrap(), None, 10).await.unwrap_err();
    let StorageError::Corrupt { what } = &error else { panic!("{error:?}") };
    assert_eq!(*what, format!("a row of pending under {user:?}"));
}
