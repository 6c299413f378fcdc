//! [`Chats`]: members. Room mode is in `rooms`.
#![allow(missing_docs, reason = "each function's name is the promise")]

mod rooms;

use std::collections::BTreeSet;

pub use self::rooms::*;
use super::{new_chat, new_user};
use crate::{Change, ChatId, Chats, Membership, MembershipChange, Routing, Sequence, Storage, UserId};

async fn apply(chats: &dyn Chats, chat: &ChatId, sequence: u64, change: Change) -> BTreeSet<UserId> {
    apply_routed(chats, chat, sequence, change, Routing::Members).await
}

async fn apply_routed(
    chats: &dyn Chats,
    chat: &ChatId,
    sequence: u64,
    change: Change,
    routing: Routing,
) -> BTreeSet<UserId> {
    let change = MembershipChange { chat: chat.clone(), sequence: Sequence(sequence), change, routing };
    let removed = chats.apply(&change).await.expect("it is applied");
    let count = removed.len();
    let removed: BTreeSet<_> = removed.into_iter().collect();
    assert_eq!(removed.len(), count, "nobody is named twice");
    removed
}

async fn membership(chats: &dyn Chats, chat: &ChatId, user: &UserId) -> Membership {
    chats.membership(chat, user).await.expect("it answers")
}

async fn members(chats: &dyn Chats, chat: &ChatId, max: usize) -> Vec<UserId> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = chats.members(chat, after.as_ref(), max).await.expect("it reads");
        assert!(page.items.len() <= max);
        all.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return all,
        }
    }
}

async fn chats_of(chats: &dyn Chats, user: &UserId, max: usize) -> Vec<ChatId> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = chats.chats_of(user, after.as_ref(), max).await.expect("it reads");
        assert!(page.items.len() <= max);
        all.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return all,
        }
    }
}

fn users(count: usize) -> Vec<UserId> {
    let mut users: Vec<_> = (0..count).map(|_| new_user()).collect();
    users.sort();
    users
}

fn set(users: &[UserId]) -> Change {
    Change::Set(users.iter().cloned().collect())
}

pub async fn a_chat_that_nobody_made_does_not_exist(storage: Storage) {
    let (chats, chat, user) = (&*storage.chats, new_chat(), new_user());
    assert_eq!(membership(chats, &chat, &user).await, Membership::NoSuchChat);
    assert_eq!(chats.applied(&chat).await.expect("it answers"), None);
    assert_eq!(members(chats, &chat, 10).await, []);
    assert_eq!(chats_of(chats, &user, 10).await, []);
}

pub async fn the_first_change_creates_the_chat(storage: Storage) {
    let (chats, users) = (&*storage.chats, users(2));
    for change in [set(&users[..1]), Change::Add(users[0].clone())] {
        let chat = new_chat();
        assert_eq!(apply(chats, &chat, 7, change).await, BTreeSet::new());
        assert_eq!(membership(chats, &chat, &users[0]).await, Membership::Member);
        assert_eq!(membership(chats, &chat, &users[1]).await, Membership::NotMember);
        assert_eq!(chats.applied(&chat).await.expect("it answers"), Some(Sequence(7)));
        assert_eq!(members(chats, &chat, 10).await, users[..1]);
    }
}

pub async fn set_replaces_the_members_and_returns_the_former(storage: Storage) {
    let (chats, chat, users) = (&*storage.chats, new_chat(), users(4));
    apply(chats, &chat, 1, set(&users[..3])).await;
    let former = apply(chats, &chat, 2, set(&users[2..])).await;
    assert_eq!(former, users[..2].iter().cloned().collect());
    assert_eq!(members(chats, &chat, 10).await, users[2..]);
    assert_eq!(chats_of(chats, &users[0], 10).await, []);
    assert_eq!(chats_of(chats, &users[3], 10).await, [chat]);
}

pub async fn add_and_remove_change_one_member(storage: Storage) {
    let (chats, chat, users) = (&*storage.chats, new_chat(), users(3));
    apply(chats, &chat, 1, set(&users[..2])).await;
    assert!(apply(chats, &chat, 2, Change::Add(users[2].clone())).await.is_empty());
    assert!(apply(chats, &chat, 3, Change::Add(users[2].clone())).await.is_empty(), "adding a member changes nothing");
    assert_eq!(members(chats, &chat, 10).await, users);
    assert_eq!(apply(chats, &chat, 4, Change::Remove(users[0].clone())).await, [users[0].clone()].into());
    assert_eq!(members(chats, &chat, 10).await, users[1..]);
    assert_eq!(membership(chats, &chat, &users[0]).await, Membership::NotMember);
}

pub async fn removing_who_is_no_member_returns_nobody(storage: Storage) {
    let (chats, chat, users) = (&*storage.chats, new_chat(), users(2));
    apply(chats, &chat, 1, set(&users[..1])).await;
    assert!(apply(chats, &chat, 2, Change::Remove(users[1].clone())).await.is_empty());
    assert_eq!(members(chats, &chat, 10).await, users[..1]);
    assert_eq!(chats.applied(&chat).await.expect("it answers"), Some(Sequence(2)));
}

pub async fn a_change_at_or_below_the_last_one_is_ignored(storage: Storage) {
    let (chats, chat, users) = (&*storage.chats, new_chat(), users(2));
    apply(chats, &chat, 5, set(&users)).await;
    for sequence in [4, 5] {
        assert!(apply(chats, &chat, sequence, set(&[])).await.is_empty());
        assert!(apply(chats, &chat, sequence, Change::Remove(users[0].clone())).await.is_empty());
    }
    assert_eq!(members(chats, &chat, 10).await, users);
    assert_eq!(chats.applied(&chat).await.expect("it answers"), Some(Sequence(5)));
}

pub async fn members_are_paged_sorted(storage: Storage) {
    let (chats, chat, users) = (&*storage.chats, new_chat(), users(10));
    apply(chats, &chat, 1, set(&users)).await;
    for max in [1, 3, 5, 10, 11] {
        assert_eq!(members(chats, &chat, max).await, users, "with pages of {max}");
    }
    let page = chats.members(&chat, Some(&users[3]), 2).await.expect("it reads");
    assert_eq!(page.items, users[4..6]);
}

pub async fn chats_of_a_user_are_paged_sorted(storage: Storage) {
    let (chats, user) = (&*storage.chats, new_user());
    let longer = UserId::new(format!("{user}a")).expect("it is short");
    let base = new_chat();
    let mut all: Vec<_> = (0..10).map(|_| new_chat()).collect();
    all.extend(["a", "aa", "b", "😀"].map(|end| ChatId::new(format!("{base}{end}")).expect("it is short")));
    for chat in &all {
        apply(chats, chat, 1, Change::Add(user.clone())).await;
    }
    apply(chats, &new_chat(), 1, Change::Add(longer)).await;
    all.sort();
    for max in [1, 3, 7, 100] {
        assert_eq!(chats_of(chats, &user, max).await, all, "with pages of {max}");
    }
}

pub async fn both_directions_agree_after_many_changes(storage: Storage) {
    let (chats, users) = (&*storage.chats, users(6));
    let some_chats: Vec<_> = (0..4).map(|_| new_chat()).collect();
    let mut expected: Vec<BTreeSet<UserId>> = vec![BTreeSet::new(); some_chats.len()];
    for sequence in 1..60_usize {
        let (chat, user) = (sequence % 4, users[sequence * 7 % 6].clone());
        let change = match sequence % 5 {
            0 => Change::Set(users.iter().skip(sequence % 6).cloned().collect()),
            1 | 2 => Change::Remove(user.clone()),
            _ => Change::Add(user.clone()),
        };
        match &change {
            Change::Set(users) => expected[chat] = users.clone(),
            Change::Add(user) => _ = expected[chat].insert(user.clone()),
            Change::Remove(user) => _ = expected[chat].remove(user),
        }
        apply(chats, &some_chats[chat], sequence as u64, change).await;
    }
    for (chat, expected) in some_chats.iter().zip(&expected) {
        assert_eq!(members(chats, chat, 100).await, expected.iter().cloned().collect::<Vec<_>>());
    }
    for user in &users {
        let theirs = some_chats.iter().zip(&expected).filter(|(_, members)| members.contains(user));
        let theirs: BTreeSet<_> = theirs.map(|(chat, _)| chat.clone()).collect();
        assert_eq!(chats_of(chats, user, 100).await, theirs.into_iter().collect::<Vec<_>>());
    }
}

pub async fn an_emptied_chat_still_exists(storage: Storage) {
    let (chats, chat, users) = (&*storage.chats, new_chat(), users(1));
    apply(chats, &chat, 1, set(&users)).await;
    apply(chats, &chat, 2, set(&[])).await;
    assert_eq!(membership(chats, &chat, &users[0]).await, Membership::NotMember);
    assert_eq!(members(chats, &chat, 10).await, []);
}
