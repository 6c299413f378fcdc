//! What ends where: mailboxes, pending, rings, closes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use roost_storage::*;

use super::hooked::{Hook, hooked};
use super::rig::*;
use crate::context::Context;

#[tokio::test]
async fn members_get_it_where_they_are_and_the_others_find_it_pending() {
    let rig = Rig::new();
    let (a, b) = (rig.gateway("a").await, rig.gateway("b").await);
    let origin = rig.session("zoe", &a, 1, Joined::Room("c")).await;
    rig.session("ann", &a, 2, Joined::Room("c")).await;
    rig.session("ann", &b, 1, Joined::Notifications).await;
    rig.session("bob", &b, 2, Joined::Notifications).await;
    rig.session("eve", &b, 3, Joined::Room("c")).await;
    rig.session("cid", &b, 4, Joined::Nothing).await;
    rig.change("c", Change::Set(users(&["ann", "bob", "cid", "dan", "zoe"]))).await;
    rig.say_from("c", "zoe", "one", Some(origin)).await;
    rig.say("c", "bob", "two").await;
    rig.process("w").await;

    assert_eq!(rig.mailbox(&a).await, ["one>ann", "two>ann,zoe"]);
    assert_eq!(rig.mailbox(&b).await, ["one>bob"]);
    for (name, expected) in [("cid", &["one", "two"][..]), ("dan", &["one", "two"]), ("ann", &[]), ("zoe", &[])] {
        assert_eq!(rig.pending(name).await, expected, "pending of {name}");
    }
    let history = rig.storage.history.range(&chat("c"), None, Direction::Forward, 10).await.unwrap();
    let contents: Vec<_> = history.iter().map(|message| &*message.content).collect();
    assert_eq!(contents, ["one", "two"]);
}

#[tokio::test]
async fn the_senders_other_devices_in_the_room_get_an_entry_without_an_obligation() {
    let rig = Rig::new();
    let (a, b) = (rig.gateway("a").await, rig.gateway("b").await);
    let origin = rig.session("zoe", &a, 1, Joined::Room("c")).await;
    rig.session("zoe", &b, 1, Joined::Room("c")).await;
    rig.change("c", Change::Set(users(&["zoe"]))).await;
    rig.say_from("c", "zoe", "one", Some(origin)).await;
    rig.process("w").await;
    assert_eq!(rig.mailbox(&a).await, Vec::<String>::new());
    assert_eq!(rig.mailbox(&b).await, ["one>"]);
    assert_eq!(rig.pending("zoe").await, Vec::<String>::new());
}

#[tokio::test]
async fn each_mailbox_has_a_chats_messages_in_their_order() {
    let rig = Rig::new();
    let a = rig.gateway("a").await;
    rig.session("ann", &a, 1, Joined::Notifications).await;
    let mut expected = Vec::new();
    for name in ["c", "d"] {
        rig.change(name, Change::Set(users(&["ann", "zoe"]))).await;
    }
    for number in 0..600 {
        rig.say(if number % 3 == 0 { "c" } else { "d" }, "zoe", &number.to_string()).await;
        expected.push(format!("{number}>ann"));
    }
    rig.process("w").await;
    assert_eq!(rig.mailbox(&a).await, expected);
}

#[tokio::test]
async fn what_a_fenced_gateway_refuses_becomes_pending_without_a_ring_there() {
    let rig = Rig::new();
    let (a, b) = (rig.gateway("a").await, rig.gateway("b").await);
    rig.session("ann", &a, 1, Joined::Room("c")).await;
    rig.session("ann", &a, 2, Joined::Notifications).await;
    rig.session("bob", &a, 3, Joined::Room("c")).await;
    rig.session("bob", &b, 1, Joined::Room("c")).await;
    rig.storage.mailboxes.fence(&a).await.unwrap();
    rig.change("c", Change::Set(users(&["ann", "bob"]))).await;
    rig.say("c", "zoe", "one").await;
    let context = rig.context("w");
    process(&context).await.unwrap();
    assert_eq!(rig.pending("ann").await, ["one"]);
    assert_eq!(rig.pending("bob").await, Vec::<String>::new(), "another gateway took bob's");
    assert_eq!(rig.mailbox(&b).await, ["one>bob"]);
    assert_eq!((context.metrics.deliveries_gone.get(), context.metrics.pending_refused.get()), (1, 1));
}

#[tokio::test]
async fn what_a_full_mailbox_refuses_becomes_pending_and_its_gateway_is_rung() {
    let rig = Rig::with(|config| config.mailbox_entries_max = 2);
    let a = rig.gateway("a").await;
    rig.session("ann", &a, 1, Joined::Notifications).await;
    rig.session("bob", &a, 2, Joined::Room("c")).await;
    rig.change("c", Change::Set(users(&["ann", "bob"]))).await;
    for content in ["one", "two", "three"] {
        rig.say("c", "zoe", content).await;
    }
    let context = rig.context("w");
    process(&context).await.unwrap();
    assert_eq!(rig.mailbox(&a).await, ["ring ann"]);
    for name in ["ann", "bob"] {
        assert_eq!(rig.pending(name).await, ["one", "two", "three"]);
    }
    assert_eq!((context.metrics.deliveries_full.get(), context.metrics.pending_refused.get()), (3, 6));
}

/// Registers a session right after the first pending write.
struct ComesOnline {
    storage: Storage,
    session: Mutex<Option<Session>>,
}

#[async_trait]
impl Hook for ComesOnline {
    async fn before(&self, _call: &'static str) -> Result<(), StorageError> {
        Ok(())
    }
    async fn after(&self, call: &'static str) -> Result<(), StorageError> {
        let session = if call == "pending.put" { self.session.lock().unwrap().take() } else { None };
        if let Some(session) = session {
            assert_eq!(self.storage.sessions.register(&session).await?, Registration::Done);
        }
        Ok(())
    }
}

#[tokio::test]
async fn who_comes_online_while_their_row_is_stored_is_rung() {
    for (joined_notifications, expected) in [(true, &["ring ann"][..]), (false, &[])] {
        let rig = Rig::new();
        let a = rig.gateway("a").await;
        let session = Session {
            user: user("ann"),
            connection: ConnectionId { gateway: a.clone(), number: 1 },
            device: DeviceId::new("device").unwrap(),
            chats: BTreeSet::from([chat("c")]),
            notifications: joined_notifications,
        };
        rig.change("c", Change::Set(users(&["ann"]))).await;
        rig.say("c", "zoe", "one").await;
        let hook = Arc::new(ComesOnline { storage: rig.storage.clone(), session: Mutex::new(Some(session)) });
        process(&context(&hooked(&rig.storage, hook), "w")).await.unwrap();
        assert_eq!(rig.mailbox(&a).await, expected);
        assert_eq!(rig.pending("ann").await, ["one"]);
    }
}

#[tokio::test]
async fn a_removal_takes_effect_at_its_place() {
    let rig = Rig::new();
    let a = rig.gateway("a").await;
    rig.session("ann", &a, 1, Joined::Room("c")).await;
    rig.session("bob", &a, 2, Joined::Room("c")).await;
    rig.change("c", Change::Set(users(&["ann", "bob", "zoe"]))).await;
    rig.say("c", "zoe", "one").await;
    rig.change("c", Change::Remove(user("ann"))).await;
    rig.say("c", "zoe", "two").await;
    rig.change("c", Change::Add(user("ann"))).await;
    rig.say("c", "zoe", "three").await;
    rig.change("c", Change::Set(users(&["ann"]))).await;
    rig.say("c", "zoe", "four").await;
    rig.process("w").await;
    let expected = ["one>ann,bob", "close c ann", "two>bob", "three>ann,bob", "close c bob", "four>ann"];
    assert_eq!(rig.mailbox(&a).await, expected);
    assert_eq!(rig.storage.chats.membership(&chat("c"), &user("bob")).await.unwrap(), Membership::NotMember);
}

#[tokio::test]
async fn a_removed_user_is_closed_on_every_gateway_they_have_any_session_on() {
    let rig = Rig::new();
    let (a, b) = (rig.gateway("a").await, rig.gateway("b").await);
    rig.session("ann", &a, 1, Joined::Nothing).await;
    rig.session("ann", &a, 2, Joined::Room("c")).await;
    rig.session("ann", &b, 1, Joined::Notifications).await;
    rig.change("c", Change::Remove(user("ann"))).await;
    rig.process("w").await;
    assert_eq!(rig.mailbox(&a).await, ["close c ann"]);
    assert_eq!(rig.mailbox(&b).await, ["close c ann"]);
}

#[tokio::test]
async fn a_chat_with_many_members_is_routed_in_pieces_and_each_gateway_has_one_entry() {
    let rig = Rig::new();
    let a = rig.gateway("a").await;
    let names: Vec<String> = (0..2000).map(|number| format!("user-{number:04}")).collect();
    let members: BTreeSet<_> = names.iter().map(|name| user(name)).collect();
    for (number, name) in names.iter().enumerate().filter(|(number, _)| number % 10 == 0) {
        rig.session(name, &a, number as u64, Joined::Notifications).await;
    }
    rig.change("c", Change::Set(members)).await;
    for content in ["one", "two"] {
        rig.say("c", "zoe", content).await;
    }
    let mut config = quick();
    (config.obligations_max, config.members_cache_max, config.room_above) = (500, 100, 2000);
    let metrics = Arc::new(crate::FanoutMetrics::default());
    let context = Arc::new(Context::new(rig.storage.clone(), config, metrics, worker("w")));
    process(&context).await.unwrap();
    let mailbox = rig.mailbox(&a).await;
    assert_eq!(mailbox.len(), 2);
    assert_eq!(mailbox[0].split(',').count(), 200);
    assert_eq!(rig.pending("user-0001").await, ["one", "two"]);
    assert_eq!(context.metrics.pending_unreachable.get(), 3600);
    assert_eq!(context.metrics.obligations.get(), 4000);
    assert_eq!(context.metrics.members_cached.get(), 0, "larger than the cache, so not kept");
}
