//! Members who are not in the room: told live, or later.

use roost_harness::{Client, Node, RawSocket, eventually};
use serde_json::{Value, json};

use crate::place::{Place, back, everything_is_confirmed, everything_is_routed, notifications, phone, tablet};

/// A chat with Ann in its room and Bob as a member who is away.
async fn ann_in_the_room(node: &Node) -> Client {
    node.create_chat("c1", &["ann", "bob"]).await;
    let mut ann = phone(node, "ann").await;
    ann.join("chat:c1").await;
    ann
}

/// The notification topic, its event for stored ones, and the contents that come, up to and with `last`.
async fn pending(client: &Client, topic: &str, event: &str, last: &str) -> Vec<String> {
    let mut contents = Vec::new();
    while contents.last().is_none_or(|content| content != last) {
        contents.push(client.expect(topic, event).await["content"].as_str().unwrap().to_owned());
    }
    contents
}

#[tokio::test]
async fn member_with_the_notification_topic_only_is_told_at_once_on_every_device() {
    let place = Place::new();
    let node = place.start().await;
    let mut ann = ann_in_the_room(&node).await;
    let (mut bob, mut bob_too) = (phone(&node, "bob").await, tablet(&node, "bob").await);
    bob.join(&notifications("bob")).await;
    bob_too.join(&notifications("bob")).await;
    let sent = ann.send_message("c1", "m1", "Hey").await.unwrap();
    for client in [&bob, &bob_too] {
        let told = client.expect(&notifications("bob"), "new_notification").await;
        let expected = json!({
            "chat_id": "c1", "sender_id": "ann", "content": "Hey",
            "timestamp": sent["timestamp"], "message_id": sent["message_id"],
        });
        assert_eq!(told, expected);
    }
}

#[tokio::test]
async fn user_who_is_in_the_room_on_one_device_is_notified_on_none() {
    let place = Place::new();
    let node = place.start().await;
    let mut ann = ann_in_the_room(&node).await;
    let (mut bob, mut bob_too) = (phone(&node, "bob").await, tablet(&node, "bob").await);
    bob.join("chat:c1").await;
    bob_too.join(&notifications("bob")).await;
    ann.say("c1", "m1", "in the room").await;
    assert_eq!(bob.expect("chat:c1", "receive_message").await["content"], "in the room");
    bob.leave("chat:c1").await.unwrap();
    ann.say("c1", "m2", "not any more").await;
    let told = bob_too.expect(&notifications("bob"), "new_notification").await;
    assert_eq!(told["content"], "not any more", "the first thing the other device hears");
}

#[tokio::test]
async fn one_who_was_away_gets_what_was_stored_oldest_first_once_and_never_again() {
    let place = Place::new();
    let node = place.start().await;
    let mut ann = ann_in_the_room(&node).await;
    let said: Vec<_> = (0..120).map(|number| format!("number {number}")).collect();
    for content in &said {
        ann.say("c1", content, content).await;
    }
    everything_is_routed(&node).await;
    let mut bob = phone(&node, "bob").await;
    let join = bob.join_soon(&notifications("bob")).await;
    let first = bob.next().await;
    assert_eq!((first.event.as_str(), &first.reference), ("phx_reply", &json!(join)), "the reply comes first");
    let got = pending(&bob, &notifications("bob"), "pending_notification", said.last().unwrap()).await;
    assert_eq!(got, said);
    everything_is_confirmed(&node).await;
    bob.close().await;
    ann.say("c1", "last", "last").await;
    let bob = back(&node, "bob").await;
    assert_eq!(bob.expect(&notifications("bob"), "pending_notification").await["content"], "last");
}

#[tokio::test]
async fn both_spellings_work_and_each_sends_its_own_only() {
    let place = Place::new();
    let node = place.start().await;
    let mut ann = ann_in_the_room(&node).await;
    for (content, topic, event) in
        [("long", "notifications:bob", "pending_notification"), ("short", "notification:bob", "pending_notifications")]
    {
        ann.say("c1", content, content).await;
        everything_is_routed(&node).await;
        let mut bob = phone(&node, "bob").await;
        bob.join(topic).await;
        let stored = bob.expect_frame(topic, event).await;
        let fields: Vec<_> = stored.payload.as_object().unwrap().keys().cloned().collect();
        assert_eq!(fields, ["chat_id", "content", "message_id", "sender_id", "timestamp"]);
        assert_eq!(stored.payload["content"], content);
        ann.say("c1", &format!("{content} live"), "live").await;
        assert_eq!(bob.expect(topic, "new_notification").await["content"], "live");
        assert!(bob.untaken().is_empty(), "{:?}", bob.untaken());
        bob.close().await;
        everything_is_confirmed(&node).await;
    }
}

#[tokio::test]
async fn what_was_pushed_but_not_confirmed_is_sent_again_on_the_next_connect() {
    let place = Place::new();
    let node = place.start().await;
    let mut ann = ann_in_the_room(&node).await;
    for content in ["one", "two"] {
        ann.say("c1", content, content).await;
    }
    // It reads what it is sent and answers no Ping: its stack may never have parsed it.
    let mut deaf = RawSocket::open(&node.connect("bob", "phone")).await;
    deaf.text(r#"["1","1","notifications:bob","phx_join",{}]"#).await;
    let mut frames = Vec::new();
    while frames.len() < 3 {
        frames.push(deaf.next_text().await);
    }
    assert!(frames[2].contains("two"), "{frames:?}");
    drop(deaf);
    let bob = back(&node, "bob").await;
    let got = pending(&bob, &notifications("bob"), "pending_notification", "two").await;
    assert_eq!(got, ["one", "two"]);
}

#[tokio::test]
async fn live_message_that_was_not_confirmed_becomes_pending() {
    let place = Place::new();
    let node = place.start().await;
    let mut ann = ann_in_the_room(&node).await;
    for topic in ["chat:c1", "notifications:bob"] {
        let mut deaf = RawSocket::open(&node.connect("bob", "phone")).await;
        deaf.text(&json!(["1", "1", topic, "phx_join", {}]).to_string()).await;
        deaf.next_text().await;
        let id = ann.say("c1", topic, topic).await;
        assert!(deaf.next_text().await.contains(&id));
        drop(deaf);
        let bob = back(&node, "bob").await;
        let stored = bob.expect(&notifications("bob"), "pending_notification").await;
        assert_eq!(stored["message_id"], json!(id));
        bob.close().await;
        everything_is_confirmed(&node).await;
    }
}

#[tokio::test]
async fn connection_that_joined_neither_receives_nothing_and_its_messages_are_stored() {
    let place = Place::new();
    let node = place.start().await;
    let mut ann = ann_in_the_room(&node).await;
    let mut bob = phone(&node, "bob").await;
    bob.heartbeat().await.unwrap();
    ann.say("c1", "m1", "for later").await;
    everything_is_routed(&node).await;
    let mut bob_too = tablet(&node, "bob").await;
    bob_too.join(&notifications("bob")).await;
    assert_eq!(bob_too.expect(&notifications("bob"), "pending_notification").await["content"], "for later");
    bob.heartbeat().await.unwrap();
    assert!(bob.untaken().is_empty(), "{:?}", bob.untaken());
}

#[tokio::test]
async fn everything_stored_survives_a_kill_and_a_restart() {
    let place = Place::new();
    let node = place.start().await;
    let mut ann = ann_in_the_room(&node).await;
    ann.say("c1", "m1", "before").await;
    node.kill_9();
    let node = place.start().await;
    let mut ann = phone(&node, "ann").await;
    ann.join("chat:c1").await;
    ann.say("c1", "m2", "after").await;
    let bob = back(&node, "bob").await;
    let got = pending(&bob, &notifications("bob"), "pending_notification", "after").await;
    assert_eq!(got, ["before", "after"]);
}

#[tokio::test]
async fn sender_is_never_notified_of_their_own_message() {
    let place = Place::new();
    let node = place.start().await;
    let mut ann = ann_in_the_room(&node).await;
    let mut ann_too = tablet(&node, "ann").await;
    ann_too.join(&notifications("ann")).await;
    ann.say("c1", "m1", "my own").await;
    let mut bob = phone(&node, "bob").await;
    bob.join("chat:c1").await;
    ann.leave("chat:c1").await.unwrap();
    bob.say("c1", "m2", "an answer").await;
    let told = ann_too.expect(&notifications("ann"), "new_notification").await;
    assert_eq!(told["content"], "an answer", "the first thing the other device hears");
    assert_eq!(ann_too.untaken().len(), 0);
    assert_ne!(told["message_id"], Value::Null);
}

/// Waits until a metric has a value.
async fn reaches(node: &Node, metric: &str, value: f64) {
    eventually(metric, async || (node.metrics().await.metric(metric)? >= value).then_some(())).await;
}

#[tokio::test]
async fn message_in_flight_to_a_room_that_is_left_comes_as_pending() {
    let place = Place::new();
    let node = place.start().await;
    let mut ann = ann_in_the_room(&node).await;
    let mut bob = phone(&node, "bob").await;
    bob.join(&notifications("bob")).await;
    bob.join("chat:c1").await;
    bob.stop_reading().await;
    let id = ann.say("c1", "m1", "are you leaving?").await;
    reaches(&node, r#"roost_deliveries_total{kind="room"}"#, 1.0).await;
    // What is in the socket by now is for a channel that the client has left: it drops it, and still answers the Ping.
    bob.push("chat:c1", "phx_leave", json!({})).await;
    reaches(&node, "roost_handed_back_total", 1.0).await;
    bob.read_on().await;
    assert_eq!(bob.expect(&notifications("bob"), "pending_notification").await["message_id"], json!(id));
    everything_is_confirmed(&node).await;
}

#[tokio::test]
async fn what_a_half_open_connection_was_sent_comes_before_anything_newer_on_the_next() {
    let place = Place::new().set("gateway.confirm_timeout", "60s");
    let node = place.start().await;
    let mut ann = ann_in_the_room(&node).await;
    let mut gone = phone(&node, "bob").await;
    gone.join(&notifications("bob")).await;
    gone.stop_reading().await;
    ann.say("c1", "m1", "first").await;
    reaches(&node, r#"roost_deliveries_total{kind="notification"}"#, 1.0).await;
    let mut bob = phone(&node, "bob").await;
    bob.join(&notifications("bob")).await;
    ann.say("c1", "m2", "second").await;
    for content in ["first", "second"] {
        assert_eq!(bob.expect(&notifications("bob"), "new_notification").await["content"], content);
    }
}
