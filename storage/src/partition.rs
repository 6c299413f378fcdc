//! Which partition a chat's events go to.

use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use crate::ChatId;

/// One of the event log's partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PartitionId(pub u16);

/// How many partitions the event log has: fixed when the store is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partitions(pub NonZeroU16);

impl Partitions {
    /// The partition that holds every event of `chat`.
    pub fn of(self, chat: &ChatId) -> PartitionId {
        let hash = stable_hash(chat.as_str()) % u64::from(self.0.get());
        PartitionId(u16::try_from(hash).expect("a remainder of a u16 is a u16"))
    }

    /// Every partition.
    pub fn all(self) -> impl Iterator<Item = PartitionId> {
        (0..self.0.get()).map(PartitionId)
    }
}

/// FNV-1a, 64 bits, with a final mix: the same on every machine and in every version, since stored data depends
/// on it. <http://www.isthe.com/chongo/tech/comp/fnv/>, mix from MurmurHash3.
pub(crate) fn stable_hash(text: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_never_changes() {
        assert_eq!(stable_hash("674bd8ba5a0b920001bd9f5d"), 0xab49_aa27_c185_126e);
    }
}
