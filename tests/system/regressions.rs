//! The nine known faults of the system this one replaces, none of which may come back.

use serde_json::json;

use crate::place::{Place, back, notifications, open, phone, tablet};

#[tokio::test]
async fn fault_1_someone_elses_notification_topic_can_not_be_joined() {
    let place = Place::new();
    let node = place.start().await;
    node.create_chat("c1", &["ann", "bob"]).await;
    let mut ann = phone(&node, "ann").await;
    ann.join("chat:c1").await;
    ann.say("c1", "m1", "for bob only").await;
    let mut eve = phone(&node, "eve").await;
    for topic in ["notifications:bob", "notification:bob", "notifications:eve:bob", "notifications:EVE"] {
        assert_eq!(eve.join_refused(topic).await, "unauthorized", "{topic}");
    }
    let bob = back(&node, "bob").await;
    assert_eq!(bob.expect(&notifications("bob"), "pending_notification").await["content"], "for bob only");
    eve.heartbeat().await.unwrap();
    assert!(eve.untaken().is_empty(), "{:?}", eve.untaken());
}

#[tokio::test]
async fn fault_2_only_members_can_join_a_chat() {
    let place = Place::new().set("chats.open_join", false);
    let node = place.start().await;
    node.create_chat("c1", &["ann", "bob"]).await;
    let mut eve = phone(&node, "eve").await;
    assert_eq!(eve.join_refused("chat:c1").await, "unauthorized");
    assert_eq!(eve.join_refused("chat:no-such-chat").await, "chat_not_found");
    let reference = eve.push("chat:c1", "send_message", json!({"content": "x", "mobile_ref_id": "1"})).await;
    let reply = eve.reply(&reference).await.unwrap();
    assert_eq!(reply, json!({"status": "error", "response": {"reason": "unmatched topic"}}));
    let (mut ann, mut bob) = (phone(&node, "ann").await, phone(&node, "bob").await);
    ann.join("chat:c1").await;
    bob.join("chat:c1").await;
    ann.say("c1", "m1", "among us").await;
    bob.expect("chat:c1", "receive_message").await;
    eve.heartbeat().await.unwrap();
    assert!(eve.untaken().is_empty(), "{:?}", eve.untaken());
}

#[tokio::test]
async fn fault_2_refusal_can_hide_which_chats_exist() {
    let place = Place::new().set("chats.open_join", false).set("chats.hide_existence", true);
    let node = place.start().await;
    node.create_chat("c1", &["ann"]).await;
    let mut eve = phone(&node, "eve").await;
    assert_eq!(eve.join_refused("chat:c1").await, eve.join_refused("chat:no-such-chat").await);
}

#[tokio::test]
async fn fault_3_pending_comes_oldest_first() {
    let place = Place::new();
    let node = place.start().await;
    for chat in ["c1", "c2"] {
        node.create_chat(chat, &["ann", "bob"]).await;
    }
    let mut ann = phone(&node, "ann").await;
    ann.join("chat:c1").await;
    ann.join("chat:c2").await;
    for number in 0..10 {
        let chat = if number % 2 == 0 { "c1" } else { "c2" };
        ann.say(chat, &number.to_string(), &number.to_string()).await;
    }
    let bob = back(&node, "bob").await;
    for number in 0..10 {
        let stored = bob.expect(&notifications("bob"), "pending_notification").await;
        assert_eq!(stored["content"], number.to_string());
    }
}

#[tokio::test]
async fn fault_4_socket_that_dies_while_pending_is_pushed_loses_nothing() {
    let place = Place::new();
    let node = place.start().await;
    node.create_chat("c1", &["ann", "bob"]).await;
    let mut ann = phone(&node, "ann").await;
    ann.join("chat:c1").await;
    let said: Vec<_> = (0..100).map(|number| format!("{number} {}", "x".repeat(3000))).collect();
    for (number, content) in said.iter().enumerate() {
        ann.say("c1", &number.to_string(), content).await;
    }
    let mut seen: Vec<String> = Vec::new();
    // Each connection is cut after some more, wherever the rest then is.
    while seen.len() < said.len() {
        let mut bob = open(node.connect("bob", "phone").receive_buffer(4096)).await;
        bob.join(&notifications("bob")).await;
        let enough = said.len().min(seen.len() + 12);
        bob.take("the next few", |frame| frame.text("content") == said[enough - 1]).await.unwrap();
        let frames = bob.cut().await;
        let stored = frames.iter().filter(|frame| frame.event == "pending_notification");
        for content in stored.map(|frame| frame.text("content").to_owned()) {
            if !seen.contains(&content) {
                seen.push(content);
            }
        }
    }
    assert_eq!(seen, said);
}

#[tokio::test]
async fn fault_5_pending_outlives_the_process() {
    let place = Place::new();
    let node = place.start().await;
    node.create_chat("c1", &["ann", "bob"]).await;
    let mut ann = phone(&node, "ann").await;
    ann.join("chat:c1").await;
    let id = ann.say("c1", "m1", "keep this").await;
    node.kill_9();
    let node = place.start().await;
    let bob = back(&node, "bob").await;
    assert_eq!(bob.expect(&notifications("bob"), "pending_notification").await["message_id"], json!(id));
}

#[tokio::test]
async fn fault_6_what_was_notified_live_does_not_come_again_as_pending() {
    let place = Place::new();
    let node = place.start().await;
    node.create_chat("c1", &["ann", "bob"]).await;
    let (mut ann, mut bob) = (phone(&node, "ann").await, phone(&node, "bob").await);
    ann.join("chat:c1").await;
    bob.join(&notifications("bob")).await;
    ann.say("c1", "m1", "live").await;
    bob.expect(&notifications("bob"), "new_notification").await;
    // The close frame is behind the Pong that confirms.
    bob.close().await;
    ann.say("c1", "m2", "stored").await;
    let bob = back(&node, "bob").await;
    assert_eq!(bob.expect(&notifications("bob"), "pending_notification").await["content"], "stored");
}

#[tokio::test]
async fn fault_7_sender_with_two_sockets_in_the_room_does_not_make_an_absent_member_look_present() {
    let place = Place::new();
    let node = place.start().await;
    node.create_chat("c1", &["ann", "bob"]).await;
    let (mut ann, mut ann_too) = (phone(&node, "ann").await, tablet(&node, "ann").await);
    ann.join("chat:c1").await;
    ann_too.join("chat:c1").await;
    ann.say("c1", "m1", "two of me, none of bob").await;
    let bob = back(&node, "bob").await;
    let stored = bob.expect(&notifications("bob"), "pending_notification").await;
    assert_eq!(stored["content"], "two of me, none of bob");
}

#[tokio::test]
async fn fault_8_receive_message_carries_the_id_that_the_sender_was_told() {
    let place = Place::new();
    let node = place.start().await;
    let (mut ann, mut bob) = (phone(&node, "ann").await, phone(&node, "bob").await);
    ann.join("chat:c1").await;
    bob.join("chat:c1").await;
    let id = ann.say("c1", "m1", "with an id").await;
    assert_eq!(bob.expect("chat:c1", "receive_message").await["message_id"], json!(id));
}

#[tokio::test]
async fn fault_9_expired_token_can_not_connect() {
    let place = Place::new().set("auth.leeway", "0s");
    let node = place.start().await;
    let token = node.token_for(&["--user", "ann", "--ttl", "1s"]);
    let connect = node.connect("ann", "phone").parameter("token", Some(&token));
    let status = roost_harness::eventually("the token expires", async || connect.open().await.err()).await.status;
    assert_eq!(status, 403);
}
