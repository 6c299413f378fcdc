//! The property everything stands on: whatever happens in whatever order, each accepted message is, for each member at
//! its place, in the log above the cursor, in a mailbox above its confirmed position, pending, or confirmed.
//!
//! Checked after every single storage call of every process, each process being stepped by hand.

mod gateway;
mod op;
mod turns;
mod world;

use proptest::prelude::*;

use self::op::ops;
use self::world::World;

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_message_is_somewhere_for_every_member_after_every_call(ops in ops()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let outcome = runtime.block_on(async {
            let mut world = World::new().await;
            for op in ops {
                world.act(op).await?;
            }
            world.finish().await
        });
        prop_assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    }
}
