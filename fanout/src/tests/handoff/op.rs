//! What can happen, and how often.

use proptest::prelude::*;

/// What can happen.
#[derive(Debug, Clone)]
pub(super) enum Op {
    /// Some process does its next storage call.
    Step(u16),
    Send {
        chat: u8,
        sender: u8,
    },
    Change {
        chat: u8,
        user: u8,
        add: bool,
    },
    Connect {
        gateway: u8,
        user: u8,
        joins: u8,
    },
    Disconnect(u16),
    Confirm(u16),
    ReadMailbox(u8),
    CrashGateway(u8),
    /// The gateway goes on, not knowing.
    LeaseRunsOut(u8),
    Reap(u16),
    /// As a new worker; one that still acts is overtaken.
    StartFanout,
    CrashFanoutOrReaper(u16),
    /// Some process crashes within its next storage call, which may take effect, in part or later.
    CrashWithinStep {
        which: u16,
        polls: u32,
    },
}

/// Any course of events.
pub(super) fn ops() -> impl Strategy<Value = Vec<Op>> {
    let any = || any::<u16>();
    let op = prop_oneof![
        120 => any().prop_map(Op::Step),
        12 => (0..2_u8, 0..3_u8).prop_map(|(chat, sender)| Op::Send { chat, sender }),
        2 => (0..2_u8, 0..3_u8, prop::bool::ANY).prop_map(|(chat, user, add)| Op::Change { chat, user, add }),
        10 => (0..2_u8, 0..3_u8, 0..3_u8).prop_map(|(gateway, user, joins)| Op::Connect { gateway, user, joins }),
        5 => any().prop_map(Op::Disconnect),
        6 => any().prop_map(Op::Confirm),
        8 => (0..2_u8).prop_map(Op::ReadMailbox),
        2 => (0..2_u8).prop_map(Op::CrashGateway),
        1 => (0..2_u8).prop_map(Op::LeaseRunsOut),
        3 => any().prop_map(Op::Reap),
        5 => Just(Op::StartFanout),
        1 => any().prop_map(Op::CrashFanoutOrReaper),
        3 => (any(), 1..4_u32).prop_map(|(which, polls)| Op::CrashWithinStep { which, polls }),
    ];
    prop::collection::vec(op, 50..500)
}
