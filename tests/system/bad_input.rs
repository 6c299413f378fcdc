//! Everything a client can get wrong in a message: it is told, and the connection and the channel live on.

use roost_harness::Client;
use serde_json::{Value, json};

use crate::place::{Place, phone};

/// Sends `payload` as text and returns `message_sent` after checking it against the reply.
async fn refused(client: &mut Client, reference: usize, payload: &str) -> Value {
    client.send_text(&format!(r#"["1","r{reference}","chat:c1","send_message",{payload}]"#)).await;
    let sent = client.expect("chat:c1", "message_sent").await;
    let reply = client.reply(&format!("r{reference}")).await.unwrap();
    assert_eq!(reply, json!({"status": "error", "response": sent}));
    assert_eq!((&sent["status"], &sent["chat_id"]), (&json!("error"), &json!("c1")), "{payload}");
    sent
}

#[tokio::test]
async fn every_bad_message_is_answered_with_its_reason_and_the_channel_lives_on() {
    let place = Place::new();
    let node = place.start().await;
    let (mut ann, mut bob) = (phone(&node, "ann").await, phone(&node, "bob").await);
    ann.join("chat:c1").await;
    bob.join("chat:c1").await;
    let long = format!(r#"{{"content":"{}","mobile_ref_id":"m"}}"#, "x".repeat(4001));
    let long_in_bytes = format!(r#"{{"content":"{}","mobile_ref_id":"m"}}"#, "🐓".repeat(1001));
    let long_reference = format!(r#"{{"content":"hi","mobile_ref_id":"{}"}}"#, "r".repeat(5000));
    let cases = [
        (r#"{"content":7,"mobile_ref_id":"m"}"#, "invalid_content", json!("m")),
        (r#"{"content":null,"mobile_ref_id":"m"}"#, "invalid_content", json!("m")),
        (r#"{"content":["a"],"mobile_ref_id":"m"}"#, "invalid_content", json!("m")),
        (r#"{"content":{"a":1},"mobile_ref_id":"m"}"#, "invalid_content", json!("m")),
        (r#"{"content":true,"mobile_ref_id":"m"}"#, "invalid_content", json!("m")),
        (r#"{"mobile_ref_id":"m"}"#, "invalid_content", json!("m")),
        (r#"{"content":"\ud800","mobile_ref_id":"m"}"#, "invalid_content", json!("m")),
        (r#"{"content":"a\udc00b","mobile_ref_id":"m"}"#, "invalid_content", json!("m")),
        (r#"{"content":"","mobile_ref_id":"m"}"#, "content_empty", json!("m")),
        (long.as_str(), "content_too_long", json!("m")),
        (long_in_bytes.as_str(), "content_too_long", json!("m")),
        (r#"{"content":"hi"}"#, "invalid_mobile_ref_id", Value::Null),
        (r#"{"content":"hi","mobile_ref_id":null}"#, "invalid_mobile_ref_id", Value::Null),
        (r#"{"content":"hi","mobile_ref_id":""}"#, "invalid_mobile_ref_id", json!("")),
        (r#"{"content":"hi","mobile_ref_id":12}"#, "invalid_mobile_ref_id", json!(12)),
        (r#"{"content":"hi","mobile_ref_id":{"a":[1]}}"#, "invalid_mobile_ref_id", json!({"a": [1]})),
        ("{}", "", Value::Null),
        ("[]", "invalid_payload", Value::Null),
        (r#"["hi","m"]"#, "invalid_payload", Value::Null),
        ("null", "invalid_payload", Value::Null),
        (r#""text""#, "invalid_payload", Value::Null),
        ("12", "invalid_payload", Value::Null),
    ];
    for (number, (payload, reason, mobile_ref_id)) in cases.iter().enumerate() {
        let sent = refused(&mut ann, number, payload).await;
        if !reason.is_empty() {
            assert_eq!(sent["reason"], *reason, "{payload}");
        }
        assert_eq!(sent["mobile_ref_id"], *mobile_ref_id, "{payload}");
        assert!(sent.get("message_id").is_none(), "{payload}");
    }
    assert_eq!(refused(&mut ann, 100, &long_reference).await["reason"], "invalid_mobile_ref_id");
    ann.say("c1", "good", "the channel lives").await;
    let first = bob.expect("chat:c1", "receive_message").await;
    assert_eq!(first["content"], "the channel lives", "nothing refused was delivered");
}

#[tokio::test]
async fn content_at_the_limit_is_accepted() {
    let place = Place::new().set("chats.content_bytes_max", 8);
    let node = place.start().await;
    let mut ann = phone(&node, "ann").await;
    ann.join("chat:c1").await;
    ann.say("c1", "m1", "🐓🐓").await;
    assert_eq!(ann.send_message("c1", "m2", "🐓🐓.").await.unwrap()["reason"], "content_too_long");
}

#[tokio::test]
async fn bad_typing_is_refused_to_the_sender_and_shown_to_nobody() {
    let place = Place::new();
    let node = place.start().await;
    let (mut ann, mut bob) = (phone(&node, "ann").await, phone(&node, "bob").await);
    ann.join("chat:c1").await;
    bob.join("chat:c1").await;
    for payload in [json!({"is_typing": "yes"}), json!({}), json!(null), json!([1])] {
        ann.push("chat:c1", "typing", payload).await;
    }
    ann.push("chat:c1", "typing", json!({"is_typing": false})).await;
    assert_eq!(bob.expect("chat:c1", "typing").await, json!({"is_typing": false, "user_id": "ann"}));
}

#[tokio::test]
async fn unknown_event_is_answered_when_it_has_a_reference_and_the_channel_lives_on() {
    let place = Place::new();
    let node = place.start().await;
    let mut ann = phone(&node, "ann").await;
    ann.join("chat:c1").await;
    let reference = ann.push("chat:c1", "dance", json!({})).await;
    let reply = ann.reply(&reference).await.unwrap();
    assert_eq!(reply, json!({"status": "error", "response": {"reason": "unknown event"}}));
    ann.say("c1", "m1", "the channel lives").await;
}

#[tokio::test]
async fn topics_that_are_none_are_refused_and_the_connection_lives_on() {
    let place = Place::new();
    let node = place.start().await;
    let mut ann = phone(&node, "ann").await;
    let (unmatched, unauthorized, not_found) = ("unmatched topic", "unauthorized", "chat_not_found");
    let topics = [
        (json!("chat:"), not_found),
        (json!(format!("chat:{}", "x".repeat(200))), not_found),
        (json!("notifications:"), unauthorized),
        (json!(format!("notification:{}", "x".repeat(200))), unauthorized),
        (json!("nowhere"), unmatched),
        (json!(""), unmatched),
        (json!(null), unmatched),
        (json!(7), unmatched),
        (json!({}), unmatched),
    ];
    for (number, (topic, reason)) in topics.into_iter().enumerate() {
        let reference = format!("t{number}");
        ann.send_text(&json!([reference, reference, topic, "phx_join", {}]).to_string()).await;
        let reply = ann.reply(&reference).await.unwrap();
        assert_eq!(reply, json!({"status": "error", "response": {"reason": reason}}), "{topic}");
    }
    ann.join("chat:c1").await;
}
