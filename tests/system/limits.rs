//! Every bound a client can run into, and what happens there.

use std::time::{Duration, Instant};

use roost_harness::{Client, Node, RawSocket, eventually};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::place::{Place, back, notifications, open, phone};

/// Ann says much while Bob, in the room, does not read; then Bob comes back and must find everything, in order.
async fn bob_is_closed_and_finds_everything_later(node: &Node, mut bob: Client, count: usize) {
    let mut ann = phone(node, "ann").await;
    ann.join("chat:c1").await;
    bob.join("chat:c1").await;
    bob.stop_reading().await;
    let said: Vec<_> = (0..count).map(|number| format!("{number} {}", "x".repeat(60_000))).collect();
    for (number, content) in said.iter().enumerate() {
        ann.say("c1", &number.to_string(), content).await;
    }
    let closed = r#"roost_connections_closed_total{cause="slow_client"}"#;
    eventually("the server gives up on the connection", async || {
        (node.metrics().await.metric(closed) == Some(1.0)).then_some(())
    })
    .await;
    bob.read_on().await;
    // The close frame may have found no room any more.
    assert!(matches!(bob.closed().await, None | Some(1013)));
    let frames = bob.frames();
    let mut seen: Vec<_> = frames.iter().filter(|frame| frame.event == "receive_message").collect();
    let later = back(node, "bob").await;
    let stored = later.expect(&notifications("bob"), "pending_notification").await;
    // What was in flight may come twice, but there is no hole between what was seen and what was stored.
    let first: usize = stored["content"].as_str().unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(first <= seen.len(), "stored from {first} on, seen were {}", seen.len());
    assert!(seen.len() < count, "the client did not take everything");
    for content in &said[first + 1..] {
        assert_eq!(later.expect(&notifications("bob"), "pending_notification").await["content"], content.as_str());
    }
    seen.dedup_by_key(|frame| frame.payload["message_id"].to_string());
    for (frame, content) in seen.iter().zip(&said) {
        assert_eq!(frame.payload["content"], content.as_str());
    }
}

#[tokio::test]
async fn slow_client_is_closed_and_its_messages_become_pending() {
    let place = Place::new()
        .set("gateway.outbound_bytes_max", 262_144)
        .set("chats.content_bytes_max", 62_000)
        .set("gateway.confirm_timeout", "60s");
    let node = place.start().await;
    let bob = open(node.connect("bob", "phone").receive_buffer(4096)).await;
    bob_is_closed_and_finds_everything_later(&node, bob, 100).await;
}

#[tokio::test]
async fn client_that_answers_no_ping_is_closed_and_its_messages_become_pending() {
    let place = Place::new().set("gateway.confirm_timeout", "1s");
    let node = place.start().await;
    let mut ann = phone(&node, "ann").await;
    ann.join("chat:c1").await;
    let mut deaf = RawSocket::open(&node.connect("bob", "phone")).await;
    deaf.text(r#"["1","1","chat:c1","phx_join",{}]"#).await;
    deaf.next_text().await;
    let id = ann.say("c1", "m1", "can you hear me?").await;
    assert!(deaf.next_text().await.contains(&id));
    assert_eq!(deaf.close_code().await, Some(1013));
    let bob = back(&node, "bob").await;
    assert_eq!(bob.expect(&notifications("bob"), "pending_notification").await["message_id"], json!(id));
}

#[tokio::test]
async fn client_that_sends_too_fast_is_slowed_down_and_every_frame_is_answered() {
    let place = Place::new().set("gateway.inbound_rate", 20);
    let node = place.start().await;
    let mut ann = phone(&node, "ann").await;
    let started = Instant::now();
    for number in 0..100 {
        ann.send_text(&json!([null, number.to_string(), "phoenix", "heartbeat", {}]).to_string()).await;
    }
    for number in 0..100 {
        ann.reply(&number.to_string()).await.unwrap();
    }
    // A burst of two seconds' worth is free; the other 60 come at 20 a second.
    assert!(started.elapsed() > Duration::from_millis(2500), "{:?}", started.elapsed());
    assert!(node.metrics().await.metric("roost_throttled_total") > Some(0.0));
    ann.heartbeat().await.unwrap();
}

#[tokio::test]
async fn frame_over_the_limit_closes_with_1009_and_one_at_the_limit_does_not() {
    let place = Place::new().set("gateway.frame_bytes_max", 2000).set("chats.content_bytes_max", 100);
    let node = place.start().await;
    let mut ann = phone(&node, "ann").await;
    let heartbeat = |bytes: usize| {
        let empty = json!([null, "h", "phoenix", "heartbeat", ""]).to_string();
        json!([null, "h", "phoenix", "heartbeat", "x".repeat(bytes - empty.len())]).to_string()
    };
    ann.send_text(&heartbeat(2000)).await;
    ann.reply("h").await.unwrap();
    ann.send_text(&heartbeat(2001)).await;
    assert_eq!(ann.closed().await, Some(1009));
    ann = phone(&node, "ann").await;
    ann.send_binary(&[0; 5000]).await;
    assert_eq!(ann.closed().await, Some(1009));
}

#[tokio::test]
async fn fragments_together_over_the_limit_close_with_1009() {
    let place = Place::new().set("gateway.frame_bytes_max", 2000).set("chats.content_bytes_max", 100);
    let node = place.start().await;
    let mut socket = RawSocket::open(&node.connect("ann", "phone")).await;
    socket.send(0x01, true, &[b'['; 1200]).await.unwrap();
    socket.send(0x80, true, &[b'['; 1200]).await.unwrap();
    assert_eq!(socket.close_code().await, Some(1009));
}

#[tokio::test]
async fn connection_over_the_limit_is_refused_until_one_goes() {
    let place = Place::new().set("gateway.connections_max", 2);
    let node = place.start().await;
    let (first, _second) = (phone(&node, "ann").await, phone(&node, "bob").await);
    let connect = node.connect("cid", "phone");
    let refused = connect.open().await.unwrap_err();
    assert_eq!(refused.status, 503, "{}", refused.body);
    first.close().await;
    eventually("a place is free again", async || connect.open().await.ok()).await;
}

#[tokio::test]
async fn connection_that_does_not_finish_its_handshake_is_dropped() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let place = Place::new().set("gateway.handshake_timeout", "1s");
    let node = place.start().await;
    let mut silent = tokio::net::TcpStream::connect(node.address()).await.unwrap();
    let mut slow = tokio::net::TcpStream::connect(node.address()).await.unwrap();
    slow.write_all(b"GET /socket/websocket HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    for stream in [&mut silent, &mut slow] {
        let mut rest = Vec::new();
        let end = tokio::time::timeout(roost_harness::PATIENCE, stream.read_to_end(&mut rest)).await;
        end.expect("the server hangs up").ok();
        assert!(!rest.starts_with(b"HTTP/1.1 101"));
    }
}

#[tokio::test]
async fn topics_of_a_connection_are_bounded_and_leaving_frees_a_place() {
    let place = Place::new().set("gateway.topics_max", 3);
    let node = place.start().await;
    let mut ann = phone(&node, "ann").await;
    for topic in ["chat:c1", "chat:c2", "notifications:ann"] {
        ann.join(topic).await;
    }
    assert_eq!(ann.join_refused("chat:c3").await, "too many channels joined");
    ann.leave("chat:c1").await.unwrap();
    ann.join("chat:c3").await;
}

#[tokio::test]
async fn idle_connection_is_closed_with_1002_and_a_heartbeat_keeps_one_open() {
    let place = Place::new().set("gateway.idle_timeout", "1s");
    let node = place.start().await;
    let (idle, mut busy) = (phone(&node, "ann").await, phone(&node, "bob").await);
    while !idle.is_closed() {
        busy.heartbeat().await.expect("a busy connection stays open");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(idle.closed().await, Some(1002));
}

#[tokio::test]
async fn socket_that_goes_on_asking_keeps_no_place() {
    let place = Place::new().set("gateway.connections_max", 1);
    let node = place.start().await;
    let mut socket = tokio::net::TcpStream::connect(node.address()).await.unwrap();
    socket.write_all(b"GET / HTTP/1.1\r\nHost: roost\r\nConnection: keep-alive\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("the server ends it after one answer");
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    let mut ann = eventually("the place is free", async || node.connect("ann", "phone").open().await.ok()).await;
    ann.heartbeat().await.unwrap();
}
