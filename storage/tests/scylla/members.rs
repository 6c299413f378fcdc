//! Changes of members that are repeated after a crash, or come late from a worker that lost its lease.

use std::collections::BTreeSet;
use std::sync::Arc;

use roost_storage::{Change, ChatId, Chats, Membership, MembershipChange, Routing, Sequence, UserId};

use super::shared::shared;

pub(crate) struct Chat {
    pub(crate) chats: Arc<dyn Chats>,
    pub(crate) id: ChatId,
    pub(crate) users: [UserId; 4],
}

impl Chat {
    pub(crate) fn new() -> Self {
        let number: u64 = rand::random();
        let users = [0, 1, 2, 3].map(|n| UserId::new(format!("user-{number:016x}-{n}")).unwrap());
        Self { chats: shared().storage.chats(), id: ChatId::new(format!("chat-{number:016x}")).unwrap(), users }
    }

    pub(crate) fn set(&self, users: &[usize]) -> Change {
        Change::Set(users.iter().map(|n| self.users[*n].clone()).collect())
    }

    /// Numbers of those it says were removed.
    async fn apply(&self, sequence: u64, change: Change) -> Vec<usize> {
        let change =
            MembershipChange { chat: self.id.clone(), sequence: Sequence(sequence), change, routing: Routing::Members };
        let removed: BTreeSet<_> = self.chats.apply(&change).await.unwrap().into_iter().collect();
        (0..4).filter(|n| removed.contains(&self.users[*n])).collect()
    }

    pub(crate) async fn members(&self) -> Vec<usize> {
        let members = self.chats.members(&self.id, None, 10).await.unwrap().items;
        (0..4).filter(|n| members.contains(&self.users[*n])).collect()
    }

    /// As an attempt that ended in the middle has left it.
    pub(crate) async fn run(&self, statement: &str, user: usize, sequence: i64) {
        let text = statement.replace("AT", &sequence.to_string());
        shared().cql.run(text.as_str(), (self.id.as_str(), self.users[user].as_str())).await;
    }
}

const REMEMBER: &str = "INSERT INTO roost.removals (chat_id, sequence, user_id) VALUES (?, AT, ?)";
const PUT: &str = "INSERT INTO roost.members (chat_id, user_id) VALUES (?, ?) USING TIMESTAMP AT";
const DELETE: &str = "DELETE FROM roost.members USING TIMESTAMP AT WHERE chat_id = ? AND user_id = ?";

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_repeated_in_its_middle_is_completed_and_names_everybody_it_removed() {
    let chat = Chat::new();
    chat.apply(10, chat.set(&[0, 1, 2])).await;
    // The first attempt wrote down 0 and 1, put 3, and deleted 0, in one of the two tables each.
    for user in [0, 1] {
        chat.run(REMEMBER, user, 11).await;
    }
    chat.run(PUT, 3, 11).await;
    chat.run(DELETE, 0, 11).await;
    assert_eq!(chat.apply(11, chat.set(&[2, 3])).await, [0, 1]);
    assert_eq!(chat.members().await, [2, 3]);
    for (n, user) in chat.users.iter().enumerate() {
        let is_in = !chat.chats.chats_of(user, None, 10).await.unwrap().items.is_empty();
        assert_eq!(is_in, n >= 2, "user {n} by user");
    }
    assert_eq!(chat.apply(11, chat.set(&[2, 3])).await, [0, 1], "its answer may have been lost");
    assert_eq!(chat.apply(12, Change::Remove(chat.users[2].clone())).await, [2]);
    assert_eq!(chat.apply(12, Change::Remove(chat.users[2].clone())).await, [2]);
    assert_eq!(chat.apply(11, chat.set(&[2, 3])).await, Vec::<usize>::new());
    assert_eq!(chat.members().await, [3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_without_a_lease_still_writes_changes_nothing() {
    let chat = Chat::new();
    chat.apply(10, chat.set(&[0])).await;
    chat.apply(11, Change::Add(chat.users[1].clone())).await;
    chat.apply(12, Change::Remove(chat.users[1].clone())).await;
    chat.apply(13, chat.set(&[0, 2])).await;
    // The same worker's writes of 11, and of a set without 2 at 10.
    chat.run(PUT, 1, 11).await;
    chat.run(DELETE, 2, 10).await;
    let late = format!("INSERT INTO roost.chats (chat_id, applied) VALUES ('{}', 11) USING TIMESTAMP 11", chat.id);
    shared().cql.run(late.as_str(), ()).await;
    assert_eq!(chat.members().await, [0, 2]);
    assert_eq!(chat.chats.applied(&chat.id).await.unwrap(), Some(Sequence(13)));
    assert_eq!(chat.chats.membership(&chat.id, &chat.users[1]).await.unwrap(), Membership::NotMember);
    // That this is because of the write times, and not because of when it was done: the next change's would count.
    chat.run(PUT, 1, 14).await;
    chat.run(DELETE, 2, 14).await;
    assert_eq!(chat.members().await, [0, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_chat_is_replaced() {
    let chat = Chat::new();
    let crowd = |from: usize| -> BTreeSet<UserId> {
        (from..from + 1000).map(|n| UserId::new(format!("{}-{n:04}-{}", chat.id, "x".repeat(80))).unwrap()).collect()
    };
    let apply = async |sequence, users| {
        let (change, routing) = (Change::Set(users), Routing::Members);
        let change = MembershipChange { chat: chat.id.clone(), sequence: Sequence(sequence), change, routing };
        chat.chats.apply(&change).await.unwrap().into_iter().collect::<BTreeSet<_>>()
    };
    assert_eq!(apply(1, crowd(0)).await, BTreeSet::new());
    assert_eq!(apply(2, crowd(500)).await, crowd(0).difference(&crowd(500)).cloned().collect());
    let members = chat.chats.members(&chat.id, None, usize::MAX).await.unwrap();
    assert_eq!(members.items.into_iter().collect::<BTreeSet<_>>(), crowd(500));
    assert_eq!(members.next, None);
}
