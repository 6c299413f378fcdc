//! A crash, and a failed call, before and after every single storage call; then another worker on the same store.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use roost_storage::*;

use super::hooked::{Hook, hooked};
use super::rig::*;
use crate::{Fanout, FanoutMetrics};

/// Fails one call.
pub(super) struct FailsOnce {
    state: Mutex<State>,
}

struct State {
    /// Calls until it happens; none afterwards.
    left: Option<usize>,
    /// Whether the call takes effect although its caller is told that it failed.
    takes_effect: bool,
    failed_call: Option<&'static str>,
}

impl FailsOnce {
    pub(super) fn at(call: usize, takes_effect: bool) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { left: Some(call), takes_effect, failed_call: None }) })
    }

    pub(super) fn failed_call(&self) -> Option<&'static str> {
        self.state.lock().unwrap().failed_call
    }

    fn pass(&self, call: &'static str, is_after: bool) -> Result<(), StorageError> {
        let mut state = self.state.lock().unwrap();
        if is_after != state.takes_effect {
            return Ok(());
        }
        match state.left {
            Some(0) => {
                (state.left, state.failed_call) = (None, Some(call));
                Err(StorageError::Unavailable("the test says so".into()))
            }
            left => {
                state.left = left.map(|left| left - 1);
                Ok(())
            }
        }
    }
}

#[async_trait]
impl Hook for FailsOnce {
    async fn before(&self, call: &'static str) -> Result<(), StorageError> {
        self.pass(call, false)
    }
    async fn after(&self, call: &'static str) -> Result<(), StorageError> {
        self.pass(call, true)
    }
}

/// Members in the room, with notifications only, absent, and on a fenced gateway; messages around every kind of change.
async fn busy() -> (Rig, GatewayId, GatewayId) {
    let rig = Rig::new();
    let (a, b, fenced) = (rig.gateway("a").await, rig.gateway("b").await, rig.gateway("fenced").await);
    rig.storage.mailboxes.fence(&fenced).await.unwrap();
    rig.session("ann", &a, 1, Joined::Room("c")).await;
    rig.session("bob", &b, 1, Joined::Room("c")).await;
    rig.session("eve", &b, 2, Joined::Notifications).await;
    rig.session("fay", &fenced, 1, Joined::Room("c")).await;
    rig.change("c", Change::Set(users(&["ann", "bob", "dan", "fay", "zoe"]))).await;
    rig.say("c", "zoe", "one").await;
    rig.say("c", "ann", "two").await;
    rig.change("c", Change::Remove(user("ann"))).await;
    rig.say("c", "zoe", "three").await;
    rig.change("c", Change::Add(user("eve"))).await;
    rig.say("c", "zoe", "four").await;
    rig.change("c", Change::Set(users(&["ann", "dan", "eve"]))).await;
    rig.say("c", "zoe", "five").await;
    (rig, a, b)
}

/// Keeps the first of equal lines: what a receiver that knows messages by id sees.
fn once(lines: Vec<String>) -> Vec<String> {
    let mut seen = Vec::new();
    for line in lines {
        if !seen.contains(&line) {
            seen.push(line);
        }
    }
    seen
}

async fn assert_all_there(rig: &Rig, a: &GatewayId, b: &GatewayId, when: &str) {
    let expected_a = ["one>ann", "two>", "close c ann", "five>ann"];
    // Ann's own message is put where her room is, too; that she gets it is no obligation.
    let mailbox_a: Vec<_> = once(rig.mailbox(a).await);
    assert_eq!(mailbox_a, expected_a, "mailbox a, {when}");
    let expected_b = ["one>bob", "two>bob", "three>bob", "four>bob,eve", "close c bob", "five>eve"];
    assert_eq!(once(rig.mailbox(b).await), expected_b, "mailbox b, {when}");
    for (name, expected) in [
        ("dan", &["one", "two", "three", "four", "five"][..]),
        ("fay", &["one", "two", "three", "four"]),
        ("zoe", &["two"]),
        ("ann", &[]),
        ("bob", &[]),
        ("eve", &[]),
    ] {
        assert_eq!(rig.pending(name).await, expected, "pending of {name}, {when}");
    }
    assert_eq!(rig.storage.log.lag(PartitionId(0)).await.unwrap(), 0, "{when}");
}

#[tokio::test]
async fn a_crash_around_any_call_loses_nothing_and_gives_nothing_to_strangers() {
    for takes_effect in [false, true] {
        for call in 0.. {
            let (rig, a, b) = busy().await;
            let hook = FailsOnce::at(call, takes_effect);
            let outcome = process(&context(&hooked(&rig.storage, hook.clone()), "first")).await;
            let Some(failed_call) = hook.failed_call() else {
                assert!(call > 40, "the test must reach every call, reached {call}");
                break;
            };
            assert!(outcome.is_err(), "nothing goes on after a crash");
            rig.process("second").await;
            let when = format!("crash at call {call}, {failed_call}, takes effect: {takes_effect}");
            assert_all_there(&rig, &a, &b, &when).await;
        }
    }
}

#[tokio::test]
async fn a_failed_call_is_repeated_until_everything_is_there() {
    for takes_effect in [false, true] {
        for call in 0..60 {
            let (rig, a, b) = busy().await;
            let hook = FailsOnce::at(call, takes_effect);
            let metrics = Arc::new(FanoutMetrics::default());
            let fanout = Fanout::start(hooked(&rig.storage, hook.clone()), quick(), metrics.clone());
            rig.caught_up().await;
            fanout.stop().await;
            let when = format!("failure at call {call}, {:?}, takes effect: {takes_effect}", hook.failed_call());
            assert_all_there(&rig, &a, &b, &when).await;
        }
    }
}

/// Answers one call as a given error, always.
struct Refuses {
    call: &'static str,
    error: fn() -> StorageError,
}

#[async_trait]
impl Hook for Refuses {
    async fn before(&self, call: &'static str) -> Result<(), StorageError> {
        if call == self.call { Err((self.error)()) } else { Ok(()) }
    }
    async fn after(&self, _call: &'static str) -> Result<(), StorageError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_permanent_failure_is_reported_and_commits_nothing() {
    let (rig, ..) = busy().await;
    let lag = rig.storage.log.lag(PartitionId(0)).await.unwrap();
    let hook = Arc::new(Refuses { call: "chats.apply", error: || StorageError::Failed("disk full".into()) });
    let fanout = Fanout::start(hooked(&rig.storage, hook), quick(), Arc::default());
    let failure = tokio::time::timeout(LONG, fanout.failed()).await.unwrap();
    assert_eq!(crate::partition::chain(&failure), "the storage failed: the storage backend has failed: disk full");
    assert_eq!(rig.storage.log.lag(PartitionId(0)).await.unwrap(), lag);
    fanout.stop().await;
}

#[tokio::test]
async fn a_corrupt_record_halts_its_partition_and_skips_nothing() {
    let (rig, ..) = busy().await;
    let lag = rig.storage.log.lag(PartitionId(0)).await.unwrap();
    let corrupt = || StorageError::Corrupt { what: "event 0/1".into() };
    let hook = Arc::new(Refuses { call: "log.read", error: corrupt });
    let metrics = Arc::new(FanoutMetrics::default());
    let fanout = Fanout::start(hooked(&rig.storage, hook), quick(), metrics.clone());
    eventually("the partition is halted", || async { metrics.partitions_halted.get() == 1 }).await;
    assert_eq!(metrics.partitions_held.get(), 0);
    assert_eq!(rig.storage.log.lag(PartitionId(0)).await.unwrap(), lag);
    let reported = tokio::time::timeout(std::time::Duration::from_millis(50), fanout.failed()).await;
    assert!(reported.is_err(), "the process goes on for the other partitions");
    fanout.stop().await;
}
