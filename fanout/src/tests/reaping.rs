//! Dead gateways: what was in their mailboxes, and a reaper that stops anywhere.

use std::sync::Arc;
use std::time::Duration;

use roost_storage::*;
use tokio::sync::watch;

use super::crashes::FailsOnce;
use super::hooked::hooked;
use super::rig::*;
use crate::context::Context;
use crate::reaper::{Reaper, reap};
use crate::{Fanout, FanoutMetrics, ReapReport, reap_all, removals};

/// A gateway that died with four entries above its confirmed position, and one on which two of its users are.
async fn died() -> (Rig, GatewayId, GatewayId) {
    let rig = Rig::new();
    let (dead, alive) = (rig.gateway("dead").await, rig.gateway("alive").await);
    for (number, name) in ["ann", "bob", "cid"].into_iter().enumerate() {
        rig.session(name, &dead, number as u64, Joined::Room("c")).await;
    }
    rig.change("c", Change::Set(users(&["ann", "bob", "cid"]))).await;
    rig.say("c", "zoe", "confirmed").await;
    rig.say("c", "zoe", "one").await;
    rig.say("c", "bob", "two").await;
    rig.change("c", Change::Remove(user("cid"))).await;
    rig.say("c", "zoe", "three").await;
    rig.process("w").await;
    let first = rig.storage.mailboxes.read(&dead, Position::START, 1, Duration::ZERO).await.unwrap();
    rig.storage.mailboxes.confirm(&dead, first[0].position).await.unwrap();
    rig.session("ann", &alive, 1, Joined::Notifications).await;
    rig.session("bob", &alive, 2, Joined::Room("c")).await;
    rig.kill(&dead).await;
    (rig, dead, alive)
}

async fn assert_reaped(rig: &Rig, dead: &GatewayId, alive: &GatewayId, when: &str) {
    for (name, expected) in
        [("ann", &["one", "two", "three"][..]), ("bob", &["one", "three"]), ("cid", &["one", "two"]), ("zoe", &[])]
    {
        assert_eq!(rig.pending(name).await, expected, "pending of {name}, {when}");
    }
    let mut rings = rig.mailbox(alive).await;
    rings.dedup();
    assert_eq!(rings, ["ring ann"], "{when}");
    assert!(rig.storage.sessions.dead_gateways().await.unwrap().is_empty(), "{when}");
    assert!(rig.storage.sessions.sessions_of(dead, 10).await.unwrap().is_empty(), "{when}");
    assert_eq!(rig.storage.sessions.count().await.unwrap(), 2, "{when}");
    let item = MailboxItem::Ring { user: user("ann") };
    let put = rig.storage.mailboxes.put(dead, vec![item]).await.unwrap();
    assert_eq!(put, Put::Refused(Refusal::Gone), "{when}");
}

async fn reap_everything(storage: &Storage, name: &str) -> Result<ReapReport, StorageError> {
    let config = crate::FanoutConfig { lease_ttl: Duration::from_millis(5), ..quick() };
    reap_all(storage, &worker(name), &config, &Arc::default()).await
}

#[tokio::test]
async fn what_a_dead_gateway_had_not_confirmed_becomes_pending_and_those_elsewhere_are_rung() {
    let (rig, dead, alive) = died().await;
    let report = reap_everything(&rig.storage, "r").await.unwrap();
    assert_eq!(report, ReapReport { gateways: 1, sessions: 3, pending: 7 });
    assert_reaped(&rig, &dead, &alive, "in one go").await;
}

#[tokio::test]
async fn a_reaper_that_stops_around_any_call_is_continued_by_another() {
    for takes_effect in [false, true] {
        for call in 0.. {
            let (rig, dead, alive) = died().await;
            let hook = FailsOnce::at(call, takes_effect);
            let outcome = reap_everything(&hooked(&rig.storage, hook.clone()), "first").await;
            let Some(failed_call) = hook.failed_call() else {
                assert!(call > 12, "the test must reach every call, reached {call}");
                break;
            };
            assert!(outcome.is_err());
            reap_everything(&rig.storage, "second").await.unwrap();
            let when = format!("stop at call {call}, {failed_call}, takes effect: {takes_effect}");
            assert_reaped(&rig, &dead, &alive, &when).await;
        }
    }
}

#[tokio::test]
async fn every_page_of_a_long_mailbox_and_of_many_sessions_is_dealt_with() {
    let rig = Rig::new();
    let dead = rig.gateway("dead").await;
    for number in 0..600 {
        rig.session(&format!("user-{number}"), &dead, number, Joined::Nothing).await;
    }
    rig.session("ann", &dead, 1000, Joined::Notifications).await;
    rig.change("c", Change::Set(users(&["ann"]))).await;
    let contents: Vec<String> = (0..600).map(|number| number.to_string()).collect();
    for content in &contents {
        rig.say("c", "zoe", content).await;
    }
    rig.process("w").await;
    rig.kill(&dead).await;
    let report = reap_everything(&rig.storage, "r").await.unwrap();
    assert_eq!(report, ReapReport { gateways: 1, sessions: 601, pending: 600 });
    assert_eq!(rig.pending("ann").await, contents);
}

#[tokio::test]
async fn a_gateway_is_reaped_when_two_scans_in_a_row_find_it_dead() {
    let (rig, dead, alive) = died().await;
    let (_stop, stopped) = watch::channel(false);
    let mut reaper = Reaper::new(rig.context("r"), stopped);
    reaper.scan().await.unwrap();
    assert_eq!(rig.storage.sessions.renew_gateway(&dead, LONG).await.unwrap(), Renewal::Kept);
    reaper.scan().await.unwrap();
    rig.kill(&dead).await;
    reaper.scan().await.unwrap();
    assert_eq!(
        rig.storage.sessions.dead_gateways().await.unwrap(),
        std::slice::from_ref(&dead),
        "seen dead once since it lived"
    );
    reaper.scan().await.unwrap();
    assert_reaped(&rig, &dead, &alive, "after the second scan").await;
}

#[tokio::test]
async fn a_gateway_claimed_by_another_worker_is_left_to_it() {
    let (rig, dead, _) = died().await;
    assert!(rig.storage.sessions.claim_gateway(&dead, &worker("other"), LONG).await.unwrap());
    assert!(!reap(&rig.context("r"), &dead, &mut ReapReport::default()).await.unwrap());
    assert_eq!(rig.pending("ann").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_running_fanout_reaps() {
    let (rig, dead, alive) = died().await;
    let metrics = Arc::new(FanoutMetrics::default());
    let fanout = Fanout::start(rig.storage.clone(), quick(), metrics.clone());
    eventually("the gateway is reaped", || async { metrics.reaped_gateways.get() == 1 }).await;
    assert_reaped(&rig, &dead, &alive, "by the running fanout").await;
    assert_eq!(metrics.pending_reaped.get(), 7);
    fanout.stop().await;
}

#[tokio::test]
async fn a_restart_reaps_the_gateways_of_before_and_keeps_what_is_to_be_closed() {
    let (rig, ..) = died().await;
    let (partition, metrics) = (PartitionId(0), Arc::new(FanoutMetrics::default()));
    let context = Context::new(rig.storage.clone(), quick(), metrics, worker("w"));
    removals::write_down(&context, partition, &chat("c"), &users(&["ann", "cid"])).await.unwrap();
    drop(context);

    let rig = rig.reopen();
    let report = reap_everything(&rig.storage, "r").await.unwrap();
    assert_eq!(report.pending, 7);
    let new = rig.gateway("new").await;
    for (number, name) in ["ann", "cid"].into_iter().enumerate() {
        rig.session(name, &new, number as u64, Joined::Room("c")).await;
    }
    rig.process("another").await;
    assert_eq!(rig.mailbox(&new).await, ["close c cid"], "ann is a member");
    rig.process("yet another").await;
    assert_eq!(rig.mailbox(&new).await, ["close c cid"], "done once");
}
