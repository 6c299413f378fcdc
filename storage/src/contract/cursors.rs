//! [`Cursors`].
#![allow(missing_docs, reason = "each function's name is the promise")]

use super::{new_chat, new_user};
use crate::{ChatId, Cursor, Cursors, Gap, Sequence, Storage, UserId};

/// As long as sequences get.
const SEQUENCE: u64 = 1_700_000_000_000_000;

fn at(number: u64) -> Cursor {
    Cursor { through: Sequence(SEQUENCE + number), gap: None }
}

fn with_gap(number: u64) -> Cursor {
    let gap = Gap { after: Sequence(SEQUENCE + number - 2), through: Sequence(SEQUENCE + number - 1) };
    Cursor { gap: Some(gap), ..at(number) }
}

async fn put(cursors: &dyn Cursors, user: &UserId, chat: &ChatId, cursor: Cursor) {
    cursors.put(&[(user.clone(), chat.clone(), cursor)]).await.expect("it is stored");
}

async fn of(cursors: &dyn Cursors, user: &UserId) -> Vec<(ChatId, Cursor)> {
    cursors.of(user).await.expect("it reads")
}

pub async fn a_user_without_cursors_has_none(storage: Storage) {
    let (cursors, user) = (&*storage.cursors, new_user());
    assert_eq!(of(cursors, &user).await, []);
    cursors.put(&[]).await.expect("nothing is stored");
    put(cursors, &new_user(), &new_chat(), at(1)).await;
    assert_eq!(of(cursors, &user).await, []);
}

pub async fn a_cursor_comes_back_with_its_gap(storage: Storage) {
    let (cursors, user) = (&*storage.cursors, new_user());
    let mut chats = [new_chat(), new_chat()];
    chats.sort();
    put(cursors, &user, &chats[0], at(5)).await;
    put(cursors, &user, &chats[1], with_gap(7)).await;
    assert_eq!(of(cursors, &user).await, [(chats[0].clone(), at(5)), (chats[1].clone(), with_gap(7))]);
}

/// Forward, back, with a gap that comes and goes: the last one counts, and nothing of those before it.
pub async fn a_cursor_is_replaced_as_a_whole(storage: Storage) {
    let (cursors, user, chat) = (&*storage.cursors, new_user(), new_chat());
    for cursor in [at(5), with_gap(9), at(9), with_gap(7), with_gap(8), at(3), at(3)] {
        put(cursors, &user, &chat, cursor).await;
        assert_eq!(of(cursors, &user).await, [(chat.clone(), cursor)]);
    }
}

pub async fn of_one_cursor_put_twice_at_once_the_last_counts(storage: Storage) {
    let (cursors, user, chat) = (&*storage.cursors, new_user(), new_chat());
    let rows = [with_gap(9), at(5), at(7)].map(|cursor| (user.clone(), chat.clone(), cursor));
    cursors.put(&rows).await.expect("they are stored");
    assert_eq!(of(cursors, &user).await, [(chat, at(7))]);
}

pub async fn users_and_chats_whose_ids_begin_alike_do_not_mix(storage: Storage) {
    let (cursors, user, chat) = (&*storage.cursors, new_user(), new_chat());
    let ends = ["", "!", "a", "aa", "b", "😀"];
    let users = ends.map(|end| UserId::new(format!("{user}{end}")).expect("it is short"));
    let chats = ends.map(|end| ChatId::new(format!("{chat}{end}")).expect("it is short"));
    let place = |user: usize, chat: usize| at((10 * user + chat) as u64);
    for (n, user) in users.iter().enumerate() {
        for (m, chat) in chats.iter().enumerate() {
            put(cursors, user, chat, place(n, m)).await;
        }
    }
    for (n, user) in users.iter().enumerate() {
        let theirs: Vec<_> = chats.iter().enumerate().map(|(m, chat)| (chat.clone(), place(n, m))).collect();
        assert_eq!(of(cursors, user).await, theirs, "of {user:?}");
    }
}

/// More than fit into one write or one page of an answer.
pub async fn many_cursors_are_put_at_once_and_come_back_sorted(storage: Storage) {
    let (cursors, users) = (&*storage.cursors, [new_user(), new_user()]);
    let mut rows = Vec::new();
    for number in 1..=2500 {
        let chat = ChatId::new(format!("{}{}", new_chat(), "x".repeat(number % 90))).expect("it is short");
        rows.push((users[number % 2].clone(), chat, with_gap(number as u64)));
    }
    cursors.put(&rows).await.expect("they are stored");
    for user in &users {
        let mut theirs: Vec<_> = rows.iter().filter(|row| row.0 == *user).map(|row| (row.1.clone(), row.2)).collect();
        theirs.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(of(cursors, user).await, theirs);
    }
}
