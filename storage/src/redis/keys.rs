//! The key schema. Every key of one script carries the same hash tag, so that in a Cluster they are in one slot:
//!
//! | key | type | holds |
//! |---|---|---|
//! | `{format}` | hash | `version` and `partitions`: fixed when the store is made |
//! | `{pN}log` | stream | partition N's entries above its cursor: `c` chat, `s` sequence, `p` previous sequence, `b` body |
//! | `{pN}cursor` | string | the last committed stream id |
//! | `{pN}lease` | hash | `worker`, `until` (ms), `epoch`; the epoch outlives its holders |
//! | `{pN}clock:CHAT` | string, 24 h | the chat's last sequence |
//! | `{pN}seen:SHARD:BUCKET` | hash, 1–2 windows | dedupe key → sequence |
//! | `{workers}` | sorted set | fanout workers by expiry (ms) |
//! | `{gateways}` | set | every known gateway |
//! | `{gw:ID}gateway` | hash | mailbox: `open`, `fenced`, `confirmed`; lease: `up`, `until`, `claimed_by`, `claimed_until` |
//! | `{gw:ID}mailbox` | stream | entries above the confirmed position: `i` item |
//! | `{gw:ID}sessions` | set | the gateway's sessions: `NUMBER USER` |
//! | `{gw:ID}follows` | set | the chats the gateway follows |
//! | `{u:USER}sessions` | hash | connection → session |
//! | `{c:CHAT}followers` | set | the gateways that follow the chat |
//!
//! All begin with the configured prefix. Signals travel on channels `PREFIXsignal:CHAT`.
//!
//! **Dedupe keys** are fields of small hashes, one per window and shard, not keys of their own. Measured on Redis 7.0:
//! 226 bytes for a field alone in its hash, 64 among 4, 34 among 64, where a key of its own takes 165. So a quiet store
//! pays little in all (524,288 hashes a window, with 64 partitions), and a busy one a fifth a message. A hash stays in
//! the compact encoding up to `hash-max-listpack-entries` (512): 268 million messages a window.

use std::fmt;

use crate::{ChatId, DedupeKey, GatewayId, PartitionId, UserId};

/// Shards of a partition's dedupe keys. Changing it makes repetitions across the change new messages.
const DEDUPE_SHARDS: u16 = 8192;

/// Makes keys.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
}

impl Keys {
    /// `prefix` has no brace: [`super::RedisConfig::faults`] says so.
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    pub(super) fn format(&self) -> String {
        self.of("format", "")
    }

    pub(super) fn log(&self, partition: PartitionId) -> String {
        self.of_partition(partition, "log")
    }

    pub(super) fn cursor(&self, partition: PartitionId) -> String {
        self.of_partition(partition, "cursor")
    }

    pub(super) fn lease(&self, partition: PartitionId) -> String {
        self.of_partition(partition, "lease")
    }

    pub(super) fn clock(&self, partition: PartitionId, chat: &ChatId) -> String {
        self.of_partition(partition, format_args!("clock:{chat}"))
    }

    /// What the names of the dedupe hashes begin with that `key` may be in; the script adds the bucket.
    pub(super) fn dedupe_shard(&self, partition: PartitionId, key: &DedupeKey) -> String {
        let shard = u16::from_be_bytes([key.0[0], key.0[1]]) % DEDUPE_SHARDS;
        self.of_partition(partition, format_args!("seen:{shard:04x}:"))
    }

    pub(super) fn workers(&self) -> String {
        self.of("workers", "")
    }

    pub(super) fn gateways(&self) -> String {
        self.of("gateways", "")
    }

    pub(super) fn gateway(&self, gateway: &GatewayId) -> String {
        self.of_gateway(gateway, "gateway")
    }

    pub(super) fn mailbox(&self, gateway: &GatewayId) -> String {
        self.of_gateway(gateway, "mailbox")
    }

    pub(super) fn sessions_of_gateway(&self, gateway: &GatewayId) -> String {
        self.of_gateway(gateway, "sessions")
    }

    pub(super) fn followed_by_gateway(&self, gateway: &GatewayId) -> String {
        self.of_gateway(gateway, "follows")
    }

    pub(super) fn sessions_of_user(&self, user: &UserId) -> String {
        self.of(format_args!("u:{user}"), "sessions")
    }

    pub(super) fn followers_of_chat(&self, chat: &ChatId) -> String {
        self.of(format_args!("c:{chat}"), "followers")
    }

    pub(super) fn signals(&self, chat: &ChatId) -> String {
        format!("{}signal:{chat}", self.prefix)
    }

    fn of_partition(&self, partition: PartitionId, rest: impl fmt::Display) -> String {
        self.of(format_args!("p{}", partition.0), rest)
    }

    fn of_gateway(&self, gateway: &GatewayId, rest: impl fmt::Display) -> String {
        self.of(format_args!("gw:{gateway}"), rest)
    }

    fn of(&self, tag: impl fmt::Display, rest: impl fmt::Display) -> String {
        format!("{}{{{tag}}}{rest}", self.prefix)
    }
}

/// How many slots a Cluster has.
pub(super) const SLOTS: u16 = 16384;

/// The slot a Cluster keeps `key` in: CRC-16/XMODEM of its hash tag, or of all of it when it has none.
pub(super) fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    let hashed = tag.filter(|tag| !tag.is_empty()).unwrap_or(key);
    let crc = hashed.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(
            crc ^ (u16::from(byte) << 8),
            |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
            },
        )
    });
    crc % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        // From the specification, and from `CLUSTER KEYSLOT` of a server.
        assert_eq!(slot("123456789"), 0x31c3);
        assert_eq!(slot("foo"), 12182);
        assert_eq!(slot("a{foo}b"), 12182);
        assert_eq!(slot("{}foo"), slot("{}foo"));
        assert_ne!(slot("{}foo"), slot("foo"));
    }

    #[test]
    fn keys_of_one_script_are_in_one_slot_whatever_the_ids_hold() {
        let keys = Keys::new("roost:");
        for text in ["a", "}", "{", "{}", "a}b{c", "}sessions"] {
            let gateway = GatewayId::new(text).unwrap();
            let of_gateway = [
                keys.gateway(&gateway),
                keys.mailbox(&gateway),
                keys.sessions_of_gateway(&gateway),
                keys.followed_by_gateway(&gateway),
            ];
            assert!(of_gateway.iter().all(|key| slot(key) == slot(&of_gateway[0])), "{text}");
            let chat = ChatId::new(text).unwrap();
            let partition = PartitionId(7);
            let clock = keys.clock(partition, &chat);
            let shard = keys.dedupe_shard(partition, &DedupeKey([0xff; 16]));
            for key in [keys.log(partition), keys.cursor(partition), keys.lease(partition), shard] {
                assert_eq!(slot(&key), slot(&clock), "{text}");
            }
        }
    }

    #[test]
    fn the_schema_never_changes() {
        let keys = Keys::new("roost:");
        let (partition, gateway) = (PartitionId(7), GatewayId::new("00ff").unwrap());
        assert_eq!(keys.log(partition), "roost:{p7}log");
        assert_eq!(keys.clock(partition, &ChatId::new("c1").unwrap()), "roost:{p7}clock:c1");
        assert_eq!(keys.dedupe_shard(partition, &DedupeKey([0xff; 16])), "roost:{p7}seen:1fff:");
        assert_eq!(keys.gateway(&gateway), "roost:{gw:00ff}gateway");
        assert_eq!(keys.sessions_of_user(&UserId::new("u1").unwrap()), "roost:{u:u1}sessions");
        assert_eq!(keys.followed_by_gateway(&gateway), "roost:{gw:00ff}follows");
        assert_eq!(keys.followers_of_chat(&ChatId::new("c1").unwrap()), "roost:{c:c1}followers");
        assert_eq!(keys.gateways(), "roost:{gateways}");
    }
}
