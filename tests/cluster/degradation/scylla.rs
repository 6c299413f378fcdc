//! Cassandra is not there, or comes and goes. It is not the one that the other tests share.

use std::sync::OnceLock;

use roost_harness::cluster::{ClusterOptions, Servers};
use tokio::sync::{Mutex, MutexGuard};

use super::stage::Stage;

/// One test at a time takes them down.
async fn servers() -> MutexGuard<'static, &'static Servers> {
    static SERVERS: OnceLock<Mutex<&'static Servers>> = OnceLock::new();
    let start = || Servers::start().unwrap_or_else(|problem| panic!("{problem}"));
    SERVERS.get_or_init(|| Mutex::new(Box::leak(Box::new(start())))).lock().await
}

fn options(servers: &'static Servers) -> ClusterOptions<'static> {
    ClusterOptions::new(env!("CARGO_BIN_EXE_roost"), servers)
}

#[tokio::test(flavor = "multi_thread")]
async fn cassandra_is_killed_and_back() {
    let servers = servers().await;
    let mut stage = Stage::set(&options(*servers)).await;
    // These are still on their way.
    stage.ann_says(5).await;
    servers.cassandra.kill(1);
    stage.nobody_is_ready("scylla unavailable").await;
    // What is `sent` waits in the log.
    stage.ann_says(20).await;
    let cassandra = &servers.cassandra;
    tokio::task::block_in_place(|| cassandra.restart(1));
    stage.everybody_is_ready().await;
    stage.ann_says(5).await;
    stage.everything_arrives().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cassandra_hangs_again_and_again() {
    let servers = servers().await;
    let mut stage = Stage::set(&options(*servers)).await;
    for _ in 0..2 {
        servers.cassandra.pause(1);
        stage.ann_says(20).await;
        stage.nobody_is_ready("scylla unavailable").await;
        servers.cassandra.resume(1);
        stage.ann_says(5).await;
        stage.everybody_is_ready().await;
    }
    stage.everything_arrives().await;
}
