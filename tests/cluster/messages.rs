//! What users on different gateways have of each other.

use roost_harness::{Client, eventually};
use serde_json::{Value, json};

use crate::place::{cluster, listener, notifications, open, visitor};

/// Sends without waiting, then has every answer.
async fn burst(client: &mut Client, chat: &str, contents: &[String]) {
    let topic = format!("chat:{chat}");
    for content in contents {
        client.push(&topic, "send_message", json!({"content": content, "mobile_ref_id": content})).await;
    }
    for content in contents {
        assert_eq!(client.message_sent(&topic, content).await.unwrap()["status"], "sent", "{content}");
    }
}

/// Contents and ids of messages on a topic, as they came.
fn received(client: &Client, topic: &str, event: &str) -> Vec<(String, String)> {
    let frames = client.frames().into_iter().filter(|frame| frame.is(topic, event));
    frames.map(|frame| (frame.text("message_id").to_owned(), frame.text("content").to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_go_both_ways_between_gateways_and_everyone_sees_one_order() {
    let cluster = cluster().await;
    let (here, there) = (cluster.gateway().await, cluster.gateway().await);
    let (_one, _two) = (cluster.fanout().await, cluster.fanout().await);
    here.create_chat("c1", &["ann", "bob", "cid", "dan"]).await;
    let (mut ann, mut bob) = (visitor(&here, "ann", ["c1"]).await, visitor(&there, "bob", ["c1"]).await);
    let (cid, dan) = (visitor(&here, "cid", ["c1"]).await, listener(&there, "dan").await);

    let said = |who: &str| (0..50).map(|number| format!("{who} {number}")).collect::<Vec<_>>();
    let (anns, bobs) = (said("ann"), said("bob"));
    tokio::join!(burst(&mut ann, "c1", &anns), burst(&mut bob, "c1", &bobs));
    let mut seen = Vec::new();
    for (client, topic, event, count) in [
        (&ann, "chat:c1", "receive_message", 50),
        (&bob, "chat:c1", "receive_message", 50),
        (&cid, "chat:c1", "receive_message", 100),
        (&dan, &*notifications("dan"), "new_notification", 100),
    ] {
        for _ in 0..count {
            client.expect(topic, event).await;
        }
        seen.push(received(client, topic, event));
    }
    let [ann_saw, bob_saw, cid_saw, dan_saw] = &seen[..] else { unreachable!("four clients") };
    assert!(cid_saw.is_sorted_by(|a, b| a.0 < b.0), "in the order of the ids, nothing twice");
    assert_eq!(dan_saw, cid_saw, "the same order on both gateways, in the room and notified");
    let by = |who: &str| cid_saw.iter().filter(|(_, text)| text.starts_with(who)).cloned().collect::<Vec<_>>();
    assert_eq!((ann_saw, bob_saw), (&by("bob"), &by("ann")));
    let contents = |saw: &[(String, String)]| saw.iter().map(|(_, content)| content.clone()).collect::<Vec<_>>();
    assert_eq!((contents(bob_saw), contents(ann_saw)), (anns, bobs), "each sender's in the order they were sent");
    cluster.everything_is_delivered().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_while_a_member_is_nowhere_waits_for_them_at_any_gateway() {
    let cluster = cluster().await;
    let (here, there, _fanout) = (cluster.gateway().await, cluster.gateway().await, cluster.fanout().await);
    here.create_chat("c1", &["ann", "bob"]).await;
    let mut ann = visitor(&here, "ann", ["c1"]).await;
    let bob = listener(&here, "bob").await;
    let first = ann.say("c1", "m1", "while he is here").await;
    assert_eq!(bob.expect(&notifications("bob"), "new_notification").await["message_id"], first);
    cluster.everything_is_delivered().await;
    bob.close().await;
    let mut missed = Vec::new();
    for number in 0..5 {
        missed.push(ann.say("c1", &format!("n{number}"), &format!("while he is away {number}")).await);
    }
    cluster.everything_is_routed().await;

    let bob = listener(&there, "bob").await;
    for id in &missed {
        assert_eq!(bob.expect(&notifications("bob"), "pending_notification").await["message_id"], **id);
    }
    let live = ann.say("c1", "m2", "and here he is again").await;
    assert_eq!(bob.expect(&notifications("bob"), "new_notification").await["message_id"], live);
    cluster.everything_is_delivered().await;
    bob.close().await;
    // What is confirmed is deleted, a moment later. Then, whatever comes first is new: it waits behind what was pending.
    let mut count = 0;
    eventually("nothing comes again", async || {
        count += 1;
        let bob = listener(&here, "bob").await;
        let live = ann.say("c1", &format!("l{count}"), "something new").await;
        let told = bob.take("notification", |frame| frame.topic == *notifications("bob")).await.unwrap();
        cluster.everything_is_delivered().await;
        bob.close().await;
        (told.text("message_id") == live).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typing_is_seen_on_the_other_gateway_by_those_in_the_room() {
    let cluster = cluster().await;
    let (here, there, _fanout) = (cluster.gateway().await, cluster.gateway().await, cluster.fanout().await);
    here.create_chat("c1", &["ann", "bob", "cid"]).await;
    here.create_chat("c2", &["cid"]).await;
    let (mut ann, mut bob) = (visitor(&here, "ann", ["c1"]).await, visitor(&there, "bob", ["c1"]).await);
    let mut cid = visitor(&there, "cid", ["c2"]).await;
    ann.push("chat:c1", "typing", json!({"is_typing": true})).await;
    let typing = bob.expect("chat:c1", "typing").await;
    assert_eq!((&typing["user_id"], &typing["is_typing"]), (&json!("ann"), &json!(true)));
    bob.push("chat:c1", "typing", json!({"is_typing": false})).await;
    let typing = ann.expect("chat:c1", "typing").await;
    assert_eq!((&typing["user_id"], &typing["is_typing"]), (&json!("bob"), &json!(false)));
    cid.heartbeat().await.unwrap();
    assert!(cid.untaken().is_empty(), "{:?}", cid.untaken());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_of_one_user_on_two_gateways_are_one_user() {
    let cluster = cluster().await;
    let (here, there, _fanout) = (cluster.gateway().await, cluster.gateway().await, cluster.fanout().await);
    here.create_chat("c1", &["ann", "bob"]).await;
    let (mut anns_phone, mut bob) = (visitor(&here, "ann", ["c1"]).await, visitor(&there, "bob", ["c1"]).await);
    let mut anns_tablet = open(&there, "ann", "tablet").await;
    anns_tablet.join("chat:c1").await;

    let id = anns_phone.say("c1", "m1", "from the phone").await;
    for other in [&anns_tablet, &bob] {
        assert_eq!(other.expect("chat:c1", "receive_message").await["message_id"], id);
    }
    let id = bob.say("c1", "m2", "to both devices").await;
    for device in [&anns_phone, &anns_tablet] {
        assert_eq!(device.expect("chat:c1", "receive_message").await["message_id"], id);
    }
    // One in the room, on whatever gateway, is enough: the other, which left it, is not notified. What a topic that is
    // left had not confirmed would come again.
    cluster.everything_is_delivered().await;
    anns_tablet.leave("chat:c1").await.unwrap();
    anns_tablet.expect("chat:c1", "phx_close").await;
    anns_tablet.join(&notifications("ann")).await;
    bob.say("c1", "m3", "she is in the room").await;
    anns_phone.expect("chat:c1", "receive_message").await;
    cluster.everything_is_delivered().await;
    anns_tablet.heartbeat().await.unwrap();
    assert!(anns_tablet.untaken().is_empty(), "{:?}", anns_tablet.untaken());
    // And none there: notified on the gateway where the other is.
    anns_phone.leave("chat:c1").await.unwrap();
    let id = bob.say("c1", "m4", "she is in no room").await;
    assert_eq!(anns_tablet.expect(&notifications("ann"), "new_notification").await["message_id"], id);
    cluster.everything_is_delivered().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sending_again_through_another_gateway_gives_the_same_message() {
    let cluster = cluster().await;
    let (here, there, _fanout) = (cluster.gateway().await, cluster.gateway().await, cluster.fanout().await);
    here.create_chat("c1", &["ann", "bob"]).await;
    let bob = visitor(&here, "bob", ["c1"]).await;
    let mut ann = visitor(&here, "ann", ["c1"]).await;
    let first = ann.send_message("c1", "m1", "once").await.unwrap();
    drop(ann);
    let mut ann = visitor(&there, "ann", ["c1"]).await;
    let second = ann.send_message("c1", "m1", "once").await.unwrap();
    assert_eq!(first, second);
    let last = ann.say("c1", "m2", "the last").await;
    assert_eq!(bob.expect("chat:c1", "receive_message").await["message_id"], first["message_id"]);
    assert_eq!(bob.expect("chat:c1", "receive_message").await["message_id"], Value::from(last));
}
