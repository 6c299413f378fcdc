//! Sending again after an answer that never came: the same `mobile_ref_id` is the same message.

use roost_harness::Client;

use crate::place::{Place, phone};

async fn received(client: &Client, expected: &str) {
    assert_eq!(client.expect("chat:c1", "receive_message").await["content"], expected);
}

#[tokio::test]
async fn same_reference_and_content_is_one_message_also_over_a_new_connection_and_a_restart() {
    let place = Place::new();
    let node = place.start().await;
    let (mut ann, mut bob) = (phone(&node, "ann").await, phone(&node, "bob").await);
    ann.join("chat:c1").await;
    bob.join("chat:c1").await;
    let id = ann.say("c1", "m1", "once").await;
    received(&bob, "once").await;
    ann.push("chat:c1", "send_message", serde_json::json!({"content": "once", "mobile_ref_id": "m1"})).await;
    assert_eq!(ann.message_sent("chat:c1", "m1").await.unwrap()["message_id"], id.as_str());
    ann.close().await;

    let mut ann = phone(&node, "ann").await;
    ann.join("chat:c1").await;
    assert_eq!(ann.say("c1", "m1", "once").await, id);
    ann.say("c1", "m2", "next").await;
    received(&bob, "next").await;
    node.kill_9();

    let node = place.start().await;
    let (mut ann, mut bob) = (phone(&node, "ann").await, phone(&node, "bob").await);
    ann.join("chat:c1").await;
    bob.join("chat:c1").await;
    assert_eq!(ann.say("c1", "m1", "once").await, id);
    assert!(ann.say("c1", "m3", "after the restart").await > id);
    received(&bob, "after the restart").await;
}

#[tokio::test]
async fn same_reference_with_another_content_is_another_message() {
    let place = Place::new();
    let node = place.start().await;
    let (mut ann, mut bob) = (phone(&node, "ann").await, phone(&node, "bob").await);
    ann.join("chat:c1").await;
    bob.join("chat:c1").await;
    let first = ann.say("c1", "m1", "this").await;
    ann.push("chat:c1", "send_message", serde_json::json!({"content": "that", "mobile_ref_id": "m1"})).await;
    let second = ann.message_sent("chat:c1", "m1").await.unwrap();
    assert_ne!(second["message_id"], first.as_str());
    received(&bob, "this").await;
    received(&bob, "that").await;
}

#[tokio::test]
async fn references_of_different_users_and_chats_have_nothing_to_do_with_each_other() {
    let place = Place::new();
    let node = place.start().await;
    let (mut ann, mut bob) = (phone(&node, "ann").await, phone(&node, "bob").await);
    for topic in ["chat:c1", "chat:c2"] {
        ann.join(topic).await;
        bob.join(topic).await;
    }
    let ids = [
        ann.say("c1", "m1", "same").await,
        ann.say("c2", "m1", "same").await,
        bob.say("c1", "m1", "same").await,
        bob.say("c2", "m1", "same").await,
    ];
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), 4, "{ids:?}");
}
