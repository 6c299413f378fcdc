//! The property everything stands on: whatever happens in whatever order, each accepted message is, for each member at
//! its place, in the log above the cursor, in a mailbox above its confirmed position, pending, or confirmed.
//!
//! Checked after every single storage call of every process, each process being stepped by hand.

mod gateway;
mod turns;
mod world;

use proptest::prelude::*;

use self::world::{Op, World};

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let any = || any::<u16>();
    let op = prop_oneof![
        50 => any().prop_map(Op::Step),
        12 => (0..2_u8, 0..3_u8).prop_map(|(chat, sender)| Op::Send { chat, sender }),
        2 => (0..2_u8, 0..3_u8, prop::bool::ANY).prop_map(|(chat, user, add)| Op::Change { chat, user, add }),
        10 => (0..2_u8, 0..3_u8, 0..3_u8).prop_map(|(gateway, user, joins)| Op::Connect { gateway, user, joins }),
        5 => any().prop_map(Op::Disconnect),
        6 => any().prop_map(Op::Confirm),
        8 => (0..2_u8).prop_map(Op::ReadMailbox),
        2 => (0..2_u8).prop_map(Op::CrashGateway),
        1 => (0..2_u8).prop_map(Op::LeaseRunsOut),
        4 => any().prop_map(Op::Reap),
        8 => Just(Op::StartFanout),
        2 => any().prop_map(Op::CrashFanoutOrReaper),
    ];
    prop::collection::vec(op, 20..250)
}

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
