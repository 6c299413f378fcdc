//! Redis is not there.

use roost_harness::proxy::{Line, Proxy};
use roost_harness::redis::{SINGLE, Server, Software};

use super::stage::Stage;
use crate::place::options;

const REASON: &str = "redis unavailable";

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_killed_and_back_after_two_leases() {
    let mut redis = Server::start(Software::Valkey, SINGLE);
    let mut stage = Stage::set(&options().on_redis(&redis)).await;
    // These are still on their way.
    stage.ann_says(5).await;
    redis.kill();
    stage.nobody_is_ready(REASON).await;
    stage.ann_is_refused_for_two_leases().await;
    redis.start_again();
    stage.ann_insists(5).await;
    stage.everybody_is_ready().await;
    stage.ann_says(5).await;
    stage.everything_arrives().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn network_to_redis_is_cut_for_two_leases_then_silent() {
    let redis = Server::start(Software::Valkey, SINGLE);
    let proxy = Proxy::start(redis.port).await;
    let options = options().on_redis(&redis).set("redis.url", format!("redis://{}", proxy.address));
    let mut stage = Stage::set(&options).await;
    proxy.becomes(Line::Cut);
    stage.nobody_is_ready(REASON).await;
    stage.ann_is_refused_for_two_leases().await;
    proxy.becomes(Line::Open);
    stage.ann_insists(5).await;
    stage.everybody_is_ready().await;
    proxy.becomes(Line::Silent);
    stage.nobody_is_ready(REASON).await;
    proxy.becomes(Line::Open);
    stage.ann_insists(5).await;
    stage.everybody_is_ready().await;
    stage.everything_arrives().await;
}
