//! Ends that something is in the way of. A gateway that lost its lease: see `gateways.rs`.

use roost_harness::redis::{SINGLE, Server, Software};
use roost_harness::{eventually, request};

use crate::place::{options, phone};

#[tokio::test(flavor = "multi_thread")]
async fn second_term_ends_a_gateway_that_can_not_drain() {
    let cluster = options().set("gateway.drain_batch", 1).set("gateway.drain_interval", "1m").start().await;
    let gateway = cluster.gateway().await;
    let (ann, _bob) = (phone(&gateway, "ann").await, phone(&gateway, "bob").await);
    gateway.process.signal("TERM");
    eventually("it drains", async || {
        let answer = request(gateway.api_address, "GET", "/readyz", &[], "").await;
        (!answer.is_ok_and(|answer| answer.status == 200)).then_some(())
    })
    .await;
    gateway.process.signal("TERM");
    let log = gateway.process.log_file();
    assert_eq!(gateway.process.ended().await.code(), Some(1));
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.ends_with("SIGTERM came again: stopped without draining\n"), "{log}");
    ann.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn second_term_ends_a_fanout_whose_redis_hangs() {
    let redis = Server::start(Software::Valkey, SINGLE);
    let cluster = options().on_redis(&redis).set("redis.command_timeout", "30s").start().await;
    let fanout = cluster.fanout().await;
    redis.pause();
    fanout.process.signal("TERM");
    let log = fanout.process.log_file();
    eventually("it stops", async || std::fs::read_to_string(&log).unwrap().contains("stopping").then_some(())).await;
    fanout.process.signal("TERM");
    assert_eq!(fanout.process.ended().await.code(), Some(1));
}
