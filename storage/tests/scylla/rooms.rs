//! Room mode: changes that are repeated after a crash, or come late, and the rows as they are stored.

use roost_storage::{
    Change, ChatId, Cursor, Gap, MembershipChange, RoomMember, Routing, Sequence, Span, StorageError, UserId,
};

use super::members::Chat;
use super::shared::shared;

const DAYS_30: i32 = 30 * 24 * 3600;

/// `until` 0: it lasts.
fn spans<const N: usize>(ends: [(u64, u64); N]) -> Vec<Span> {
    let span = |(since, until)| Span { since: Sequence(since), until: (until > 0).then_some(Sequence(until)) };
    ends.map(span).to_vec()
}

/// Another reader's words for the same.
fn stored<const N: usize>(ends: [(u64, u64); N]) -> String {
    let texts = ends.map(|(since, until)| match until {
        0 => format!("{{\"since\":{since}}}"),
        until => format!("{{\"since\":{since},\"until\":{until}}}"),
    });
    format!("[{}]", texts.join(","))
}

impl Chat {
    async fn apply_room(&self, sequence: u64, change: Change, routing: Routing) -> Vec<UserId> {
        let change = MembershipChange { chat: self.id.clone(), sequence: Sequence(sequence), change, routing };
        self.chats.apply(&change).await.unwrap()
    }

    fn add(&self, user: usize) -> Change {
        Change::Add(self.users[user].clone())
    }

    fn remove(&self, user: usize) -> Change {
        Change::Remove(self.users[user].clone())
    }

    async fn spans(&self) -> Vec<Span> {
        self.chats.room_spans(&self.id).await.unwrap()
    }

    async fn spans_of(&self, user: usize) -> Vec<Span> {
        let mut rooms = self.chats.rooms_of(&self.users[user], None, 10).await.unwrap();
        assert!(rooms.len() <= 1);
        rooms.pop().map(|room| room.spans).unwrap_or_default()
    }

    /// As an attempt that ended in the middle has left it.
    async fn write_room(&self, text: String, at: i64) {
        let statement = format!("INSERT INTO roost.room_chats (chat_id, spans) VALUES (?, ?) USING TIMESTAMP {at}");
        shared().cql.run(statement.as_str(), (self.id.as_str(), text)).await;
    }

    async fn write_room_of(&self, user: usize, text: String, at: i64, ttl: i32) {
        let statement = format!(
            "INSERT INTO roost.rooms_of (user_id, chat_id, spans) VALUES (?, ?, ?) USING TIMESTAMP {at} AND TTL {ttl}"
        );
        shared().cql.run(statement.as_str(), (self.users[user].as_str(), self.id.as_str(), text)).await;
    }

    /// 0 and 1 were members when it was in room mode; 2 came later.
    async fn with_a_past() -> Self {
        let chat = Self::new();
        chat.apply_room(8, chat.set(&[0, 1]), Routing::Room).await;
        chat.apply_room(9, chat.set(&[0, 1]), Routing::Members).await;
        chat.apply_room(10, chat.add(2), Routing::Members).await;
        chat
    }
}

/// The change that begins room mode again and removes 0, after each of the steps of a first attempt.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_crashed_after_any_step_is_completed_by_its_repetition() {
    const REMEMBER: &str = "INSERT INTO roost.removals (chat_id, sequence, user_id) VALUES (?, AT, ?)";
    const DELETE: &str = "DELETE FROM roost.members USING TIMESTAMP AT WHERE chat_id = ? AND user_id = ?";
    for done in 0..=5 {
        let chat = Chat::with_a_past().await;
        if done >= 1 {
            chat.run(REMEMBER, 0, 11).await;
        }
        if done >= 2 {
            chat.write_room_of(0, stored([(8, 11)]), 11, DAYS_30).await;
        }
        if done >= 3 {
            chat.write_room_of(2, stored([(11, 0)]), 11, 0).await;
        }
        if done >= 4 {
            chat.run(DELETE, 0, 11).await;
        }
        if done >= 5 {
            chat.write_room(stored([(8, 9), (11, 0)]), 11).await;
        }
        for time in ["completed", "repeated"] {
            let removed = chat.apply_room(11, chat.remove(0), Routing::Room).await;
            assert_eq!(removed, chat.users[..1], "{time} after {done} steps");
            assert_eq!(chat.spans().await, spans([(8, 9), (11, 0)]), "{time} after {done} steps");
            assert_eq!(chat.members().await, [1, 2]);
            let expected = [spans([(8, 11)]), spans([(8, 0)]), spans([(11, 0)]), Vec::new()];
            for (user, expected) in expected.into_iter().enumerate() {
                assert_eq!(chat.spans_of(user).await, expected, "{time} after {done} steps: user {user}");
            }
        }
    }
}

/// Its limits may have been configured otherwise meanwhile: the chat's last span is what the caller goes by.
#[tokio::test(flavor = "multi_thread")]
async fn a_repetition_with_another_routing_decides() {
    let chat = Chat::new();
    chat.apply_room(8, chat.set(&[0, 1]), Routing::Room).await;
    chat.write_room(stored([(8, 11)]), 11).await;
    chat.apply_room(11, chat.add(2), Routing::Room).await;
    assert_eq!(chat.spans().await, spans([(8, 11), (11, 0)]));
    assert_eq!(chat.spans_of(1).await, spans([(8, 0)]));
    assert_eq!(chat.spans_of(2).await, spans([(11, 0)]));

    let chat = Chat::with_a_past().await;
    chat.write_room_of(2, stored([(11, 0)]), 11, 0).await;
    chat.write_room(stored([(8, 9), (11, 0)]), 11).await;
    chat.apply_room(11, chat.add(3), Routing::Members).await;
    assert_eq!(chat.spans().await, spans([(8, 9), (11, 11)]), "nothing is in it");
    chat.apply_room(12, chat.remove(2), Routing::Members).await;
    assert_eq!(chat.spans_of(2).await, spans([(11, 12)]), "who left does not stay by the first attempt's row");
    chat.apply_room(13, chat.remove(1), Routing::Room).await;
    assert_eq!(chat.spans().await, spans([(8, 9), (11, 11), (13, 0)]));
    assert_eq!(chat.spans_of(3).await, spans([(13, 0)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_without_a_lease_still_writes_changes_no_span() {
    let chat = Chat::new();
    chat.apply_room(10, chat.set(&[0, 1]), Routing::Members).await;
    chat.apply_room(11, chat.add(2), Routing::Room).await;
    chat.apply_room(12, chat.remove(2), Routing::Room).await;
    chat.apply_room(13, chat.remove(1), Routing::Members).await;
    // The writes of 11, once more.
    chat.write_room(stored([(11, 0)]), 11).await;
    for user in [0, 1, 2] {
        chat.write_room_of(user, stored([(11, 0)]), 11, 0).await;
    }
    assert_eq!(chat.spans().await, spans([(11, 13)]));
    for (user, expected) in [spans([(11, 0)]), spans([(11, 13)]), spans([(11, 12)])].into_iter().enumerate() {
        assert_eq!(chat.spans_of(user).await, expected, "user {user}");
    }
    // It read how far the chat is before the others' changes, and everything else after them.
    let old = format!("INSERT INTO roost.chats (chat_id, applied) VALUES ('{}', 10) USING TIMESTAMP 20", chat.id);
    shared().cql.run(old.as_str(), ()).await;
    chat.apply_room(11, chat.add(2), Routing::Room).await;
    assert_eq!(chat.spans().await, spans([(11, 13)]));
    assert_eq!(chat.spans_of(2).await, spans([(11, 12)]));
    // That this is because of the write times: the next change's would count.
    chat.write_room(stored([(14, 0)]), 14).await;
    assert_eq!(chat.spans().await, spans([(14, 0)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_rooms_are_read_and_written() {
    let (cql, chat) = (&shared().cql, Chat::new());
    chat.write_room(stored([(2, 5), (7, 0)]), 7).await;
    chat.write_room_of(0, stored([(3, 4), (7, 0)]), 7, 0).await;
    assert_eq!(chat.spans().await, spans([(2, 5), (7, 0)]));
    let expected = RoomMember { chat: chat.id.clone(), spans: spans([(3, 4), (7, 0)]) };
    assert_eq!(chat.chats.rooms_of(&chat.users[0], None, 10).await.unwrap(), [expected]);

    let chat = Chat::new();
    chat.apply_room(20, chat.set(&[0, 1]), Routing::Room).await;
    chat.apply_room(21, chat.remove(1), Routing::Room).await;
    let select = "SELECT spans, WRITETIME(spans), TTL(spans) FROM roost.room_chats WHERE chat_id = ?";
    let rows = cql.rows::<(String, i64, Option<i32>)>(select, (chat.id.as_str(),)).await;
    assert_eq!(rows, [(stored([(20, 0)]), 20, None)]);
    let select = "SELECT chat_id, spans, WRITETIME(spans), TTL(spans) FROM roost.rooms_of WHERE user_id = ?";
    let of = async |user: usize| {
        let rows = cql.rows::<(String, String, i64, Option<i32>)>(select, (chat.users[user].as_str(),)).await;
        let [(of_chat, spans, written, ttl)] = <[_; 1]>::try_from(rows).unwrap();
        assert_eq!(of_chat, chat.id.as_str());
        (spans, written, ttl)
    };
    assert_eq!(of(0).await, (stored([(20, 0)]), 20, None), "who stays is never forgotten");
    let (left, written, ttl) = of(1).await;
    assert_eq!((left, written), (stored([(20, 21)]), 21));
    assert!((DAYS_30 - 600..=DAYS_30).contains(&ttl.unwrap()), "{ttl:?}");
    // Back again: nothing of the time to live stays.
    chat.apply_room(22, chat.add(1), Routing::Room).await;
    assert_eq!(of(1).await, (stored([(20, 21), (22, 0)]), 22, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_cursors_are_read_and_written() {
    let (cql, cursors) = (&shared().cql, shared().storage.cursors());
    let [user, other] = [(); 2].map(|()| UserId::new(format!("user-{:016x}", rand::random::<u64>())).unwrap());
    let chat = ChatId::new("chat").unwrap();
    let insert = "INSERT INTO roost.cursors (user_id, chat_id, cursor) VALUES (?, 'chat', ?)";
    let text = r#"{"through":9,"gap":{"after":3,"through":5}}"#;
    cql.run(insert, (user.as_str(), text)).await;
    let gap = Some(Gap { after: Sequence(3), through: Sequence(5) });
    let cursor = Cursor { through: Sequence(9), gap };
    assert_eq!(cursors.of(&user).await.unwrap(), [(chat.clone(), cursor)]);

    cursors.put(&[(other.clone(), chat.clone(), cursor)]).await.unwrap();
    let select = "SELECT cursor, TTL(cursor) FROM roost.cursors WHERE user_id = ?";
    let rows = cql.rows::<(String, Option<i32>)>(select, (other.as_str(),)).await;
    let [(written, Some(ttl))] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!(written, text);
    assert!((DAYS_30 - 600..=DAYS_30).contains(ttl), "{ttl}");

    cql.run(insert, (other.as_str(), "{}")).await;
    let error = cursors.of(&other).await.unwrap_err();
    let StorageError::Corrupt { what } = &error else { panic!("{error:?}") };
    assert_eq!(*what, format!("a row of cursors under {:?}", other.as_str()));
}
