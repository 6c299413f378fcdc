//! Exact frames through a real socket: what the parts that know no socket can not show.

use roost_harness::{RawSocket, Version};
use serde_json::json;

use crate::place::{Place, open, phone};

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const PING: u8 = 0x89;

#[tokio::test]
async fn frames_of_a_v2_conversation_are_exact_to_the_byte() {
    let place = Place::new();
    let node = place.start().await;
    let mut ann = RawSocket::open(&node.connect("ann", "phone")).await;
    for (sent, expected) in [
        (r#"[null,"1","phoenix","heartbeat",{}]"#, r#"[null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]"#),
        (r#"["j",7,"phoenix","heartbeat",null]"#, r#"[null,7,"phoenix","phx_reply",{"status":"ok","response":{}}]"#),
        (
            r#" ["a","2","chat:c1","typing",{}, 1] "#,
            r#"[null,"2","chat:c1","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]"#,
        ),
        (r#"["3","3","chat:c1","phx_join",{}]"#, r#"["3","3","chat:c1","phx_reply",{"status":"ok","response":{}}]"#),
        (
            r#"["3","4","chat:c1","dance",{}]"#,
            r#"["3","4","chat:c1","phx_reply",{"status":"error","response":{"reason":"unknown event"}}]"#,
        ),
        (r#"["3","5","chat:c1","phx_leave",{}]"#, r#"["3","5","chat:c1","phx_reply",{"status":"ok","response":{}}]"#),
        ("", r#"["3","3","chat:c1","phx_close",{}]"#),
        (r#"["3","6","chat:c1","phx_leave",{}]"#, r#"["3","6","chat:c1","phx_reply",{"status":"ok","response":{}}]"#),
    ] {
        if !sent.is_empty() {
            ann.text(sent).await;
        }
        assert_eq!(ann.next_text().await, expected, "after {sent}");
    }
}

#[tokio::test]
async fn frames_of_a_v1_conversation_are_exact() {
    let place = Place::new();
    let node = place.start().await;
    let mut ann = RawSocket::open(&node.connect("ann", "phone").version(Version::V1)).await;
    let mut bob = phone(&node, "bob").await;
    bob.join("chat:c1").await;
    for (sent, expected) in [
        (
            json!({"topic": "phoenix", "event": "heartbeat", "payload": {}, "ref": "1"}),
            json!({"topic": "phoenix", "event": "phx_reply", "payload": {"status": "ok", "response": {}}, "ref": "1"}),
        ),
        (
            json!({"topic": "chat:c1", "event": "phx_join", "payload": {}, "ref": 2}),
            json!({"topic": "chat:c1", "event": "phx_reply", "payload": {"status": "ok", "response": {}}, "ref": 2}),
        ),
    ] {
        ann.text(&sent.to_string()).await;
        let answer: serde_json::Value = serde_json::from_str(&ann.next_text().await).unwrap();
        assert_eq!(answer, expected);
    }
    bob.push("chat:c1", "typing", json!({"is_typing": true})).await;
    let typing: serde_json::Value = serde_json::from_str(&ann.next_text().await).unwrap();
    let payload = json!({"is_typing": true, "user_id": "bob"});
    assert_eq!(typing, json!({"topic": "chat:c1", "event": "typing", "payload": payload, "ref": null}));
}

#[tokio::test]
async fn duplicate_join_is_answered_before_the_old_channel_is_closed() {
    let place = Place::new();
    let node = place.start().await;
    let mut ann = RawSocket::open(&node.connect("ann", "phone")).await;
    ann.text(r#"["1","1","chat:c1","phx_join",{}]"#).await;
    ann.next_text().await;
    ann.text(r#"["2","2","chat:c1","phx_join",{}]"#).await;
    assert_eq!(ann.next_text().await, r#"["2","2","chat:c1","phx_reply",{"status":"ok","response":{}}]"#);
    assert_eq!(ann.next_text().await, r#"["1","1","chat:c1","phx_close",{}]"#);
    // The old join's reference is stale: silence, then the heartbeat.
    ann.text(r#"["1","3","chat:c1","dance",{}]"#).await;
    ann.text(r#"[null,"4","phoenix","heartbeat",{}]"#).await;
    assert_eq!(ann.next_text().await, r#"[null,"4","phoenix","phx_reply",{"status":"ok","response":{}}]"#);
}

#[tokio::test]
async fn fragments_are_put_together_with_control_frames_between_them() {
    let place = Place::new();
    let node = place.start().await;
    let mut ann = RawSocket::open(&node.connect("ann", "phone")).await;
    ann.send(0x01, true, br#"[null,"1","pho"#).await.unwrap();
    ann.send(PING, true, b"still here").await.unwrap();
    ann.send(0x00, true, br#"enix","heart"#).await.unwrap();
    ann.send(0x80, true, br#"beat",{}]"#).await.unwrap();
    assert_eq!(ann.next().await, Some((0x0a, b"still here".to_vec())));
    assert_eq!(ann.next_text().await, r#"[null,"1","phoenix","phx_reply",{"status":"ok","response":{}}]"#);
}

#[tokio::test]
async fn letter_cut_in_two_by_a_fragment_is_valid() {
    let place = Place::new();
    let node = place.start().await;
    let mut ann = RawSocket::open(&node.connect("ann", "phone")).await;
    let text = "[null,\"é\",\"phoenix\",\"heartbeat\",{}]".as_bytes();
    let middle = text.iter().position(|byte| *byte >= 0x80).unwrap() + 1;
    ann.send(0x01, true, &text[..middle]).await.unwrap();
    ann.send(0x80, true, &text[middle..]).await.unwrap();
    assert_eq!(ann.next_text().await, r#"[null,"é","phoenix","phx_reply",{"status":"ok","response":{}}]"#);
}

#[tokio::test]
async fn broken_frames_close_the_connection_with_the_code_for_their_kind() {
    let place = Place::new();
    let node = place.start().await;
    let cases: [(&str, u8, bool, &[u8], u16); 14] = [
        ("bytes that are not UTF-8", TEXT, true, b"[\"\xff\"]", 1007),
        ("a frame without a mask", TEXT, false, br#"[null,"1","phoenix","heartbeat",{}]"#, 1002),
        ("a reserved bit", 0xc1, true, b"[]", 1002),
        ("an opcode that does not exist", 0x83, true, b"", 1002),
        ("a fragmented Ping", 0x09, true, b"", 1002),
        ("a continuation of nothing", 0x80, true, b"", 1002),
        ("no JSON", TEXT, true, b"hello", 1011),
        ("an empty text", TEXT, true, b"", 1011),
        ("an object on V2", TEXT, true, b"{}", 1011),
        ("four elements", TEXT, true, br#"[null,"1","phoenix","heartbeat"]"#, 1011),
        ("JSON that does not end", TEXT, true, br#"[null,"1","phoenix","heartbeat",{}"#, 1011),
        ("an empty binary", BINARY, true, b"", 1011),
        ("a binary that is no push", BINARY, true, b"\x07\x00\x00\x00\x00", 1011),
        ("a binary header cut off", BINARY, true, b"\x00\x01", 1011),
    ];
    for (what, first, masked, payload, code) in cases {
        let mut socket = RawSocket::open(&node.connect("ann", "phone")).await;
        socket.send(first, masked, payload).await.unwrap();
        assert_eq!(socket.close_code().await, Some(code), "{what}");
    }
}

#[tokio::test]
async fn malformed_v1_frames_close_with_1011() {
    let place = Place::new();
    let node = place.start().await;
    for text in ["[]", r#"{"topic":"phoenix","event":"heartbeat","payload":{}}"#, "7"] {
        let mut socket = RawSocket::open(&node.connect("ann", "phone").version(Version::V1)).await;
        socket.text(text).await;
        assert_eq!(socket.close_code().await, Some(1011), "{text}");
    }
}

#[tokio::test]
async fn close_by_the_client_is_answered_with_its_own_code() {
    let place = Place::new();
    let node = place.start().await;
    for sent in [&b""[..], &1000_u16.to_be_bytes(), &1001_u16.to_be_bytes(), &4999_u16.to_be_bytes()] {
        let mut socket = RawSocket::open(&node.connect("ann", "phone")).await;
        socket.send(0x88, true, sent).await.unwrap();
        let answer = socket.next().await.expect("an answer before the end");
        assert_eq!(answer, (8, sent.to_vec()));
        assert_eq!(socket.next().await, None, "and then the end");
    }
}

#[tokio::test]
async fn crash_of_one_connection_leaves_the_others_alone() {
    let place = Place::new();
    let node = place.start().await;
    let mut ann = open(node.connect("ann", "phone")).await;
    ann.join("chat:c1").await;
    let bad = phone(&node, "bob").await;
    bad.send_text("no JSON").await;
    assert_eq!(bad.closed().await, Some(1011));
    ann.say("c1", "m1", "unharmed").await;
}
