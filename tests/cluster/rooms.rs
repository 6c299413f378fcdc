//! Chats in room mode on several gateways: one entry for each that follows, and nothing lost when any of them dies.

use std::collections::BTreeSet;

use roost_harness::cluster::{Cluster, Fanout};
use roost_harness::eventually;
use serde_json::Value;

use crate::load::Load;
use crate::place::{listener, notifications, open, options, visitor};

/// A cluster where more than two members are a room.
async fn cluster() -> Cluster<'static> {
    options().set("fanout.room_above", 2).start().await
}

async fn count(fanout: &Fanout, metric: &str) -> f64 {
    fanout.metrics().await.metric(metric).expect("it is counted")
}

#[tokio::test(flavor = "multi_thread")]
async fn room_over_two_gateways_costs_each_one_entry_and_who_was_away_catches_up_at_any() {
    let cluster = cluster().await;
    let (here, there, fanout) = (cluster.gateway().await, cluster.gateway().await, cluster.fanout().await);
    let elsewhere = cluster.gateway().await;
    here.create_chat("c1", &["ann", "bob", "cid", "dan", "eve"]).await;
    let mut ann = visitor(&here, "ann", ["c1"]).await;
    let (bob, cid, dan) =
        (visitor(&here, "bob", ["c1"]).await, visitor(&there, "cid", ["c1"]).await, listener(&there, "dan").await);
    let contents: Vec<String> = (0..30).map(|number| number.to_string()).collect();
    for content in &contents {
        ann.say("c1", content, content).await;
    }
    for content in &contents {
        assert_eq!(bob.expect("chat:c1", "receive_message").await["content"], **content);
        assert_eq!(cid.expect("chat:c1", "receive_message").await["content"], **content);
        // What is said while the replay of his join is still under way comes with that.
        let told = dan.take("a notification", |frame| frame.event.ends_with("_notification")).await.unwrap();
        assert_eq!(told.text("content"), content);
    }
    eventually("each gateway's thirty entries are counted", async || {
        (count(&fanout, "roost_fanout_deliveries_total{outcome=\"accepted\"}").await == 60.0).then_some(())
    })
    .await;
    assert_eq!(count(&fanout, "roost_fanout_pending_total{cause=\"unreachable\"}").await, 0.0);
    let eve = listener(&elsewhere, "eve").await;
    for content in &contents {
        assert_eq!(eve.expect(&notifications("eve"), "pending_notification").await["content"], **content);
    }
    ann.say("c1", "last", "last").await;
    assert_eq!(eve.expect(&notifications("eve"), "new_notification").await["content"], "last");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_room_over_four_gateways_costs_four_entries_a_message() {
    let cluster = options().set("chats.members_per_request_max", 2_000).start().await;
    let fanout = cluster.fanout().await;
    let mut gateways = Vec::new();
    for _ in 0..4 {
        gateways.push(cluster.gateway().await);
    }
    let names: Vec<String> = (0..2_000).map(|number| format!("member-{number:04}")).collect();
    gateways[0].create_chat("c1", &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut clients = Vec::new();
    for (name, gateway) in names.iter().take(80).zip(gateways.iter().cycle()) {
        clients.push(visitor(gateway, name, ["c1"]).await);
    }
    for number in 0..20 {
        clients[0].say("c1", &number.to_string(), &number.to_string()).await;
    }
    for client in &clients[1..] {
        for number in 0..20 {
            assert_eq!(client.expect("chat:c1", "receive_message").await["content"], number.to_string());
        }
    }
    eventually("four entries for each of twenty messages are counted", async || {
        (count(&fanout, "roost_fanout_deliveries_total{outcome=\"accepted\"}").await == 80.0).then_some(())
    })
    .await;
    assert_eq!(count(&fanout, "roost_fanout_pending_total{cause=\"unreachable\"}").await, 0.0);
    let away = listener(&gateways[3], "member-1999").await;
    for number in 0..20 {
        let told = away.expect(&notifications("member-1999"), "pending_notification").await;
        assert_eq!(told["content"], number.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_in_the_room_on_one_gateway_is_notified_on_another_only_after_leaving_it() {
    let cluster = cluster().await;
    let (here, there, _fanout) = (cluster.gateway().await, cluster.gateway().await, cluster.fanout().await);
    here.create_chat("c1", &["ann", "bob", "cid"]).await;
    let mut ann = visitor(&here, "ann", ["c1"]).await;
    let mut bobs_tablet = open(&there, "bob", "tablet").await;
    bobs_tablet.join(&notifications("bob")).await;
    let mut bobs_phone = visitor(&here, "bob", ["c1"]).await;
    // The other gateway is told while the join is answered: it may know a moment later.
    eventually("the tablet's gateway knows where bob is", async || {
        let content = format!("{:016x}", rand::random::<u64>());
        ann.say("c1", &content, &content).await;
        bobs_phone.take("it", |frame| frame.text("content") == content).await.unwrap();
        bobs_tablet.heartbeat().await.unwrap();
        bobs_tablet.untaken().iter().all(|frame| frame.text("content") != content).then_some(())
    })
    .await;
    bobs_phone.leave("chat:c1").await.unwrap();
    let said = ann.say("c1", "out", "out of the room").await;
    let told = bobs_tablet.take("the last", |frame| frame.text("message_id") == said).await.unwrap();
    assert!(told.event.ends_with("_notification"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_killed_gateway_get_the_rest_of_the_room_elsewhere() {
    let cluster = cluster().await;
    let (here, there, _fanout) = (cluster.gateway().await, cluster.gateway().await, cluster.fanout().await);
    here.create_chat("c1", &["ann", "bob", "cid"]).await;
    let mut ann = visitor(&here, "ann", ["c1"]).await;
    let bob = visitor(&there, "bob", ["c1"]).await;
    let mut bobs_tablet = open(&here, "bob", "tablet").await;
    bobs_tablet.join(&notifications("bob")).await;
    bob.stop_reading().await;
    let mut owed = BTreeSet::new();
    for number in 0..20 {
        owed.insert(ann.say("c1", &number.to_string(), "while the phone is deaf").await);
    }
    there.process.kill_9();
    for number in 20..40 {
        owed.insert(ann.say("c1", &number.to_string(), "while nobody knows").await);
    }
    // The tablet is told of all of it once the phone's gateway is reaped.
    while !owed.is_empty() {
        let told = bobs_tablet.take("a notification", |frame| frame.event.ends_with("_notification")).await.unwrap();
        owed.remove(told.text("message_id"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gateway_that_nobody_found_for_a_while_reads_what_it_missed_of_rooms() {
    // Nobody reaps it meanwhile.
    let options = options().set("fanout.room_above", 2).set("fanout.reaper_interval", "60s");
    let cluster = options.set("gateway.lease_ttl", "1s").start().await;
    let (here, there, fanout) = (cluster.gateway().await, cluster.gateway().await, cluster.fanout().await);
    here.create_chat("c1", &["ann", "bob", "cid"]).await;
    let (mut ann, mut bob) = (visitor(&here, "ann", ["c1"]).await, listener(&there, "bob").await);
    bob.join("chat:c1").await;
    let mut owed = vec![ann.say("c1", "before", "before").await];
    cluster.everything_is_routed().await;
    there.process.pause();
    eventually("a message goes to one gateway only", async || {
        let accepted = "roost_fanout_deliveries_total{outcome=\"accepted\"}";
        let before = count(&fanout, accepted).await;
        let content = format!("{:016x}", rand::random::<u64>());
        owed.push(ann.say("c1", &content, &content).await);
        cluster.everything_is_routed().await;
        (count(&fanout, accepted).await == before + 1.0).then_some(())
    })
    .await;
    there.process.resume();
    owed.push(ann.say("c1", "after", "after").await);
    let mut owed: BTreeSet<String> = owed.into_iter().collect();
    while !owed.is_empty() {
        let told = bob.take("a message", |frame| !frame.text("message_id").is_empty()).await.unwrap();
        owed.remove(told.text("message_id"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_who_come_and_go_change_the_room_through_any_gateway() {
    let cluster = cluster().await;
    let (here, there, _fanout) = (cluster.gateway().await, cluster.gateway().await, cluster.fanout().await);
    here.create_chat("c1", &["ann", "bob"]).await;
    let mut ann = visitor(&here, "ann", ["c1"]).await;
    let (bob, eve) = (visitor(&there, "bob", ["c1"]).await, listener(&there, "eve").await);
    for (number, (method, gateway)) in
        [("PUT", &here), ("DELETE", &there), ("PUT", &there), ("DELETE", &here)].into_iter().enumerate()
    {
        let answer = gateway.api(method, "/v1/chats/c1/members/eve", Value::Null).await;
        assert!(answer.status < 300, "{answer:?}");
        let content = format!("after {method} {number}");
        ann.say("c1", &content, &content).await;
        assert_eq!(bob.expect("chat:c1", "receive_message").await["content"], content);
        if method == "PUT" {
            assert_eq!(eve.expect(&notifications("eve"), "new_notification").await["content"], content);
        }
    }
    assert!(eve.untaken().iter().all(|frame| frame.event == "phx_reply"), "{:?}", eve.untaken());
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_and_fanouts_die_under_load_and_rooms_lose_nothing() {
    // Chats of the crowd are larger and smaller than that.
    let cluster = options().set("fanout.room_above", 5).set("gateway.cursor_interval", "500ms").start().await;
    let (one, two) = (cluster.gateway().await, cluster.gateway().await);
    let (first, _second) = (cluster.fanout().await, cluster.fanout().await);
    let load = Load::start(&cluster, &[&one, &two]).await;
    load.goes_on().await;
    one.process.kill_9();
    load.moves_to(&[&two]);
    load.goes_on().await;
    first.process.kill_9();
    load.goes_on().await;
    let three = cluster.gateway().await;
    load.moves_to(&[&two, &three]);
    load.goes_on().await;
    assert_eq!(two.process.terminate().await.code(), Some(0));
    load.moves_to(&[&three]);
    load.goes_on().await;
    load.ends_well().await;
}
