//! [`Pending`].
#![allow(missing_docs, reason = "each function's name is the promise")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{message_at, new_chat, new_user};
use crate::{ChatId, Message, Pending, PendingKey, Sequence, Storage, UserId};

/// Sequences of tests begin here: recent enough for no backend to expire them.
fn recent() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    u64::try_from(now.as_micros()).expect("it is before the year 500000") - 3_600_000_000
}

async fn put(pending: &dyn Pending, user: &UserId, messages: &[Message]) {
    let rows: Vec<_> = messages.iter().map(|message| (user.clone(), message.clone())).collect();
    pending.put(&rows).await.expect("it is stored");
}

/// All pages of at most `max`.
async fn read_all(pending: &dyn Pending, user: &UserId, max: usize) -> Vec<Message> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = pending.page(user, after.as_ref(), max).await.expect("it reads");
        assert!(page.messages.len() <= max);
        all.extend(page.messages);
        match page.next {
            Some(next) => {
                assert!(after.is_none_or(|after| after < next), "pages go on");
                after = Some(next);
            }
            None => return all,
        }
    }
}

async fn count(pending: &dyn Pending, user: &UserId) -> u64 {
    pending.count(user).await.expect("it answers")
}

fn messages(chat: &ChatId, first: u64, count: u64) -> Vec<Message> {
    (first..first + count).map(|sequence| message_at(chat, sequence)).collect()
}

pub async fn a_user_without_rows_has_an_empty_last_page(storage: Storage) {
    let page = storage.pending.page(&new_user(), None, 10).await.expect("it reads");
    assert_eq!((page.messages, page.next), (Vec::new(), None));
}

pub async fn rows_come_oldest_first_with_ties_by_chat(storage: Storage) {
    let (user, first) = (new_user(), recent());
    let mut chats = [new_chat(), new_chat(), new_chat()];
    chats.sort();
    let row = |chat: usize, n: u64| message_at(&chats[chat], first + n);
    let sorted = [row(2, 0), row(0, 1), row(1, 1), row(2, 1), row(0, 300), row(1, 70_000)];
    let shuffled = [5, 2, 0, 4, 1, 3].map(|n: usize| sorted[n].clone());
    put(&*storage.pending, &user, &shuffled).await;
    assert_eq!(read_all(&*storage.pending, &user, 100).await, sorted);
    let after = PendingKey::of(&sorted[2]);
    let page = storage.pending.page(&user, Some(&after), 2).await.expect("it reads");
    assert_eq!(page.messages, sorted[3..5]);
}

pub async fn content_comes_back_byte_for_byte(storage: Storage) {
    let (user, message) = (new_user(), message_at(&new_chat(), recent()));
    put(&*storage.pending, &user, std::slice::from_ref(&message)).await;
    assert_eq!(read_all(&*storage.pending, &user, 10).await, [message]);
}

pub async fn paging_reaches_every_row_once(storage: Storage) {
    let (user, all) = (new_user(), messages(&new_chat(), recent(), 10));
    put(&*storage.pending, &user, &all).await;
    for max in [1, 3, 5, 10, 11] {
        assert_eq!(read_all(&*storage.pending, &user, max).await, all, "with pages of {max}");
    }
}

pub async fn putting_again_does_not_double_a_row(storage: Storage) {
    let (user, all) = (new_user(), messages(&new_chat(), recent(), 3));
    put(&*storage.pending, &user, &all).await;
    put(&*storage.pending, &user, &[all.clone(), all.clone()].concat()).await;
    assert_eq!(read_all(&*storage.pending, &user, 100).await, all);
    assert_eq!(count(&*storage.pending, &user).await, 3);
}

pub async fn a_late_writer_of_an_old_row_is_seen(storage: Storage) {
    let (user, all) = (new_user(), messages(&new_chat(), recent(), 4));
    put(&*storage.pending, &user, &all[2..]).await;
    put(&*storage.pending, &user, &all[..2]).await;
    assert_eq!(read_all(&*storage.pending, &user, 1).await, all);
}

pub async fn an_old_row_is_seen_after_everything_was_deleted(storage: Storage) {
    let (user, all) = (new_user(), messages(&new_chat(), recent(), 4));
    put(&*storage.pending, &user, &all[2..]).await;
    let keys: Vec<_> = all[2..].iter().map(PendingKey::of).collect();
    storage.pending.delete(&user, &keys).await.expect("they are deleted");
    put(&*storage.pending, &user, &all[..2]).await;
    assert_eq!(read_all(&*storage.pending, &user, 10).await, all[..2]);
}

pub async fn exactly_the_named_rows_are_deleted(storage: Storage) {
    let (user, other, all) = (new_user(), new_user(), messages(&new_chat(), recent(), 6));
    put(&*storage.pending, &user, &all).await;
    put(&*storage.pending, &other, &all).await;
    let keys = [PendingKey::of(&all[4]), PendingKey::of(&all[1])];
    assert_eq!(storage.pending.delete(&user, &keys).await.expect("they are deleted"), 2);
    let left = [&all[..1], &all[2..4], &all[5..]].concat();
    assert_eq!(read_all(&*storage.pending, &user, 100).await, left);
    assert_eq!(read_all(&*storage.pending, &other, 100).await, all);
}

pub async fn deleting_what_is_not_there_is_no_error(storage: Storage) {
    let (user, chat, first) = (new_user(), new_chat(), recent());
    let key = |sequence| PendingKey { sequence: Sequence(sequence), chat: chat.clone() };
    storage.pending.delete(&user, &[key(first + 1)]).await.expect("no error");
    put(&*storage.pending, &user, &messages(&chat, first, 1)).await;
    storage.pending.delete(&user, &[key(first + 1), key(first - 1)]).await.expect("no error");
    storage.pending.delete(&user, &[]).await.expect("no error");
    assert_eq!(read_all(&*storage.pending, &user, 10).await.len(), 1);
    assert_eq!(count(&*storage.pending, &user).await, 1);
}

pub async fn users_whose_ids_begin_alike_do_not_mix(storage: Storage) {
    let (base, first) = (new_user(), recent());
    let users = ["", "a", "aa", "😀"].map(|end| UserId::new(format!("{base}{end}")).expect("it is short"));
    for (n, user) in (0..).zip(&users) {
        put(&*storage.pending, user, &messages(&new_chat(), first + n, 2)).await;
    }
    for (n, user) in (0..).zip(&users) {
        let read: Vec<_> = read_all(&*storage.pending, user, 1).await.iter().map(|row| row.sequence.0).collect();
        assert_eq!(read, [first + n, first + n + 1]);
    }
}

pub async fn rows_are_counted(storage: Storage) {
    let (user, all) = (new_user(), messages(&new_chat(), recent(), 5));
    assert_eq!(count(&*storage.pending, &user).await, 0);
    put(&*storage.pending, &user, &all).await;
    assert_eq!(count(&*storage.pending, &user).await, 5);
    let keys: Vec<_> = all.iter().map(PendingKey::of).collect();
    storage.pending.delete(&user, &keys[..2]).await.expect("they are deleted");
    assert_eq!(count(&*storage.pending, &user).await, 3);
    storage.pending.delete(&user, &keys).await.expect("they are deleted");
    assert_eq!(count(&*storage.pending, &user).await, 0);
}

/// A backend that expires rows by itself answers 0, and is left alone.
pub async fn old_rows_expire_or_are_left_to_the_backend(storage: Storage) {
    let (first, chat) = (recent(), new_chat());
    let users = [new_user(), new_user(), new_user()];
    let all = messages(&chat, first, 4);
    for user in &users {
        put(&*storage.pending, user, &all).await;
    }
    let before = UNIX_EPOCH + Duration::from_micros(first + 2);
    let mut expired = Vec::new();
    loop {
        match storage.pending.expire(before, 4).await.expect("it answers") {
            0 => break,
            some => expired.push(some),
        }
    }
    if expired.is_empty() {
        return;
    }
    assert!(expired.iter().all(|some| *some <= 4));
    assert_eq!(expired.iter().sum::<u64>(), 6);
    for user in &users {
        assert_eq!(read_all(&*storage.pending, user, 10).await, all[2..], "what is younger stays");
        assert_eq!(count(&*storage.pending, user).await, 2);
    }
}
