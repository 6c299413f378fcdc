//! Fanouts that come, go and die under load: the partitions change hands, in order and without a loss.

use roost_harness::cluster::{Cluster, ClusterOptions, Fanout, PARTITIONS, Servers};
use roost_harness::eventually;

use crate::load::Load;
use crate::place::{cluster, listener, notifications, visitor};

/// Waits until these fanouts hold all partitions among them, each at least one.
async fn they_share_the_partitions(fanouts: &[&Fanout]) {
    eventually("each partition has a holder", async || {
        let mut held = Vec::new();
        for fanout in fanouts {
            held.push(fanout.partitions_held().await);
        }
        (held.iter().sum::<usize>() == PARTITIONS && !held.contains(&0)).then_some(())
    })
    .await;
}

/// Two, which share the partitions.
async fn two(cluster: &Cluster<'_>) -> (Fanout, Fanout) {
    let fanouts = (cluster.fanout().await, cluster.fanout().await);
    they_share_the_partitions(&[&fanouts.0, &fanouts.1]).await;
    fanouts
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_fanouts_partitions_are_taken_over() {
    let cluster = cluster().await;
    let (here, there) = (cluster.gateway().await, cluster.gateway().await);
    let (killed, other) = two(&cluster).await;
    let load = Load::start(&cluster, &[&here, &there]).await;
    load.goes_on().await;
    killed.process.kill_9();
    load.goes_on().await;
    they_share_the_partitions(&[&other]).await;
    load.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fanout_killed_in_the_middle_of_a_batch_leaves_it_to_the_next() {
    let servers = Servers::start().unwrap_or_else(|problem| panic!("{problem}"));
    let cluster = ClusterOptions::new(env!("CARGO_BIN_EXE_roost"), &servers).start().await;
    let (gateway, fanout) = (cluster.gateway().await, cluster.fanout().await);
    gateway.create_chat("c1", &["ann", "bob", "cid"]).await;
    let (mut ann, bob) = (visitor(&gateway, "ann", ["c1"]).await, listener(&gateway, "bob").await);
    // What is sent now is begun, and can not be done.
    servers.cassandra.pause(1);
    let mut said = Vec::new();
    for number in 0..20 {
        said.push(ann.say("c1", &format!("m{number}"), &format!("number {number}")).await);
    }
    eventually("the fanout has begun", async || {
        (fanout.metrics().await.metric("roost_scylla_requests_in_flight") > Some(0.0)).then_some(())
    })
    .await;
    fanout.process.kill_9();
    servers.cassandra.resume(1);
    let _fanout = cluster.fanout().await;
    // What the first one had delivered comes again.
    let mut heard = Vec::new();
    while heard.len() < said.len() {
        let told = bob.expect(&notifications("bob"), "new_notification").await;
        let id = told["message_id"].as_str().unwrap().to_owned();
        if !heard.contains(&id) {
            heard.push(id);
        }
    }
    assert_eq!(heard, said);
    cluster.everything_is_delivered().await;
    let cid = listener(&gateway, "cid").await;
    for id in &said {
        assert_eq!(cid.expect(&notifications("cid"), "pending_notification").await["message_id"], **id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fanout_that_is_asked_to_end_hands_its_partitions_over() {
    let cluster = cluster().await;
    let (here, there) = (cluster.gateway().await, cluster.gateway().await);
    let (ended, other) = two(&cluster).await;
    let load = Load::start(&cluster, &[&here, &there]).await;
    load.goes_on().await;
    assert_eq!(ended.process.terminate().await.code(), Some(0));
    load.goes_on().await;
    they_share_the_partitions(&[&other]).await;
    load.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fanout_that_hung_for_longer_than_its_lease_gives_way_to_the_others() {
    let cluster = cluster().await;
    let (here, there) = (cluster.gateway().await, cluster.gateway().await);
    let (hung, other) = two(&cluster).await;
    let load = Load::start(&cluster, &[&here, &there]).await;
    load.goes_on().await;
    hung.process.pause();
    they_share_the_partitions(&[&other]).await;
    load.goes_on().await;
    hung.process.resume();
    they_share_the_partitions(&[&hung, &other]).await;
    load.goes_on().await;
    load.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn third_fanout_takes_its_share_under_load() {
    let cluster = cluster().await;
    let (here, there) = (cluster.gateway().await, cluster.gateway().await);
    let (one, two) = two(&cluster).await;
    let load = Load::start(&cluster, &[&here, &there]).await;
    load.goes_on().await;
    let three = cluster.fanout().await;
    they_share_the_partitions(&[&one, &two, &three]).await;
    load.goes_on().await;
    load.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_nodes_are_killed_new_ones_go_on_where_they_were() {
    let cluster = cluster().await;
    let (here, there) = (cluster.gateway().await, cluster.gateway().await);
    let (one, two) = two(&cluster).await;
    let load = Load::start(&cluster, &[&here, &there]).await;
    load.goes_on().await;
    for process in [one.process, here.process, two.process, there.process] {
        process.kill_9();
    }
    let (_one, _two) = (cluster.fanout().await, cluster.fanout().await);
    let (here, there) = (cluster.gateway().await, cluster.gateway().await);
    load.moves_to(&[&here, &there]);
    load.goes_on().await;
    load.ends_well().await;
    // The dead are reaped in the end.
    eventually("two gateways are known", async || (cluster.known_gateways() == 2).then_some(())).await;
}
