//! Fanouts that come, go and die under load: the partitions change hands, in order and without a loss.

use roost_harness::cluster::{Cluster, Fanout, PARTITIONS};
use roost_harness::eventually;

use crate::load::Load;
use crate::place::cluster;

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
