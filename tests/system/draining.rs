//! Going down in good order: SIGTERM.

use std::time::{Duration, Instant};

use roost_harness::{RawSocket, eventually, request};
use serde_json::json;

use crate::place::{Place, back, notifications, phone};

#[tokio::test]
async fn term_closes_every_connection_with_1012_and_ends_with_0() {
    let place = Place::new();
    let node = place.start().await;
    let mut clients = Vec::new();
    for number in 0..20 {
        let mut client = phone(&node, &format!("user-{number}")).await;
        // Those that have joined nothing are closed all the same.
        if number % 2 == 0 {
            client.join("chat:c1").await;
        }
        clients.push(client);
    }
    let status = node.terminate().await;
    assert_eq!(status.code(), Some(0));
    for client in clients {
        assert_eq!(client.closed().await, Some(1012));
        assert!(client.frames().iter().all(|frame| frame.event == "phx_reply"), "no channel frames before the close");
    }
}

#[tokio::test]
async fn draining_node_is_not_ready_but_alive_and_takes_no_new_connections() {
    let place = Place::new().set("gateway.drain_interval", "2s").set("gateway.drain_batch", 1);
    let node = place.start().await;
    let mut clients = Vec::new();
    for user in ["ann", "bob", "cid"] {
        clients.push(phone(&node, user).await);
    }
    let connect = node.connect("dan", "phone");
    let api = node.api_address();
    node.signal("TERM");
    eventually("readiness fails", async || {
        let answer = request(api, "GET", "/readyz", &[], "").await.ok()?;
        (answer.status == 503).then_some(())
    })
    .await;
    assert!(!clients[2].is_closed() || !clients[1].is_closed(), "readiness fails while clients are still there");
    assert_eq!(request(api, "GET", "/livez", &[], "").await.unwrap().status, 200);
    assert!(connect.open().await.is_err(), "no new connection");
    assert_eq!(node.ended().await.code(), Some(0));
}

#[tokio::test]
async fn what_is_unconfirmed_when_the_node_drains_is_stored() {
    let place = Place::new();
    let node = place.start().await;
    node.create_chat("c1", &["ann", "bob"]).await;
    let mut ann = phone(&node, "ann").await;
    ann.join("chat:c1").await;
    let mut deaf = RawSocket::open(&node.connect("bob", "phone")).await;
    deaf.text(r#"["1","1","chat:c1","phx_join",{}]"#).await;
    deaf.next_text().await;
    let id = ann.say("c1", "m1", "the last words").await;
    assert!(deaf.next_text().await.contains(&id));
    assert_eq!(node.terminate().await.code(), Some(0));
    let node = place.start().await;
    let bob = back(&node, "bob").await;
    assert_eq!(bob.expect(&notifications("bob"), "pending_notification").await["message_id"], json!(id));
}

#[tokio::test]
async fn drain_is_paced_in_batches() {
    let place = Place::new().set("gateway.drain_batch", 2).set("gateway.drain_interval", "300ms");
    let node = place.start().await;
    let mut clients = Vec::new();
    for number in 0..6 {
        clients.push(phone(&node, &format!("user-{number}")).await);
    }
    let started = Instant::now();
    node.signal("TERM");
    let mut ended = Vec::new();
    for client in &clients {
        assert_eq!(client.closed().await, Some(1012));
        ended.push(started.elapsed());
    }
    let last = ended.iter().max().unwrap();
    assert!(*last >= Duration::from_millis(450), "three batches were {last:?} apart");
    assert_eq!(node.ended().await.code(), Some(0));
}

#[tokio::test]
async fn interrupt_drains_as_well() {
    let place = Place::new();
    let node = place.start().await;
    let ann = phone(&node, "ann").await;
    node.signal("INT");
    assert_eq!(ann.closed().await, Some(1012));
    assert_eq!(node.ended().await.code(), Some(0));
}
