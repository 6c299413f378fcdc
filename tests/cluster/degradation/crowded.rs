//! One trouble with Redis after the other, while a crowd talks.

use std::time::Duration;

use roost_harness::proxy::{Line, Proxy};
use roost_harness::redis::{SINGLE, Server, Software};

use super::signs::{is_not_ready, is_ready};
use crate::load::Load;
use crate::place::options;

#[tokio::test(flavor = "multi_thread")]
async fn crowd_talks_through_outages_of_redis_and_nothing_is_lost() {
    let redis = Server::start(Software::Valkey, SINGLE);
    let proxy = Proxy::start(redis.port).await;
    let options = options().on_redis(&redis).set("redis.url", format!("redis://{}", proxy.address));
    // On a busy machine a gateway must have renewed its lease before it was seen dead twice.
    let cluster = options.set("fanout.reaper_interval", "2s").start().await;
    let (here, there) = (cluster.gateway().await, cluster.gateway().await);
    let (one, two) = (cluster.fanout().await, cluster.fanout().await);
    let load = Load::start(&cluster, &[&here, &there]).await;
    for line in [Line::Cut, Line::Silent, Line::Slow(Duration::from_secs(2))] {
        load.goes_on().await;
        proxy.becomes(line);
        is_not_ready(here.api_address, "redis unavailable").await;
        is_not_ready(two.api_address, "redis unavailable").await;
        proxy.becomes(Line::Open);
    }
    load.goes_on().await;
    for api in [here.api_address, there.api_address, one.api_address, two.api_address] {
        is_ready(api).await;
    }
    load.ends_well().await;
}
