//! The tokens verified last, by digest. At its bound the one not used for longest goes.

use std::collections::{BTreeMap, HashMap};

use super::Verified;

pub(super) struct TokenCache {
    bound: usize,
    entries: HashMap<[u8; 32], Entry>,
    /// Digests by last use: the first is the oldest.
    by_use: BTreeMap<u64, [u8; 32]>,
    uses: u64,
}

struct Entry {
    verified: Verified,
    last_use: u64,
}

impl TokenCache {
    pub(super) fn new(bound: usize) -> Self {
        Self { bound, entries: HashMap::new(), by_use: BTreeMap::new(), uses: 0 }
    }

    pub(super) fn get(&mut self, digest: &[u8; 32]) -> Option<Verified> {
        let entry = self.entries.get_mut(digest)?;
        self.by_use.remove(&entry.last_use);
        self.uses += 1;
        entry.last_use = self.uses;
        self.by_use.insert(self.uses, *digest);
        Some(entry.verified.clone())
    }

    pub(super) fn put(&mut self, digest: [u8; 32], verified: Verified) {
        if let Some(old) = self.entries.remove(&digest) {
            self.by_use.remove(&old.last_use);
        }
        if self.entries.len() >= self.bound
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.uses += 1;
        self.by_use.insert(self.uses, digest);
        self.entries.insert(digest, Entry { verified, last_use: self.uses });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roost_storage::UserId;
    use std::time::SystemTime;

    fn verified(user: &str) -> Verified {
        Verified { user: UserId::new(user).unwrap(), expires_at: SystemTime::UNIX_EPOCH, device: None }
    }

    #[test]
    fn at_the_bound_the_one_not_used_for_longest_goes() {
        let mut cache = TokenCache::new(2);
        cache.put([1; 32], verified("a"));
        cache.put([2; 32], verified("b"));
        assert!(cache.get(&[1; 32]).is_some());
        cache.put([3; 32], verified("c"));
        assert_eq!(cache.get(&[2; 32]), None);
        assert_eq!(cache.get(&[1; 32]), Some(verified("a")));
        assert_eq!(cache.get(&[3; 32]), Some(verified("c")));
        assert_eq!((cache.entries.len(), cache.by_use.len()), (2, 2));
    }

    #[test]
    fn the_same_token_twice_takes_one_place() {
        let mut cache = TokenCache::new(2);
        cache.put([1; 32], verified("a"));
        cache.put([1; 32], verified("a"));
        cache.put([2; 32], verified("b"));
        assert!(cache.get(&[1; 32]).is_some());
        assert_eq!((cache.entries.len(), cache.by_use.len()), (2, 2));
    }
}
