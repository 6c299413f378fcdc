//! Redis answers, and refuses.

use roost_harness::eventually_blocking;
use roost_harness::redis::{SINGLE, Server, Software};

use super::stage::Stage;
use crate::place::options;

#[tokio::test(flavor = "multi_thread")]
async fn redis_that_refuses_writes_is_waited_for() {
    let redis = Server::start(Software::Valkey, SINGLE);
    let mut stage = Stage::set(&options().on_redis(&redis)).await;

    // NOREPLICAS.
    redis.command("CONFIG SET min-replicas-to-write 1");
    stage.ann_is_refused().await;
    redis.command("CONFIG SET min-replicas-to-write 0");
    stage.ann_insists(5).await;

    // MISCONF, as when the disk is full.
    redis.command("CONFIG SET save \"3600 1000000\"");
    redis.let_save(false);
    stage.ann_is_refused().await;
    redis.let_save(true);
    stage.ann_insists(5).await;

    // NOSCRIPT.
    redis.command("SCRIPT FLUSH");
    stage.ann_insists(5).await;

    // OOM.
    redis.command("CONFIG SET maxmemory 1");
    stage.ann_is_refused().await;
    redis.command("CONFIG SET maxmemory 0");
    stage.ann_insists(5).await;

    stage.everybody_is_ready().await;
    stage.everything_arrives().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_that_has_become_a_replica_is_not_written_to_until_it_is_a_primary_again() {
    let redis = Server::start(Software::Valkey, SINGLE);
    let mut stage = Stage::set(&options().on_redis(&redis)).await;
    // Of nobody: what it has stays.
    redis.command(&format!("REPLICAOF 127.0.0.1 {}", roost_harness::free_port()));
    stage.nobody_is_ready("redis unavailable").await;
    stage.ann_is_refused_for_two_leases().await;
    redis.command("REPLICAOF NO ONE");
    stage.ann_insists(5).await;
    stage.everybody_is_ready().await;
    stage.everything_arrives().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_that_loads_its_data_is_waited_for() {
    // It takes its time for each key, in microseconds, and answers in between.
    let slow = ["--key-load-delay", "50000", "--loading-process-events-interval-bytes", "1024"];
    let mut redis = Server::start(Software::Valkey, &[SINGLE, &slow].concat());
    let mut stage = Stage::set(&options().on_redis(&redis)).await;
    // Only a whole image is read like that.
    redis.command("BGREWRITEAOF");
    eventually_blocking("it is written", || {
        let information = redis.command("INFO persistence");
        information.contains("aof_rewrite_in_progress:0") && information.contains("aof_rewrite_scheduled:0")
    });
    redis.kill();
    let loads = tokio::task::spawn_blocking(move || {
        redis.start_again();
        redis
    });
    stage.ann_insists(5).await;
    let _redis = loads.await.unwrap();
    assert!(stage.log().contains("it is loading its data"), "{}", stage.log());
    stage.everybody_is_ready().await;
    stage.everything_arrives().await;
}
