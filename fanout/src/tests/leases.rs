//! Who holds a partition, and what a worker does that no longer does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use roost_storage::*;

use super::hooked::{Hook, hooked};
use super::rig::*;
use crate::context::Interrupted;
use crate::{Fanout, FanoutConfig, FanoutMetrics};

/// Another worker takes the partition over right before a call, and does all there is to do.
struct Overtaken {
    storage: Storage,
    before: Mutex<Option<&'static str>>,
    calls: Mutex<Vec<&'static str>>,
}

#[async_trait]
impl Hook for Overtaken {
    async fn before(&self, call: &'static str) -> Result<(), StorageError> {
        let now = self.before.lock().unwrap().take_if(|before| *before == call).is_some();
        if now {
            process(&context(&self.storage, "second")).await.unwrap();
            self.calls.lock().unwrap().clear();
        }
        self.calls.lock().unwrap().push(call);
        Ok(())
    }
    async fn after(&self, _call: &'static str) -> Result<(), StorageError> {
        Ok(())
    }
}

#[tokio::test]
async fn an_overtaken_worker_stops_and_what_it_did_twice_has_the_same_id() {
    for (before, calls_afterwards) in [
        ("log.renew", &["log.renew"][..]),
        ("mailboxes.put", &["mailboxes.put", "pending.put", "sessions.look_up", "log.commit"]),
        ("log.commit", &["log.commit"]),
    ] {
        let rig = Rig::new();
        let a = rig.gateway("a").await;
        rig.session("ann", &a, 1, Joined::Notifications).await;
        rig.change("c", Change::Set(users(&["ann", "bob"]))).await;
        rig.process("zeroth").await;
        rig.say("c", "zoe", "one").await;
        let hook = Arc::new(Overtaken {
            storage: rig.storage.clone(),
            before: Mutex::new(Some(before)),
            calls: Mutex::default(),
        });
        let outcome = process(&context(&hooked(&rig.storage, hook.clone()), "first")).await;
        assert!(matches!(outcome, Err(Interrupted::LeaseLost)), "{before}: {outcome:?}");
        assert_eq!(*hook.calls.lock().unwrap(), calls_afterwards, "{before}");
        let mut mailbox = rig.mailbox(&a).await;
        mailbox.dedup();
        assert_eq!(mailbox, ["one>ann"], "{before}");
        assert_eq!(rig.pending("bob").await, ["one"], "{before}");
    }
}

/// Never lets a call through.
struct Hangs(&'static str);

#[async_trait]
impl Hook for Hangs {
    async fn before(&self, call: &'static str) -> Result<(), StorageError> {
        if call == self.0 { std::future::pending().await } else { Ok(()) }
    }
    async fn after(&self, _call: &'static str) -> Result<(), StorageError> {
        Ok(())
    }
}

/// Announcements fail while it is set.
#[derive(Default)]
struct Away(AtomicBool);

#[async_trait]
impl Hook for Away {
    async fn before(&self, call: &'static str) -> Result<(), StorageError> {
        let fails = call == "log.announce" && self.0.load(Ordering::Relaxed);
        if fails { Err(StorageError::Unavailable("away".into())) } else { Ok(()) }
    }
    async fn after(&self, _call: &'static str) -> Result<(), StorageError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_fanout_is_announced_for_as_long_as_its_announcement_is_believed() {
    let (rig, hook) = (Rig::new(), Arc::new(Away::default()));
    let (fanout, _metrics) = start(&hooked(&rig.storage, hook.clone()), quick());
    let announced = fanout.announced();
    eventually("it is announced", || async { announced.now() }).await;
    hook.0.store(true, Ordering::Relaxed);
    eventually("its announcement has run out", || async { !announced.now() }).await;
    hook.0.store(false, Ordering::Relaxed);
    eventually("it is announced again", || async { announced.now() }).await;
    fanout.stop().await;
    assert!(!announced.now());
}

fn start(storage: &Storage, config: FanoutConfig) -> (Fanout, Arc<FanoutMetrics>) {
    let metrics = Arc::new(FanoutMetrics::default());
    (Fanout::start(storage.clone(), config, metrics.clone()), metrics)
}

#[tokio::test]
async fn a_lease_is_kept_during_a_long_batch_and_a_stop_abandons_it_uncommitted() {
    let rig = Rig::new();
    rig.change("c", Change::Set(users(&["ann"]))).await;
    rig.say("c", "zoe", "one").await;
    let config = FanoutConfig { stop_timeout: Duration::from_millis(20), ..quick() };
    let (fanout, metrics) = start(&hooked(&rig.storage, Arc::new(Hangs("pending.put"))), config.clone());
    eventually("the partition is held", || async { metrics.partitions_held.get() == 1 }).await;
    tokio::time::sleep(config.lease_ttl * 2).await;
    let acquired = rig.storage.log.acquire(PartitionId(0), &worker("other"), LONG).await.unwrap();
    assert_eq!(acquired, Acquired::Taken, "twice the lease's life has passed");
    fanout.stop().await;
    let acquired = rig.storage.log.acquire(PartitionId(0), &worker("other"), LONG).await.unwrap();
    let Acquired::Held { lease, .. } = acquired else { panic!("the lease was not given back") };
    rig.storage.log.release(&lease).await.unwrap();
    assert_eq!(rig.storage.log.lag(PartitionId(0)).await.unwrap(), 2);
    rig.process("another").await;
    assert_eq!(rig.pending("ann").await, ["one"]);
}

#[tokio::test]
async fn partitions_are_shared_and_handed_over_without_waiting_for_a_lease() {
    let rig = Rig::with(|config| config.partitions = 16.try_into().unwrap());
    let config = FanoutConfig { lease_ttl: LONG, ..quick() };
    let (first, first_metrics) = start(&rig.storage, config.clone());
    eventually("the first holds all", || async { first_metrics.partitions_held.get() == 16 }).await;
    let (second, second_metrics) = start(&rig.storage, config);
    eventually("both hold some", || async {
        let (first, second) = (first_metrics.partitions_held.get(), second_metrics.partitions_held.get());
        first + second == 16 && second > 0 && first > 0
    })
    .await;
    first.stop().await;
    assert_eq!(first_metrics.partitions_held.get(), 0);
    eventually("the second holds all", || async { second_metrics.partitions_held.get() == 16 }).await;
    assert_eq!((first_metrics.lease_losses.get(), second_metrics.lease_losses.get()), (0, 0));
    second.stop().await;
}

#[tokio::test]
async fn a_crashed_workers_partitions_are_taken_once_their_leases_have_run_out() {
    let rig = Rig::with(|config| config.partitions = 4.try_into().unwrap());
    let (first, first_metrics) = start(&rig.storage, quick());
    eventually("the first holds all", || async { first_metrics.partitions_held.get() == 4 }).await;
    drop(first);
    rig.change("c", Change::Set(users(&["ann"]))).await;
    rig.say("c", "zoe", "one").await;
    let (second, second_metrics) = start(&rig.storage, quick());
    eventually("the second holds all", || async { second_metrics.partitions_held.get() == 4 }).await;
    rig.caught_up().await;
    assert_eq!(rig.pending("ann").await, ["one"]);
    second.stop().await;
}

/// The storage can not be reached while it is set.
#[derive(Default)]
struct CutOff(AtomicBool);

#[async_trait]
impl Hook for CutOff {
    async fn before(&self, _call: &'static str) -> Result<(), StorageError> {
        if self.0.load(Ordering::SeqCst) { Err(StorageError::Unavailable("cut off".into())) } else { Ok(()) }
    }
    async fn after(&self, _call: &'static str) -> Result<(), StorageError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_worker_that_is_cut_off_loses_its_partition_and_takes_part_again_afterwards() {
    let rig = Rig::new();
    rig.change("c", Change::Set(users(&["ann"]))).await;
    let cut_off = Arc::new(CutOff::default());
    let (fanout, metrics) = start(&hooked(&rig.storage, cut_off.clone()), quick());
    rig.caught_up().await;
    cut_off.0.store(true, Ordering::SeqCst);
    rig.say("c", "zoe", "one").await;
    let lease = Mutex::new(None);
    eventually("the lease has run out", || async {
        let acquired = rig.storage.log.acquire(PartitionId(0), &worker("other"), LONG).await.unwrap();
        if let Acquired::Held { lease: held, .. } = acquired {
            *lease.lock().unwrap() = Some(held);
        }
        lease.lock().unwrap().is_some()
    })
    .await;
    eventually("the partition is dropped", || async { metrics.partitions_held.get() == 0 }).await;
    assert!(metrics.retries_unavailable.get() > 0);
    cut_off.0.store(false, Ordering::SeqCst);
    assert_eq!(rig.storage.log.lag(PartitionId(0)).await.unwrap(), 1);
    let lease = lease.lock().unwrap().take().unwrap();
    rig.storage.log.release(&lease).await.unwrap();
    rig.caught_up().await;
    assert_eq!(rig.pending("ann").await, ["one"]);
    fanout.stop().await;
}
