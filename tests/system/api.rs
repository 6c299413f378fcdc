//! The internal HTTP API: members, messages, connections, probes and metrics.

use roost_harness::{Node, eventually, request};
use serde_json::{Value, json};

use crate::place::{Place, back, notifications, phone, tablet};

async fn members(node: &Node, chat: &str) -> Value {
    node.api("GET", &format!("/v1/chats/{chat}/members"), Value::Null).await.json()["members"].clone()
}

#[tokio::test]
async fn members_are_set_added_removed_and_listed() {
    let place = Place::new();
    let node = place.start().await;
    node.create_chat("c1", &["bob", "ann"]).await;
    assert_eq!(members(&node, "c1").await, json!(["ann", "bob"]));
    assert_eq!(node.api("PUT", "/v1/chats/c1/members/cid", Value::Null).await.status, 200);
    assert_eq!(node.api("DELETE", "/v1/chats/c1/members/ann", Value::Null).await.status, 200);
    assert_eq!(node.api("DELETE", "/v1/chats/c1/members/nobody", Value::Null).await.status, 200);
    assert_eq!(members(&node, "c1").await, json!(["bob", "cid"]));
    assert_eq!(node.api("PUT", "/v1/chats/c1", json!({"members": ["dan"]})).await.status, 200);
    assert_eq!(members(&node, "c1").await, json!(["dan"]));
    let strange = "a%2Fb%20%C3%A9";
    node.api("PUT", &format!("/v1/chats/c1/members/{strange}"), Value::Null).await;
    assert_eq!(members(&node, "c1").await, json!(["a/b é", "dan"]));
    assert_eq!(node.api("GET", "/v1/chats/none/members", Value::Null).await.status, 404);
    assert_eq!(node.api("PUT", "/v1/chats/none/members/ann", Value::Null).await.status, 404);
}

#[tokio::test]
async fn everything_but_the_probes_needs_the_key() {
    let place = Place::new();
    let node = place.start().await;
    for (method, path) in [
        ("PUT", "/v1/chats/c1"),
        ("PUT", "/v1/chats/c1/members/ann"),
        ("DELETE", "/v1/chats/c1/members/ann"),
        ("GET", "/v1/chats/c1/members"),
        ("GET", "/v1/chats/c1/messages"),
        ("DELETE", "/v1/users/ann/connections"),
    ] {
        for headers in [&[][..], &["authorization: Bearer wrong".to_owned()], &["authorization: Basic x".to_owned()]] {
            let answer = request(node.api_address(), method, path, headers, "").await.unwrap();
            assert_eq!(answer.status, 401, "{method} {path}");
        }
    }
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(request(node.api_address(), "GET", path, &[], "").await.unwrap().status, 200, "{path}");
    }
    let outside = request(node.address(), "GET", "/v1/chats/c1/members", &[], "").await.unwrap();
    assert_eq!(outside.status, 404, "the API is not on the public listener");
}

#[tokio::test]
async fn bad_requests_are_answered_with_what_is_wrong() {
    let place = Place::new();
    let node = place.start().await;
    for (method, path, body, status) in [
        ("PUT", "/v1/chats/c1", json!({}), 400),
        ("PUT", "/v1/chats/c1", json!({"members": "ann"}), 400),
        ("PUT", "/v1/chats/c1", json!({"members": [1]}), 400),
        ("PUT", "/v1/chats/c1", json!({"members": [""]}), 400),
        ("PUT", "/v1/chats/c1/members/%00", Value::Null, 400),
        ("GET", "/v1/chats/c1/messages?limit=x", Value::Null, 400),
        ("POST", "/v1/chats/c1", Value::Null, 405),
        ("GET", "/v1/nothing", Value::Null, 404),
    ] {
        let answer = node.api(method, path, body.clone()).await;
        assert_eq!(answer.status, status, "{method} {path} {body}: {}", answer.body);
        assert!(answer.json()["detail"].is_string(), "{method} {path} {body}: {}", answer.body);
    }
}

#[tokio::test]
async fn removed_members_channel_is_closed_and_nothing_reaches_them_afterwards() {
    let place = Place::new().set("chats.open_join", false);
    let node = place.start().await;
    node.create_chat("c1", &["ann", "bob", "cid"]).await;
    let (mut ann, mut bob, mut cid) =
        (phone(&node, "ann").await, phone(&node, "bob").await, tablet(&node, "cid").await);
    ann.join("chat:c1").await;
    bob.join("chat:c1").await;
    bob.join(&notifications("bob")).await;
    cid.join("chat:c1").await;
    ann.say("c1", "m1", "before").await;
    node.api("DELETE", "/v1/chats/c1/members/bob", Value::Null).await;
    let close = bob.expect_frame("chat:c1", "phx_close").await;
    assert_eq!((&close.join_ref, &close.payload), (&close.reference, &json!({})));
    let before = bob.expect("chat:c1", "receive_message").await;
    assert_eq!(before["content"], "before");
    ann.say("c1", "m2", "after").await;
    for content in ["before", "after"] {
        assert_eq!(cid.expect("chat:c1", "receive_message").await["content"], content);
    }
    let reference = bob.push("chat:c1", "send_message", json!({"content": "x", "mobile_ref_id": "1"})).await;
    assert_eq!(bob.reply(&reference).await.unwrap()["response"]["reason"], "unmatched topic");
    assert_eq!(bob.join_refused("chat:c1").await, "unauthorized");
    node.api("PUT", "/v1/chats/c1/members/bob", Value::Null).await;
    ann.say("c1", "m3", "welcome back").await;
    let told = bob.expect(&notifications("bob"), "new_notification").await;
    assert_eq!(told["content"], "welcome back", "nothing said in between");
    assert!(bob.untaken().is_empty(), "{:?}", bob.untaken());
}

#[tokio::test]
async fn change_of_members_takes_effect_at_its_place_among_the_messages() {
    let place = Place::new();
    let node = place.start().await;
    node.create_chat("c1", &["ann"]).await;
    let mut ann = phone(&node, "ann").await;
    ann.join("chat:c1").await;
    ann.say("c1", "m1", "alone").await;
    node.api("PUT", "/v1/chats/c1/members/bob", Value::Null).await;
    ann.say("c1", "m2", "with bob").await;
    node.api("DELETE", "/v1/chats/c1/members/bob", Value::Null).await;
    ann.say("c1", "m3", "alone again").await;
    node.api("PUT", "/v1/chats/c1/members/bob", Value::Null).await;
    ann.say("c1", "m4", "with bob again").await;
    let bob = back(&node, "bob").await;
    for content in ["with bob", "with bob again"] {
        assert_eq!(bob.expect(&notifications("bob"), "pending_notification").await["content"], content);
    }
}

#[tokio::test]
async fn messages_are_read_by_sequence_a_page_at_a_time() {
    let place = Place::new();
    let node = place.start().await;
    let mut ann = phone(&node, "ann").await;
    ann.join("chat:c1").await;
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(json!(ann.say("c1", &number.to_string(), &format!("number {number}")).await));
    }
    eventually("history holds them all", async || {
        let page = node.api("GET", "/v1/chats/c1/messages?after=0&limit=100", Value::Null).await.json();
        (page["messages"].as_array()?.len() == 5).then_some(())
    })
    .await;
    let (mut after, mut found) = (json!(0), Vec::new());
    while !after.is_null() {
        let page = node.api("GET", &format!("/v1/chats/c1/messages?after={after}&limit=2"), Value::Null).await.json();
        let messages = page["messages"].as_array().unwrap().clone();
        assert!(messages.len() <= 2);
        found.extend(messages);
        after = page["next"].clone();
    }
    let found_ids: Vec<_> = found.iter().map(|message| message["message_id"].clone()).collect();
    assert_eq!(found_ids, ids);
    assert_eq!((&found[3]["content"], &found[3]["sender_id"]), (&json!("number 3"), &json!("ann")));
}

#[tokio::test]
async fn users_connections_can_be_ended() {
    let place = Place::new();
    let node = place.start().await;
    let (mut one, mut two, mut other) =
        (phone(&node, "ann").await, tablet(&node, "ann").await, phone(&node, "bob").await);
    one.join(&notifications("ann")).await;
    two.join("chat:c1").await;
    let answer = node.api("DELETE", "/v1/users/ann/connections", Value::Null).await;
    assert!((200..300).contains(&answer.status), "{answer:?}");
    assert_eq!(one.closed().await, Some(1001));
    assert_eq!(two.closed().await, Some(1001));
    other.heartbeat().await.expect("others stay");
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let place = Place::new();
    let node = place.start().await;
    let start = node.metrics().await;
    for line in start.body.lines().filter(|line| !line.starts_with('#') && line.starts_with("roost_")) {
        assert!(line.is_ascii() && !line.contains("ann"), "{line}");
    }
    assert_eq!(
        start.metric(r#"roost_messages_total{result="sent"}"#),
        Some(0.0),
        "every value is there from the start"
    );
    let mut ann = phone(&node, "ann").await;
    ann.join("chat:c1").await;
    ann.say("c1", "m1", "counted").await;
    let now = node.metrics().await;
    assert_eq!(now.metric(r#"roost_messages_total{result="sent"}"#), Some(1.0));
    assert_eq!(now.metric("roost_connections"), Some(1.0));
}
