//! The same property with log, mailboxes and sessions on a real server. Apart from the unit tests by its name, since it
//! starts a process.

use std::cell::Cell;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use roost_harness::redis::{Server, Software};
use roost_storage::Storage;
use roost_storage::redis::{Durability, RedisConfig, RedisStorage, RedisUrl};

use super::answers::Answers;
use super::op::ops;
use super::{cases, run, runtime};
use crate::tests::rig::Rig;

/// A rig on the server, apart from all others by the prefix of its keys. The connections live as long as the runtime.
async fn rig(url: &str, key_prefix: String) -> Rig {
    let config = RedisConfig {
        url: RedisUrl::new(url),
        // The server does not die here: what it keeps then is the storage tests' subject.
        durability: Durability::Memory,
        partitions: 1.try_into().unwrap(),
        key_prefix,
        connections: 1,
        ..RedisConfig::default()
    };
    let redis = RedisStorage::open(&config, Duration::from_secs(3600)).await.unwrap();
    Rig::new()
        .over(|Storage { pending, history, chats, cursors, .. }| redis.storage_with(pending, history, chats, cursors))
}

#[test]
fn every_message_is_somewhere_for_every_member_after_every_call_on_redis() {
    let server = Server::start(Software::Valkey, &[]);
    let case = Cell::new(0);
    let outcome = TestRunner::new(ProptestConfig { max_shrink_iters: 50, ..cases(16) }).run(&ops(), |ops| {
        case.set(case.get() + 1);
        let prefix = format!("case-{}:", case.get());
        let outcome = runtime().block_on(async { run(rig(&server.url(), prefix).await, Answers::InTime, ops).await });
        prop_assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
