//! Talking in a chat's room.

use serde_json::{Value, json};

use crate::place::{Place, everything_is_routed, notifications, open, phone, tablet};

#[tokio::test]
async fn message_reaches_the_others_in_the_room_and_the_senders_other_device_but_not_the_sender() {
    let place = Place::new();
    let node = place.start().await;
    let (mut ann, mut ann_too, mut bob) =
        (phone(&node, "ann").await, tablet(&node, "ann").await, phone(&node, "bob").await);
    for client in [&mut ann, &mut ann_too, &mut bob] {
        client.join("chat:c1").await;
    }
    let sent = ann.send_message("c1", "m1", "Hey").await.unwrap();
    let id = sent["message_id"].as_str().unwrap();
    let timestamp = sent["timestamp"].as_str().unwrap();
    assert_eq!(
        sent,
        json!({"mobile_ref_id": "m1", "status": "sent", "chat_id": "c1", "message_id": id, "timestamp": timestamp})
    );
    assert_eq!((id.len(), timestamp.len(), &timestamp[23..]), (24, 24, "Z"));
    let received =
        json!({"chat_id": "c1", "content": "Hey", "sender_id": "ann", "message_id": id, "timestamp": timestamp});
    for client in [&ann_too, &bob] {
        let frame = client.expect_frame("chat:c1", "receive_message").await;
        assert_eq!(frame.array(), json!([null, null, "chat:c1", "receive_message", received]));
    }
    bob.say("c1", "m2", "Hello").await;
    assert_eq!(ann.expect("chat:c1", "receive_message").await["content"], "Hello", "the first thing ann receives");
}

#[tokio::test]
async fn message_sent_is_a_push_with_the_join_ref_and_the_reply_says_the_same() {
    let place = Place::new();
    let node = place.start().await;
    let mut ann = phone(&node, "ann").await;
    let join_ref = ann.join_soon("chat:c1").await;
    ann.reply(&join_ref).await.unwrap();
    let reference = ann.push("chat:c1", "send_message", json!({"content": "Hey", "mobile_ref_id": "m1"})).await;
    let pushed = ann.expect_frame("chat:c1", "message_sent").await;
    assert_eq!((pushed.join_ref, pushed.reference), (json!(join_ref), Value::Null));
    assert_eq!(ann.reply(&reference).await.unwrap(), json!({"status": "ok", "response": pushed.payload}));
}

#[tokio::test]
async fn message_sent_right_behind_the_join_is_accepted() {
    let place = Place::new();
    let node = place.start().await;
    let mut ann = phone(&node, "ann").await;
    let join = ann.join_soon("chat:c1").await;
    let payload = json!({"content": "at once", "mobile_ref_id": "m1"});
    ann.push("chat:c1", "send_message", payload).await;
    let first = ann.next().await;
    assert_eq!((first.event.as_str(), &first.reference), ("phx_reply", &json!(join)));
    assert_eq!(ann.expect("chat:c1", "message_sent").await["status"], "sent");
}

#[tokio::test]
async fn messages_of_a_burst_arrive_in_the_order_they_were_sent() {
    let place = Place::new();
    let node = place.start().await;
    let (mut ann, mut bob) = (phone(&node, "ann").await, phone(&node, "bob").await);
    ann.join("chat:c1").await;
    bob.join("chat:c1").await;
    for number in 0..40 {
        let payload = json!({"content": number.to_string(), "mobile_ref_id": number.to_string()});
        ann.push("chat:c1", "send_message", payload).await;
    }
    let mut last = String::new();
    for number in 0..40 {
        let message = bob.expect("chat:c1", "receive_message").await;
        assert_eq!(message["content"], number.to_string());
        let id = message["message_id"].as_str().unwrap().to_owned();
        assert!(id > last, "ids sort as the messages do");
        last = id;
    }
}

#[tokio::test]
async fn typing_reaches_the_others_only_gets_no_reply_and_is_not_stored() {
    let place = Place::new();
    let node = place.start().await;
    let (mut ann, mut bob, mut cid) = (phone(&node, "ann").await, phone(&node, "bob").await, phone(&node, "cid").await);
    cid.join("chat:c1").await;
    cid.leave("chat:c1").await.unwrap();
    ann.join("chat:c1").await;
    bob.join("chat:c1").await;
    let reference = ann.push("chat:c1", "typing", json!({"is_typing": true})).await;
    let typing = bob.expect_frame("chat:c1", "typing").await;
    assert_eq!(typing.array(), json!([null, null, "chat:c1", "typing", {"is_typing": true, "user_id": "ann"}]));
    ann.heartbeat().await.unwrap();
    assert!(ann.frames().iter().all(|frame| frame.reference != reference && frame.event != "typing"));

    ann.say("c1", "m1", "done").await;
    everything_is_routed(&node).await;
    cid.join(&notifications("cid")).await;
    assert_eq!(cid.expect(&notifications("cid"), "pending_notification").await["content"], "done");
    assert!(cid.untaken().iter().all(|frame| frame.event == "phx_close"), "{:?}", cid.untaken());
}

#[tokio::test]
async fn one_who_left_the_room_receives_nothing_there_any_more() {
    let place = Place::new();
    let node = place.start().await;
    let (mut ann, mut bob) = (phone(&node, "ann").await, phone(&node, "bob").await);
    ann.join("chat:c1").await;
    bob.join("chat:c1").await;
    bob.join(&notifications("bob")).await;
    bob.leave("chat:c1").await.unwrap();
    ann.say("c1", "m1", "still there?").await;
    assert_eq!(bob.expect(&notifications("bob"), "new_notification").await["content"], "still there?");
    assert!(bob.untaken().iter().all(|frame| frame.event == "phx_close"), "{:?}", bob.untaken());
}

#[tokio::test]
async fn contents_arrive_exactly_as_they_were_written() {
    let place = Place::new();
    let node = place.start().await;
    let (mut ann, mut bob) = (phone(&node, "ann").await, phone(&node, "bob").await);
    ann.join("chat:c1").await;
    bob.join("chat:c1").await;
    let contents = ["\u{0}nul\u{0}", "🐓🏡", "\u{feff}bom", "\"quoted\" \\ / \n\t\u{7f}", "e\u{301}", " ", "\u{2028}"];
    for (number, content) in contents.into_iter().enumerate() {
        ann.say("c1", &number.to_string(), content).await;
        assert_eq!(bob.expect("chat:c1", "receive_message").await["content"], content);
    }
}

#[tokio::test]
async fn devices_are_told_apart_and_two_connections_of_one_device_both_receive() {
    let place = Place::new();
    let node = place.start().await;
    let mut ann = phone(&node, "ann").await;
    ann.join("chat:c1").await;
    let mut bobs = [open(node.connect("bob", "phone")).await, open(node.connect("bob", "phone")).await];
    for bob in &mut bobs {
        bob.join("chat:c1").await;
    }
    ann.say("c1", "m1", "both").await;
    for bob in &bobs {
        assert_eq!(bob.expect("chat:c1", "receive_message").await["content"], "both");
    }
}
