//! A replay of pending whose channel ends before the client has read it.

use roost_harness::{Client, Frame, Node, eventually};
use serde_json::json;

use crate::place::{Place, back, everything_is_routed, notifications, open, phone};

const ROWS: usize = 40;

fn place() -> Place {
    Place::new().set("chats.content_bytes_max", 62_000).set("gateway.confirm_timeout", "60s")
}

/// Bob has more pending than a socket holds, has joined his notification topic, and reads nothing; the server has
/// begun to push.
async fn bob_does_not_read_his_pending(node: &Node) -> Client {
    node.create_chat("c1", &["ann", "bob"]).await;
    let mut ann = phone(node, "ann").await;
    ann.join("chat:c1").await;
    for number in 0..ROWS {
        ann.say("c1", &number.to_string(), &format!("{number} {}", "x".repeat(60_000))).await;
    }
    everything_is_routed(node).await;
    let mut bob = open(node.connect("bob", "phone").receive_buffer(4096)).await;
    bob.stop_reading().await;
    bob.join_soon(&notifications("bob")).await;
    reaches(node, "roost_replayed_total", ROWS).await;
    bob
}

async fn reaches(node: &Node, metric: &str, value: usize) {
    let value = f64::from(u32::try_from(value).unwrap());
    eventually(metric, async || (node.metrics().await.metric(metric)? >= value).then_some(())).await;
}

fn rows<'a>(frames: impl IntoIterator<Item = &'a Frame>) -> Vec<usize> {
    let rows = frames.into_iter().filter(|frame| frame.event == "pending_notification");
    rows.map(|frame| frame.payload["content"].as_str().unwrap().split(' ').next().unwrap().parse().unwrap()).collect()
}

async fn all_come(client: &Client) -> Vec<Frame> {
    let mut frames = Vec::new();
    while frames.len() < ROWS {
        frames.push(client.expect_frame(&notifications("bob"), "pending_notification").await);
    }
    frames
}

#[tokio::test]
async fn what_was_not_read_before_leaving_comes_with_the_next_join() {
    let place = place();
    let node = place.start().await;
    let mut bob = bob_does_not_read_his_pending(&node).await;
    let left = bob.push(&notifications("bob"), "phx_leave", json!({})).await;
    reaches(&node, "roost_frames_received_total", 1 + 1 + ROWS + 1).await;
    bob.read_on().await;
    assert_eq!(bob.reply(&left).await.unwrap()["status"], "ok");
    // The Pong for what was in the socket has arrived when this is answered.
    bob.heartbeat().await.unwrap();
    let frames = bob.cut().await;
    let closed = frames.iter().position(|frame| frame.event == "phx_close").expect("the channel was closed");
    assert!(rows(&frames[closed..]).is_empty(), "nothing is pushed on a closed channel");
    let later = back(&node, "bob").await;
    assert_eq!(rows(&all_come(&later).await), Vec::from_iter(0..ROWS), "a client drops what comes after it left");
}

#[tokio::test]
async fn what_was_not_read_before_joining_again_comes_on_the_new_channel() {
    let place = place();
    let node = place.start().await;
    let mut bob = bob_does_not_read_his_pending(&node).await;
    let again = bob.join_soon(&notifications("bob")).await;
    reaches(&node, "roost_frames_received_total", 1 + 1 + ROWS + 1).await;
    bob.read_on().await;
    assert_eq!(bob.reply(&again).await.unwrap()["status"], "ok");
    let mut on_the_new = Vec::new();
    while on_the_new.len() < ROWS {
        let frame = bob.expect_frame(&notifications("bob"), "pending_notification").await;
        if frame.join_ref == again {
            on_the_new.push(frame);
        }
    }
    assert_eq!(rows(&on_the_new), Vec::from_iter(0..ROWS), "a client drops what comes for its old channel");
}
