//! Chats in room mode: the same to clients as any other, at a cost that does not grow with the members who are away.

use roost_harness::{Client, Node, eventually};
use serde_json::{Value, json};

use crate::place::{Place, back, everything_is_routed, notifications, phone, tablet};

/// A place where more than two members are a room.
fn place() -> Place {
    Place::new().set("fanout.room_above", 2).set("chats.open_join", false)
}

async fn pending(client: &Client, user: &str, contents: &[&str]) {
    for content in contents {
        let stored = client.expect(&notifications(user), "pending_notification").await;
        assert_eq!(stored["content"], *content);
    }
}

/// Waits until the client's Pong for what it was pushed has come.
async fn confirmed(node: &Node, messages: f64) {
    eventually("everything is confirmed", async || {
        let metrics = node.metrics().await;
        let confirmed = ["live", "pending"]
            .map(|kind| metrics.metric(&format!("roost_confirmed_total{{kind=\"{kind}\"}}")).expect("it is counted"));
        (confirmed.iter().sum::<f64>() >= messages).then_some(())
    })
    .await;
}

async fn members(node: &Node, method: &str, user: &str) {
    let answer = node.api(method, &format!("/v1/chats/c1/members/{user}"), Value::Null).await;
    assert!(answer.status < 300, "{answer:?}");
}

#[tokio::test]
async fn members_get_messages_live_and_who_was_away_catches_up_in_order() {
    let place = place();
    let node = place.start().await;
    node.create_chat("c1", &["ann", "bob", "cid", "dan"]).await;
    let (mut ann, mut bob, mut cid) = (phone(&node, "ann").await, phone(&node, "bob").await, phone(&node, "cid").await);
    ann.join("chat:c1").await;
    bob.join("chat:c1").await;
    cid.join(&notifications("cid")).await;
    let contents: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    for content in &contents {
        ann.say("c1", content, content).await;
    }
    for content in &contents {
        assert_eq!(bob.expect("chat:c1", "receive_message").await["content"], **content);
        assert_eq!(cid.expect(&notifications("cid"), "new_notification").await["content"], **content);
    }
    let dan = back(&node, "dan").await;
    pending(&dan, "dan", &contents.iter().map(String::as_str).collect::<Vec<_>>()).await;
    confirmed(&node, 600.0).await;
    ann.say("c1", "last", "last").await;
    assert_eq!(dan.expect(&notifications("dan"), "new_notification").await["content"], "last");
    let metrics = node.metrics().await;
    assert_eq!(metrics.metric("roost_store_pending_rows"), Some(0.0), "nothing was stored for anybody by itself");
    assert_eq!(metrics.metric("roost_fanout_room_messages_total"), Some(201.0));
    assert!(ann.untaken().iter().all(|frame| frame.event == "message_sent" || frame.event == "phx_reply"));
}

#[tokio::test]
async fn what_was_confirmed_does_not_come_again() {
    let place = place();
    let node = place.start().await;
    node.create_chat("c1", &["ann", "bob", "cid"]).await;
    let mut ann = phone(&node, "ann").await;
    ann.join("chat:c1").await;
    ann.say("c1", "1", "away").await;
    let mut bob = back(&node, "bob").await;
    pending(&bob, "bob", &["away"]).await;
    bob.join("chat:c1").await;
    ann.say("c1", "2", "live").await;
    assert_eq!(bob.expect("chat:c1", "receive_message").await["content"], "live");
    confirmed(&node, 2.0).await;
    bob.close().await;
    ann.say("c1", "3", "away again").await;
    let bob = back(&node, "bob").await;
    pending(&bob, "bob", &["away again"]).await;
    confirmed(&node, 3.0).await;
    bob.close().await;
    let mut bob = back(&node, "bob").await;
    bob.heartbeat().await.unwrap();
    ann.say("c1", "4", "marker").await;
    assert_eq!(bob.expect(&notifications("bob"), "new_notification").await["content"], "marker");
    assert!(bob.untaken().iter().all(|frame| frame.event == "phx_reply"), "{:?}", bob.untaken());
}

#[tokio::test]
async fn message_that_was_not_confirmed_comes_again() {
    let place = place().set("gateway.confirm_timeout", "1s");
    let node = place.start().await;
    node.create_chat("c1", &["ann", "bob", "cid"]).await;
    let (mut ann, mut bob) = (phone(&node, "ann").await, phone(&node, "bob").await);
    ann.join("chat:c1").await;
    bob.join("chat:c1").await;
    bob.stop_reading().await;
    ann.say("c1", "1", "into the void").await;
    everything_is_routed(&node).await;
    bob.cut().await;
    let bob = back(&node, "bob").await;
    pending(&bob, "bob", &["into the void"]).await;
}

#[tokio::test]
async fn chat_that_becomes_a_room_and_stops_being_one_loses_nothing_and_keeps_its_order() {
    let place = place();
    let node = place.start().await;
    node.create_chat("c1", &["ann", "bob"]).await;
    let (mut ann, mut eve) = (phone(&node, "ann").await, phone(&node, "eve").await);
    ann.join("chat:c1").await;
    eve.join(&notifications("eve")).await;
    ann.say("c1", "1", "two").await;
    members(&node, "PUT", "eve").await;
    ann.say("c1", "2", "three: a room").await;
    members(&node, "DELETE", "eve").await;
    members(&node, "PUT", "fay").await;
    ann.say("c1", "3", "still a room").await;
    members(&node, "DELETE", "fay").await;
    members(&node, "DELETE", "bob").await;
    members(&node, "PUT", "bob").await;
    ann.say("c1", "4", "no room any more").await;
    assert_eq!(eve.expect(&notifications("eve"), "new_notification").await["content"], "three: a room");
    let bob = back(&node, "bob").await;
    pending(&bob, "bob", &["two", "three: a room", "still a room", "no room any more"]).await;
    let fay = back(&node, "fay").await;
    pending(&fay, "fay", &["still a room"]).await;
    ann.say("c1", "5", "marker").await;
    assert_eq!(bob.expect(&notifications("bob"), "new_notification").await["content"], "marker");
    assert!(eve.untaken().iter().all(|frame| frame.event == "phx_reply"), "{:?}", eve.untaken());
    let switches = node.metrics().await;
    for to in ["room", "members"] {
        let switches = switches.metric(&format!("roost_fanout_room_switches_total{{to=\"{to}\"}}"));
        assert_eq!(switches, Some(1.0), "to {to}");
    }
}

#[tokio::test]
async fn member_who_is_in_the_room_when_it_begins_gets_the_next_message_there() {
    let place = place();
    let node = place.start().await;
    node.create_chat("c1", &["ann", "bob"]).await;
    let (mut ann, mut bob) = (phone(&node, "ann").await, phone(&node, "bob").await);
    ann.join("chat:c1").await;
    bob.join("chat:c1").await;
    for (number, user) in ["cid", "dan", "eve"].into_iter().enumerate() {
        let content = format!("before {user}");
        ann.say("c1", &number.to_string(), &content).await;
        members(&node, "PUT", user).await;
        assert_eq!(bob.expect("chat:c1", "receive_message").await["content"], content);
    }
    ann.say("c1", "last", "last").await;
    assert_eq!(bob.expect("chat:c1", "receive_message").await["content"], "last");
}

#[tokio::test]
async fn in_the_room_on_one_device_means_no_notification_on_the_other() {
    let place = place();
    let node = place.start().await;
    node.create_chat("c1", &["ann", "bob", "cid"]).await;
    let (mut ann, mut bobs_phone, mut bobs_tablet) =
        (phone(&node, "ann").await, phone(&node, "bob").await, tablet(&node, "bob").await);
    ann.join("chat:c1").await;
    bobs_phone.join("chat:c1").await;
    bobs_tablet.join(&notifications("bob")).await;
    ann.say("c1", "1", "in the room").await;
    assert_eq!(bobs_phone.expect("chat:c1", "receive_message").await["content"], "in the room");
    confirmed(&node, 1.0).await;
    bobs_phone.leave("chat:c1").await.unwrap();
    ann.say("c1", "2", "out of it").await;
    let told = bobs_tablet.expect(&notifications("bob"), "new_notification").await;
    assert_eq!(told["content"], "out of it", "the first thing the tablet hears");
}

#[tokio::test]
async fn senders_other_device_in_the_room_gets_the_message_and_nothing_is_kept_for_the_sender() {
    let place = place();
    let node = place.start().await;
    node.create_chat("c1", &["ann", "bob", "cid"]).await;
    let (mut anns_phone, mut anns_tablet) = (phone(&node, "ann").await, tablet(&node, "ann").await);
    anns_phone.join("chat:c1").await;
    anns_tablet.join("chat:c1").await;
    anns_phone.say("c1", "1", "mine").await;
    assert_eq!(anns_tablet.expect("chat:c1", "receive_message").await["content"], "mine");
    anns_phone.close().await;
    anns_tablet.close().await;
    let mut ann = back(&node, "ann").await;
    let mut bob = phone(&node, "bob").await;
    bob.join("chat:c1").await;
    bob.say("c1", "2", "marker").await;
    let told = ann.take("a notification", |frame| frame.event.ends_with("notification")).await.unwrap();
    assert_eq!(told.text("content"), "marker");
    ann.heartbeat().await.unwrap();
}

#[tokio::test]
async fn message_to_a_large_chat_is_one_mailbox_entry_and_no_pending_row() {
    let place = Place::new().set("chats.members_per_request_max", 10_000);
    let node = place.start().await;
    let names: Vec<String> = (0..10_000).map(|number| format!("member-{number:04}")).collect();
    node.create_chat("c1", &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut clients = Vec::new();
    for name in names.iter().take(20) {
        let mut client = phone(&node, name).await;
        client.join("chat:c1").await;
        clients.push(client);
    }
    for number in 0..10 {
        clients[0].say("c1", &number.to_string(), &number.to_string()).await;
    }
    for client in &clients[1..] {
        for number in 0..10 {
            assert_eq!(client.expect("chat:c1", "receive_message").await["content"], json!(number.to_string()));
        }
    }
    let metrics = node.metrics().await;
    assert_eq!(metrics.metric("roost_fanout_deliveries_total{outcome=\"accepted\"}"), Some(10.0));
    assert_eq!(metrics.metric("roost_fanout_pending_total{cause=\"unreachable\"}"), Some(0.0));
    let away = back(&node, "member-9999").await;
    pending(&away, "member-9999", &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]).await;
}
