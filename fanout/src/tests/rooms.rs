//! Chats in room mode: when it begins and ends, who is told, and what is put where.

use std::sync::Arc;

use roost_storage::*;

use super::rig::*;
use crate::FanoutMetrics;
use crate::context::Context;

/// A context for which more than two members are a room.
fn context(rig: &Rig) -> Arc<Context> {
    context_above(rig, 2)
}

fn context_above(rig: &Rig, room_above: usize) -> Arc<Context> {
    let config = crate::FanoutConfig { room_above, ..quick() };
    Arc::new(Context::new(rig.storage.clone(), config, Arc::new(FanoutMetrics::default()), worker("w")))
}

async fn history(rig: &Rig) -> Vec<String> {
    let messages = rig.storage.history.range(&chat("c"), None, Direction::Forward, 100).await.unwrap();
    messages.iter().map(|message| message.content.to_string()).collect()
}

async fn is_room(rig: &Rig) -> bool {
    Span::is_open(&rig.storage.chats.room_spans(&chat("c")).await.unwrap())
}

#[tokio::test]
async fn a_room_has_one_entry_for_each_follower_and_no_pending_rows() {
    let rig = Rig::new();
    let (a, b) = (rig.gateway("a").await, rig.gateway("b").await);
    rig.session("ann", &a, 1, Joined::Notifications).await;
    let context = context(&rig);
    rig.change("c", Change::Set(users(&["ann", "bob", "cid", "dan"]))).await;
    process(&context).await.unwrap();
    assert_eq!(rig.mailbox(&a).await, ["enter c ann"], "ann's gateway follows for her");
    let _ = rig.storage.sessions.follow(&b, &chat("c")).await.unwrap();
    rig.say("c", "bob", "hey").await;
    process(&context).await.unwrap();
    assert_eq!(rig.mailbox(&a).await.last().unwrap(), "hey>room");
    assert_eq!(rig.mailbox(&b).await, ["hey>room"]);
    assert!(rig.pending("cid").await.is_empty() && rig.pending("ann").await.is_empty());
    assert_eq!(history(&rig).await, ["hey"]);
}

#[tokio::test]
async fn a_chat_becomes_a_room_at_one_message_and_stops_being_one_at_another() {
    let rig = Rig::new();
    let a = rig.gateway("a").await;
    let context = context(&rig);
    rig.change("c", Change::Set(users(&["ann", "bob"]))).await;
    rig.say("c", "ann", "1").await;
    let begins = rig.change("c", Change::Add(user("cid"))).await;
    rig.say("c", "ann", "2").await;
    rig.change("c", Change::Remove(user("bob"))).await;
    rig.say("c", "ann", "3").await;
    let ends = rig.change("c", Change::Remove(user("cid"))).await;
    rig.change("c", Change::Add(user("bob"))).await;
    rig.say("c", "ann", "4").await;
    process(&context).await.unwrap();
    let spans = rig.storage.chats.room_spans(&chat("c")).await.unwrap();
    assert_eq!(spans, [Span { since: begins, until: Some(ends) }]);
    assert_eq!(rig.pending("bob").await, ["1", "4"], "what came while it was a room is in history");
    assert!(rig.pending("cid").await.is_empty());
    assert!(rig.mailbox(&a).await.is_empty());
    let rooms = rig.storage.chats.rooms_of(&user("cid"), None, 10).await.unwrap();
    assert_eq!(rooms, [RoomMember { chat: chat("c"), spans: vec![Span { since: begins, until: Some(ends) }] }]);
}

#[tokio::test]
async fn a_room_that_shrinks_a_little_stays_one() {
    let rig = Rig::new();
    let context = context(&rig);
    rig.change("c", Change::Set(users(&["ann", "bob", "cid"]))).await;
    rig.change("c", Change::Remove(user("cid"))).await;
    process(&context).await.unwrap();
    assert!(is_room(&rig).await, "two of more than two: it would only switch to and fro");
    rig.change("c", Change::Remove(user("bob"))).await;
    process(&context).await.unwrap();
    assert!(!is_room(&rig).await);
}

#[tokio::test]
async fn a_change_that_is_repeated_after_a_crash_tells_the_same_gateways_again() {
    let rig = Rig::new();
    let a = rig.gateway("a").await;
    rig.session("ann", &a, 1, Joined::Room("c")).await;
    rig.session("bob", &a, 2, Joined::Notifications).await;
    rig.change("c", Change::Set(users(&["ann", "bob"]))).await;
    process(&context(&rig)).await.unwrap();
    let sequence = rig.change("c", Change::Add(user("cid"))).await;
    // As if the process before had died between applying the change and telling anybody.
    let change = Change::Add(user("cid"));
    let change = MembershipChange { chat: chat("c"), sequence, change, routing: Routing::Room };
    rig.storage.chats.apply(&change).await.unwrap();
    process(&context(&rig)).await.unwrap();
    assert_eq!(rig.mailbox(&a).await, ["enter c ann,bob"]);
    assert_eq!(rig.storage.sessions.followers(&[chat("c")]).await.unwrap(), [vec![a.clone()]]);
    assert!(is_room(&rig).await);
}

#[tokio::test]
async fn whoever_stays_enters_when_room_mode_begins_with_a_removal() {
    for was_applied in [false, true] {
        let rig = Rig::new();
        let a = rig.gateway("a").await;
        for (number, name) in [(1, "ann"), (2, "dan")] {
            rig.session(name, &a, number, Joined::Notifications).await;
        }
        rig.change("c", Change::Set(users(&["ann", "bob", "cid", "dan"]))).await;
        process(&context_above(&rig, 10)).await.unwrap();
        assert!(!is_room(&rig).await);
        // The limit is lower from now on.
        let sequence = rig.change("c", Change::Remove(user("dan"))).await;
        if was_applied {
            // As if the process before had died between applying the change and telling anybody.
            let change = Change::Remove(user("dan"));
            let change = MembershipChange { chat: chat("c"), sequence, change, routing: Routing::Room };
            rig.storage.chats.apply(&change).await.unwrap();
        }
        process(&context(&rig)).await.unwrap();
        assert!(is_room(&rig).await);
        let told: Vec<_> = rig.mailbox(&a).await.into_iter().filter(|item| item.starts_with("enter")).collect();
        assert_eq!(told, ["enter c ann"], "applied before: {was_applied}");
        assert_eq!(rig.storage.sessions.followers(&[chat("c")]).await.unwrap(), [vec![a.clone()]]);
        rig.say("c", "bob", "hey").await;
        process(&context(&rig)).await.unwrap();
        assert_eq!(rig.mailbox(&a).await.last().unwrap(), "hey>room");
    }
}

#[tokio::test]
async fn a_full_mailbox_is_told_to_read_history_before_anything_later_is_put() {
    let rig = Rig::with(|config| config.mailbox_entries_max = 2);
    let a = rig.gateway("a").await;
    let context = context(&rig);
    rig.change("c", Change::Set(users(&["ann", "bob", "cid"]))).await;
    process(&context).await.unwrap();
    let _ = rig.storage.sessions.follow(&a, &chat("c")).await.unwrap();
    for content in ["1", "2"] {
        rig.say("c", "ann", content).await;
    }
    process(&context).await.unwrap();
    rig.say("c", "ann", "3").await;
    process(&context).await.unwrap();
    assert_eq!(rig.mailbox(&a).await, ["1>room", "2>room", "ring room c"]);
    assert_eq!(history(&rig).await, ["1", "2", "3"]);
    assert!(rig.pending("bob").await.is_empty());
}
