//! The members of the chats of one partition, and how their messages are routed, cached.
//!
//! Exact, never refreshed by time: loaded from [`roost_storage::Chats`], then changed only by the partition's own
//! membership changes at their place in the order. Whoever re-acquires the partition or reloads its cursor starts with
//! an empty one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use roost_storage::{Change, ChatId, Direction, MembershipChange, Routing, Sequence, Span, StorageError, UserId};

use crate::context::Context;
use crate::plan::Audience;

/// How often a chat may become a room and stop being one: what is kept of that has a bound.
const SWITCHES_MAX: usize = 16;

pub(crate) struct Members {
    context: Arc<Context>,
    chats: HashMap<ChatId, Cached>,
    /// Least recently used first.
    by_use: BTreeMap<u64, ChatId>,
    uses: u64,
    weight: usize,
}

struct Cached {
    known: Known,
    used: u64,
}

/// What is known of a chat. The members of a room are loaded only when they change.
#[derive(Clone)]
struct Known {
    spans: Vec<Span>,
    members: Option<Arc<BTreeSet<UserId>>>,
    /// The last message that was routed to the room, by this holder of the partition.
    routed: Option<Sequence>,
}

impl Known {
    /// A chat without members takes room, too.
    fn weight(&self) -> usize {
        self.members.as_ref().map_or(0, |members| members.len()) + 1
    }
}

/// What a change of members does besides.
pub(crate) struct Consequences {
    /// How messages after it are routed.
    pub(crate) routing: Routing,
    /// Whose gateways have to know that the chat is a room for them.
    pub(crate) entering: BTreeSet<UserId>,
    /// Whether the routing is another one than before. Not told of a change that is repeated.
    pub(crate) switches: bool,
}

impl Members {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context, chats: HashMap::new(), by_use: BTreeMap::new(), uses: 0, weight: 0 }
    }

    /// Whom a message of `chat` is for, after every change handed to [`Members::change`].
    pub(crate) async fn audience(&mut self, chat: &ChatId) -> Result<Audience, StorageError> {
        let known = self.known(chat, false).await?;
        Ok(match known.members {
            Some(members) if !Span::is_open(&known.spans) => Audience::Members(members),
            _ => Audience::Room,
        })
    }

    /// The message of a room before the one at `sequence`, which is being routed.
    pub(crate) async fn previous(
        &mut self,
        chat: &ChatId,
        sequence: Sequence,
    ) -> Result<Option<Sequence>, StorageError> {
        let known = self.known(chat, false).await?;
        let previous = match known.routed {
            Some(routed) if routed < sequence => Some(routed),
            _ => {
                let history = &self.context.storage.history;
                let before = history.range(chat, Some(sequence), Direction::Backward, 1).await?;
                before.last().map(|message| message.sequence)
            }
        };
        self.take(chat);
        self.keep(chat.clone(), Known { routed: Some(sequence), ..known });
        Ok(previous)
    }

    /// The members of `chat`.
    pub(crate) async fn of(&mut self, chat: &ChatId) -> Result<Arc<BTreeSet<UserId>>, StorageError> {
        Ok(self.known(chat, true).await?.members.unwrap_or_default())
    }

    /// What a change is about to do. The same when it is asked again after the change was applied, as after a crash.
    pub(crate) async fn consequences(
        &mut self,
        chat: &ChatId,
        sequence: Sequence,
        change: &Change,
    ) -> Result<Consequences, StorageError> {
        let members = self.of(chat).await?;
        let count = match change {
            Change::Set(users) => users.len(),
            Change::Add(user) => members.len() + usize::from(!members.contains(user)),
            Change::Remove(user) => members.len() - usize::from(members.contains(user)),
        };
        let before = self.known(chat, true).await?.spans;
        let routing = self.routing(&before, count);
        let switches = Span::is_open(&before) != (routing == Routing::Room);
        let after = Span::after(before, sequence, routing == Routing::Room);
        let begins = after.last() == Some(&Span { since: sequence, until: None });
        let entering = match change {
            _ if routing == Routing::Members => BTreeSet::new(),
            Change::Set(users) => users.clone(),
            Change::Add(user) if begins => members.iter().chain([user]).cloned().collect(),
            Change::Add(user) => BTreeSet::from([user.clone()]),
            Change::Remove(user) if begins => members.iter().filter(|member| *member != user).cloned().collect(),
            Change::Remove(_) => BTreeSet::new(),
        };
        Ok(Consequences { routing, entering, switches })
    }

    /// A room begins above a number of members and ends at half of it, so that few switch to and fro; one that did so
    /// for [`SWITCHES_MAX`] times stays a room.
    fn routing(&self, spans: &[Span], members: usize) -> Routing {
        let above = self.context.config.room_above;
        let is_room = match Span::is_open(spans) {
            true => members > above / 2 || spans.len() >= SWITCHES_MAX,
            false => members > above,
        };
        if is_room { Routing::Room } else { Routing::Members }
    }

    async fn known(&mut self, chat: &ChatId, with_members: bool) -> Result<Known, StorageError> {
        let mut known = match self.take(chat) {
            Some(known) => known,
            None => Known { spans: self.context.storage.chats.room_spans(chat).await?, members: None, routed: None },
        };
        if known.members.is_none() && (with_members || !Span::is_open(&known.spans)) {
            known.members = Some(Arc::new(load(&self.context, chat).await?));
        }
        self.keep(chat.clone(), known.clone());
        Ok(known)
    }

    /// Makes an applied change part of what is cached.
    pub(crate) fn change(&mut self, change: &MembershipChange) {
        let Some(Known { spans, members, routed }) = self.take(&change.chat) else { return };
        let spans = Span::after(spans, change.sequence, change.routing == Routing::Room);
        let members = members.map(|mut members| {
            let set = Arc::make_mut(&mut members);
            match &change.change {
                Change::Set(users) => set.clone_from(users),
                Change::Add(user) => {
                    set.insert(user.clone());
                }
                Change::Remove(user) => {
                    set.remove(user);
                }
            }
            members
        });
        self.keep(change.chat.clone(), Known { spans, members, routed });
    }

    fn take(&mut self, chat: &ChatId) -> Option<Known> {
        let cached = self.chats.remove(chat)?;
        self.by_use.remove(&cached.used);
        self.set_weight(self.weight - cached.known.weight());
        Some(cached.known)
    }

    /// A chat larger than the whole share is not kept: it is loaded again for each batch.
    fn keep(&mut self, chat: ChatId, known: Known) {
        let (share, added) = (self.context.members_cache_share(), known.weight());
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
        self.chats.insert(chat, Cached { known, used: self.uses });
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
