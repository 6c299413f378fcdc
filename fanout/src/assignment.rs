//! Which worker a partition belongs to: rendezvous hashing, so that a worker that comes or goes moves only its share.

use roost_storage::{PartitionId, WorkerId};

/// The worker that `partition` belongs to among `workers`; none when there are none. Every worker that sees the same
/// list says the same.
pub(crate) fn owner(partition: PartitionId, workers: &[WorkerId]) -> Option<&WorkerId> {
    workers.iter().max_by_key(|worker| (score(partition, worker), worker.as_str().to_owned()))
}

/// FNV-1a over both names with the final mix of MurmurHash3: workers of different versions must agree on it, so it is
/// spelled out here instead of taken from the standard library.
fn score(partition: PartitionId, worker: &WorkerId) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in partition.0.to_be_bytes().into_iter().chain(worker.as_str().bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn workers(count: usize) -> Vec<WorkerId> {
        (0..count).map(|number| WorkerId::new(format!("worker-{number}")).unwrap()).collect()
    }

    #[test]
    fn nobody_owns_a_partition_when_nobody_lives() {
        assert_eq!(owner(PartitionId(0), &[]), None);
    }

    #[test]
    fn the_order_of_the_list_does_not_matter() {
        let mut list = workers(5);
        let before: Vec<_> = (0..64).map(|number| owner(PartitionId(number), &list).cloned()).collect();
        list.reverse();
        let after: Vec<_> = (0..64).map(|number| owner(PartitionId(number), &list).cloned()).collect();
        assert_eq!(before, after);
    }

    #[test]
    fn shares_are_roughly_even() {
        let list = workers(4);
        let mut shares = BTreeMap::new();
        for number in 0..1024 {
            *shares.entry(owner(PartitionId(number), &list).unwrap()).or_insert(0) += 1;
        }
        assert_eq!(shares.len(), 4);
        assert!(shares.values().all(|share| (180..=330).contains(share)), "{shares:?}");
    }

    #[test]
    fn a_worker_that_leaves_moves_only_its_own_partitions() {
        let all = workers(4);
        let fewer = &all[..3];
        for number in 0..256 {
            let before = owner(PartitionId(number), &all).unwrap();
            if before != &all[3] {
                assert_eq!(owner(PartitionId(number), fewer), Some(before));
            }
        }
    }
}
