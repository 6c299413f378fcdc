//! The members of the chats of one partition, cached.
//!
//! Exact, never refreshed by time: loaded from [`roost_storage::Chats`], then changed only by the partition's own
//! membership changes at their place in the order. Whoever re-acquires the partition or reloads its cursor starts with
//! an empty one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use roost_storage::{Change, ChatId, StorageError, UserId};

use crate::context::Context;

pub(crate) struct Members {
    context: Arc<Context>,
    chats: HashMap<ChatId, Cached>,
    /// Least recently used first.
    by_use: BTreeMap<u64, ChatId>,
    uses: u64,
    weight: usize,
}

struct Cached {
    members: Arc<BTreeSet<UserId>>,
    used: u64,
}

/// A chat without members takes room, too.
fn weight(members: &BTreeSet<UserId>) -> usize {
    members.len() + 1
}

impl Members {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context, chats: HashMap::new(), by_use: BTreeMap::new(), uses: 0, weight: 0 }
    }

    /// The members of `chat` after every change handed to [`Members::change`].
    pub(crate) async fn of(&mut self, chat: &ChatId) -> Result<Arc<BTreeSet<UserId>>, StorageError> {
        if let Some(members) = self.take(chat) {
            self.keep(chat.clone(), members.clone());
            return Ok(members);
        }
        let members = Arc::new(load(&self.context, chat).await?);
        self.keep(chat.clone(), members.clone());
        Ok(members)
    }

    /// Makes an applied change part of what is cached.
    pub(crate) fn change(&mut self, chat: &ChatId, change: &Change) {
        let Some(mut members) = self.take(chat) else { return };
        let set = Arc::make_mut(&mut members);
        match change {
            Change::Set(users) => set.clone_from(users),
            Change::Add(user) => {
                set.insert(user.clone());
            }
            Change::Remove(user) => {
                set.remove(user);
            }
        }
        self.keep(chat.clone(), members);
    }

    fn take(&mut self, chat: &ChatId) -> Option<Arc<BTreeSet<UserId>>> {
        let cached = self.chats.remove(chat)?;
        self.by_use.remove(&cached.used);
        self.set_weight(self.weight - weight(&cached.members));
        Some(cached.members)
    }

    /// A chat larger than the whole share is not kept: it is loaded again for each batch.
    fn keep(&mut self, chat: ChatId, members: Arc<BTreeSet<UserId>>) {
        let (share, added) = (self.context.members_cache_share(), weight(&members));
        if added > share {
            return;
        }
        while self.weight + added > share {
            let Some((_, oldest)) = self.by_use.first_key_value() else { break };
            let oldest = oldest.clone();
            self.take(&oldest);
            self.context.metrics.members_evictions.inc();
        }
        self.uses += 1;
        self.by_use.insert(self.uses, chat.clone());
        self.chats.insert(chat, Cached { members, used: self.uses });
        self.set_weight(self.weight + added);
    }

    fn set_weight(&mut self, weight: usize) {
        let of = |weight| i64::try_from(weight).unwrap_or(i64::MAX);
        self.context.metrics.members_cached.add(of(weight) - of(self.weight));
        self.weight = weight;
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        self.set_weight(0);
    }
}

async fn load(context: &Context, chat: &ChatId) -> Result<BTreeSet<UserId>, StorageError> {
    let mut members = BTreeSet::new();
    let mut after = None;
    loop {
        let page = context.storage.chats.members(chat, after.as_ref(), context.config.look_up_max.max(1)).await?;
        members.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(members),
        }
    }
}
