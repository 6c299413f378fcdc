//! `[chats]`: what may be said, and who may come in.

use std::time::Duration;

use roost_storage::{Fault, Faults, duration_text};
use serde::{Deserialize, Serialize};

use super::GatewayConfig;

/// `[chats]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChatsConfig {
    /// Whether joining a chat enrols the user, and creates the chat when there is none. Standalone's default is true;
    /// anybody with a token can then read every chat whose id they know.
    pub open_join: bool,

    /// Longest content of a message, in bytes of UTF-8. Too low: long messages are refused. Too high: every one of them
    /// is stored, and pushed to every member.
    pub content_bytes_max: usize,

    /// Longest `mobile_ref_id`, in bytes. Too low: apps with long ids can not send. Too high: it is only echoed and
    /// hashed, so little breaks.
    pub mobile_ref_id_bytes_max: usize,

    /// How long sending again with the same `mobile_ref_id` and content gives the first message instead of a second.
    /// Too low: a phone that was offline for longer sends twice. Too high: one marker per message is kept that long.
    #[serde(with = "duration_text")]
    pub dedupe_window: Duration,

    /// How long a notification that nobody came for is kept. Too low: who was away for longer misses it (it stays in the
    /// chat's history). Too high: users who never come back fill the disk.
    #[serde(with = "duration_text")]
    pub pending_ttl: Duration,

    /// Whether joining a chat that does not exist is answered as joining one the user is not in, so that ids can not be
    /// tried out.
    pub hide_existence: bool,

    /// Most members in one API request. Too low: large chats take many requests. Too high: one request holds up the
    /// chat's partition while all of them are appended.
    pub members_per_request_max: usize,
}

impl Default for ChatsConfig {
    fn default() -> Self {
        Self {
            open_join: false,
            content_bytes_max: 4000,
            mobile_ref_id_bytes_max: 256,
            dedupe_window: Duration::from_hours(24),
            pending_ttl: Duration::from_hours(24 * 30),
            hide_existence: false,
            members_per_request_max: 1000,
        }
    }
}

impl ChatsConfig {
    /// What is wrong with the values by themselves, and with the gateway's.
    pub fn faults(&self, gateway: &GatewayConfig) -> Vec<Fault> {
        let mut faults = Faults::of("chats");
        faults.number("content_bytes_max", self.content_bytes_max, 1..=4_000_000);
        faults.number("mobile_ref_id_bytes_max", self.mobile_ref_id_bytes_max, 1..=4096);
        faults.duration("dedupe_window", self.dedupe_window, Duration::from_secs(1)..=Duration::from_hours(24 * 30));
        faults.duration("pending_ttl", self.pending_ttl, Duration::from_secs(1)..=Duration::from_hours(24 * 3650));
        faults.number("members_per_request_max", self.members_per_request_max, 1..=100_000);
        for (limit, name) in
            [(gateway.frame_bytes_max, "frame_bytes_max"), (gateway.outbound_bytes_max, "outbound_bytes_max")]
        {
            if self.content_bytes_max >= limit {
                let content = self.content_bytes_max;
                faults.add("content_bytes_max", format!("is {content}, which does not fit gateway.{name} ({limit})"));
            }
        }
        faults.found()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_no_fault_and_limits_are_checked() {
        let gateway = GatewayConfig::default();
        assert_eq!(ChatsConfig::default().faults(&gateway), []);
        let config = ChatsConfig {
            content_bytes_max: 0,
            mobile_ref_id_bytes_max: 0,
            dedupe_window: Duration::ZERO,
            pending_ttl: Duration::ZERO,
            members_per_request_max: 0,
            ..ChatsConfig::default()
        };
        let keys: Vec<_> = config.faults(&gateway).into_iter().map(|fault| fault.key).collect();
        assert_eq!(
            keys,
            [
                "chats.content_bytes_max",
                "chats.mobile_ref_id_bytes_max",
                "chats.dedupe_window",
                "chats.pending_ttl",
                "chats.members_per_request_max"
            ]
        );
    }

    #[test]
    fn content_must_fit_into_a_frame_and_a_queue() {
        let gateway = GatewayConfig { frame_bytes_max: 4000, outbound_bytes_max: 4000, ..GatewayConfig::default() };
        let faults = ChatsConfig::default().faults(&gateway);
        assert_eq!(faults.len(), 2);
        assert!(faults[0].problem.contains("gateway.frame_bytes_max (4000)"), "{}", faults[0]);
        assert!(faults[1].problem.contains("gateway.outbound_bytes_max (4000)"), "{}", faults[1]);
    }
}
