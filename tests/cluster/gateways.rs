//! Gateways that die, go, hang, and come: whom they served goes to another, and gets everything there.

use std::collections::BTreeSet;

use roost_harness::cluster::{Cluster, Fanout, Gateway};
use roost_harness::{Client, eventually, request};

use crate::load::Load;
use crate::place::{cluster, listener, notifications, visitor};

/// Two gateways and a fanout, and on them: Ann on one, in the room; Bob on the other, notified and reading nothing any
/// more, so that he confirms nothing of what Ann says.
struct Deaf {
    cluster: Cluster<'static>,
    anns: Gateway,
    _fanout: Fanout,
    ann: Client,
    bob: Client,
    said: Vec<String>,
}

impl Deaf {
    /// With Bob's gateway.
    async fn new() -> (Self, Gateway) {
        let cluster = cluster().await;
        let (anns, bobs, fanout) = (cluster.gateway().await, cluster.gateway().await, cluster.fanout().await);
        anns.create_chat("c1", &["ann", "bob"]).await;
        let (ann, bob) = (visitor(&anns, "ann", ["c1"]).await, listener(&bobs, "bob").await);
        bob.stop_reading().await;
        let mut deaf = Self { cluster, anns, _fanout: fanout, ann, bob, said: Vec::new() };
        deaf.ann_says_more().await;
        deaf.cluster.everything_is_routed().await;
        (deaf, bobs)
    }

    async fn ann_says_more(&mut self) {
        for _ in 0..20 {
            let content = format!("number {}", self.said.len());
            self.ann.say("c1", &content, &content).await;
            self.said.push(content);
        }
    }

    /// Bob comes to Ann's gateway and is told everything she has said, in order, each at least once.
    async fn bob_hears_everything(&self) {
        let bob = listener(&self.anns, "bob").await;
        let mut heard: Vec<String> = Vec::new();
        while heard.len() < self.said.len() {
            let topic = notifications("bob");
            let told = bob.take("notification", |frame| {
                frame.is(&topic, "pending_notification") || frame.is(&topic, "new_notification")
            });
            let content = told.await.expect("the connection stays open").text("content").to_owned();
            if !heard.contains(&content) {
                heard.push(content);
            }
        }
        assert_eq!(heard, self.said);
        self.cluster.everything_is_delivered().await;
    }

    /// Waits until the reaper is done with Bob's gateway.
    async fn bobs_gateway_is_forgotten(&self) {
        eventually("only one gateway is known", async || (self.cluster.known_gateways() == 1).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_gateway_is_reaped_and_what_it_had_not_delivered_is_pending_elsewhere() {
    let (mut deaf, bobs) = Deaf::new().await;
    assert_eq!(deaf.cluster.known_gateways(), 2);
    bobs.process.kill_9();
    // Not noticed yet: this goes to the mailbox of the dead one.
    deaf.ann_says_more().await;
    deaf.bobs_gateway_is_forgotten().await;
    deaf.bob_hears_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_of_a_killed_gateway_need_not_wait_until_it_is_reaped() {
    let (mut deaf, bobs) = Deaf::new().await;
    bobs.process.kill_9();
    // He is there before what the dead one owed him is pending, and is rung when it is.
    let bob = listener(&deaf.anns, "bob").await;
    deaf.ann_says_more().await;
    for _ in 0..20 {
        bob.expect(&notifications("bob"), "new_notification").await;
    }
    // He still counted as being there, too: some of the second twenty may come again.
    let mut owed: BTreeSet<_> = deaf.said[..20].iter().cloned().collect();
    while !owed.is_empty() {
        let told = bob.expect(&notifications("bob"), "pending_notification").await;
        owed.remove(told["content"].as_str().unwrap());
    }
    deaf.cluster.everything_is_delivered().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gateway_that_is_asked_to_end_closes_with_1012_and_what_was_unconfirmed_is_pending_elsewhere() {
    let (mut deaf, bobs) = Deaf::new().await;
    bobs.process.signal("TERM");
    eventually("it drains", async || {
        let answer = request(bobs.api_address, "GET", "/readyz", &[], "").await;
        (!answer.is_ok_and(|answer| answer.status == 200)).then_some(())
    })
    .await;
    deaf.ann_says_more().await;
    assert_eq!(bobs.process.ended().await.code(), Some(0));
    deaf.bob.read_on().await;
    assert_eq!(deaf.bob.closed().await, Some(1012));
    deaf.bobs_gateway_is_forgotten().await;
    deaf.bob_hears_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gateway_that_hung_for_longer_than_its_lease_closes_its_sockets_and_loses_nothing() {
    let (mut deaf, bobs) = Deaf::new().await;
    bobs.process.pause();
    deaf.ann_says_more().await;
    deaf.bobs_gateway_is_forgotten().await;
    deaf.ann_says_more().await;
    deaf.bob.read_on().await;
    bobs.process.resume();
    assert_eq!(deaf.bob.closed().await, Some(1012));
    assert_eq!(bobs.process.ended().await.code(), Some(1), "it is started again as a new gateway");
    deaf.bob_hears_everything().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gateway_that_hung_for_less_than_its_lease_goes_on_as_if_nothing_had_been() {
    let (mut deaf, bobs) = Deaf::new().await;
    bobs.process.pause();
    deaf.ann_says_more().await;
    bobs.process.resume();
    deaf.bob.read_on().await;
    for content in deaf.said.clone() {
        assert_eq!(deaf.bob.expect(&notifications("bob"), "new_notification").await["content"], content);
    }
    deaf.cluster.everything_is_delivered().await;
    assert!(!deaf.bob.is_closed());
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_come_and_go_and_die_under_load_and_nothing_is_lost() {
    let cluster = cluster().await;
    let (one, two) = (cluster.gateway().await, cluster.gateway().await);
    let (_one, _two) = (cluster.fanout().await, cluster.fanout().await);
    let load = Load::start(&cluster, &[&one, &two]).await;
    load.goes_on().await;
    let three = cluster.gateway().await;
    load.moves_to(&[&one, &two, &three]);
    load.goes_on().await;
    one.process.kill_9();
    load.moves_to(&[&two, &three]);
    load.goes_on().await;
    assert_eq!(two.process.terminate().await.code(), Some(0));
    load.moves_to(&[&three]);
    load.goes_on().await;
    load.ends_well().await;
}
