//! The property everything stands on: whatever happens in whatever order, each accepted message is, for each member at
//! its place, in the log above the cursor, in a mailbox above its confirmed position, pending, or confirmed.
//!
//! Checked after every single storage call of every process, each process being stepped by hand.

mod answers;
mod gateway;
mod on_servers;
mod op;
mod turns;
mod world;

use proptest::prelude::*;

use self::answers::Answers;
use self::op::{Op, ops};
use self::world::World;
use super::rig::Rig;

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() }
}

async fn run(rig: Rig, answers: Answers, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let mut world = World::new(rig, answers).await;
    for op in ops {
        world.act(op).await?;
    }
    world.finish().await
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn every_message_is_somewhere_for_every_member_after_every_call(ops in ops()) {
        let outcome = runtime().block_on(run(Rig::new(), Answers::AtOnce, ops));
        prop_assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    }
}
