//! The HTTP API of one gateway, about users on another.

use roost_harness::cluster::Gateway;
use serde_json::{Value, json};

use crate::place::{cluster, listener, notifications, open, phone, visitor};

async fn members(gateway: &Gateway, chat: &str) -> Value {
    gateway.api("GET", &format!("/v1/chats/{chat}/members"), Value::Null).await.json()["members"].clone()
}

async fn contents(gateway: &Gateway, chat: &str) -> Vec<String> {
    let page = gateway.api("GET", &format!("/v1/chats/{chat}/messages"), Value::Null).await.json();
    let messages = page["messages"].as_array().unwrap();
    messages.iter().map(|message| message["content"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn users_connections_are_closed_on_every_gateway_by_asking_any() {
    let cluster = cluster().await;
    let (here, there, _fanout) = (cluster.gateway().await, cluster.gateway().await, cluster.fanout().await);
    here.create_chat("c1", &["ann", "bob"]).await;
    let bob = visitor(&there, "bob", ["c1"]).await;
    for asked in [&here, &there] {
        let (anns_phone, mut anns_tablet) = (listener(&here, "ann").await, open(&there, "ann", "tablet").await);
        anns_tablet.join("chat:c1").await;
        let answer = asked.api("DELETE", "/v1/users/ann/connections", Value::Null).await;
        assert_eq!((answer.status, answer.json()), (202, json!({"gateways": 2, "connections": 2})));
        assert_eq!((anns_phone.closed().await, anns_tablet.closed().await), (Some(1001), Some(1001)));
    }
    let (mut anns_phone, mut anns_tablet) = (listener(&here, "ann").await, open(&there, "ann", "tablet").await);
    anns_tablet.join("chat:c1").await;
    let answer = here.api("DELETE", "/v1/users/ann/connections?device=tablet", Value::Null).await;
    assert_eq!((answer.status, answer.json()), (202, json!({"gateways": 1, "connections": 1})));
    assert_eq!(anns_tablet.closed().await, Some(1001));
    anns_phone.heartbeat().await.unwrap();
    assert!(!bob.is_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_added_and_removed_through_one_gateway_while_they_are_on_another() {
    let cluster = cluster().await;
    let (here, there) = (cluster.gateway().await, cluster.gateway().await);
    let (_one, _two) = (cluster.fanout().await, cluster.fanout().await);
    here.create_chat("c1", &["ann"]).await;
    let (mut ann, mut bob) = (visitor(&there, "ann", ["c1"]).await, phone(&there, "bob").await);
    assert_eq!(bob.join_refused("chat:c1").await, "unauthorized");
    assert_eq!(here.api("PUT", "/v1/chats/c1/members/bob", Value::Null).await.status, 200);
    bob.join("chat:c1").await;
    assert_eq!(members(&there, "c1").await, json!(["ann", "bob"]));

    ann.say("c1", "m1", "before").await;
    // What he had not confirmed would come again.
    cluster.everything_is_delivered().await;
    assert_eq!(here.api("DELETE", "/v1/chats/c1/members/bob", Value::Null).await.status, 200);
    assert_eq!(bob.expect("chat:c1", "receive_message").await["content"], "before");
    bob.expect("chat:c1", "phx_close").await;
    ann.say("c1", "m2", "after").await;
    assert_eq!(bob.join_refused("chat:c1").await, "unauthorized");
    bob.join(&notifications("bob")).await;
    cluster.everything_is_delivered().await;
    bob.heartbeat().await.unwrap();
    assert!(bob.untaken().is_empty(), "nothing that was said after: {:?}", bob.untaken());
    assert_eq!(there.api("PUT", "/v1/chats/c1/members/bob", Value::Null).await.status, 200);
    ann.say("c1", "m3", "welcome back").await;
    assert_eq!(bob.expect(&notifications("bob"), "new_notification").await["content"], "welcome back");
    assert_eq!(members(&here, "c1").await, json!(["ann", "bob"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn members_and_messages_are_the_same_through_every_gateway() {
    let cluster = cluster().await;
    let (here, there) = (cluster.gateway().await, cluster.gateway().await);
    let (_one, _two) = (cluster.fanout().await, cluster.fanout().await);
    let mut expected = Vec::new();
    for (chat, gateway, other) in [("c1", &here, &there), ("c2", &there, &here), ("c3", &here, &there)] {
        gateway.create_chat(chat, &["bob", "ann"]).await;
        // What has been answered holds at once, everywhere.
        assert_eq!(members(other, chat).await, json!(["ann", "bob"]));
        let mut ann = visitor(other, "ann", [chat]).await;
        for number in 0..10 {
            let content = format!("{chat} {number}");
            ann.say(chat, &content, &content).await;
            expected.push((chat, content));
        }
    }
    cluster.everything_is_routed().await;
    for gateway in [&here, &there] {
        for chat in ["c1", "c2", "c3"] {
            let of_chat = expected.iter().filter(|(of, _)| *of == chat).map(|(_, content)| content.clone());
            assert_eq!(contents(gateway, chat).await, of_chat.collect::<Vec<_>>());
            assert_eq!(members(gateway, chat).await, json!(["ann", "bob"]));
        }
    }
}
