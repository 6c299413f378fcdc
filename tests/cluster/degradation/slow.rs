//! Redis answers after seconds.

use std::time::Duration;

use roost_harness::proxy::{Line, Proxy};
use roost_harness::redis::{SINGLE, Server, Software};

use super::stage::Stage;
use crate::place::options;

/// Each way. Within `redis.command_timeout`, and beyond it.
const SLOW: Duration = Duration::from_millis(700);
const TOO_SLOW: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn slow_redis_makes_everything_slow_and_nothing_else() {
    let redis = Server::start(Software::Valkey, SINGLE);
    let proxy = Proxy::start(redis.port).await;
    let options = options().on_redis(&redis).set("redis.url", format!("redis://{}", proxy.address));
    let mut stage = Stage::set(&options).await;
    proxy.becomes(Line::Slow(SLOW));
    stage.ann_insists(3).await;
    proxy.becomes(Line::Slow(TOO_SLOW));
    stage.nobody_is_ready("redis unavailable").await;
    stage.ann_may_be_refused(2).await;
    proxy.becomes(Line::Open);
    stage.ann_insists(5).await;
    stage.everybody_is_ready().await;
    stage.everything_arrives().await;
}
