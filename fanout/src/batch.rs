//! The way of one batch: routed piece by piece, membership changes applied at their place, then committed.
//!
//! The order of the side effects is what nothing is lost by: persist (mailboxes, history, pending), look again, ring,
//! and only then move the cursor. Whoever repeats a batch repeats it from there.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::try_join;
use roost_storage::{
    Change, ChatId, Commit, EventBody, Lease, LogEntry, MembershipChange, Message, Position, Sequence, StorageError,
    UserId,
};

use crate::context::{Context, Interrupted};
use crate::locate::locate;
use crate::members::Members;
use crate::plan::{Audience, Outgoing, plan, refused_everywhere};
use crate::put::put_deliveries;
use crate::store::store_and_ring;
use crate::{removals, rooms};

/// Works through one partition's entries under one lease.
pub(crate) struct Batches {
    context: Arc<Context>,
    lease: Lease,
    members: Members,
}

impl Batches {
    pub(crate) fn new(context: Arc<Context>, lease: Lease) -> Self {
        Self { members: Members::new(context.clone()), context, lease }
    }

    /// Processes entries, oldest first, and commits through the last one.
    ///
    /// A change of members splits the batch: the cursor is moved to just before it first. Else, after a crash, the
    /// messages before it would be routed again with the members after it.
    pub(crate) async fn process(&mut self, entries: Vec<LogEntry>) -> Result<(), Interrupted> {
        let mut messages = Vec::new();
        let mut through = None;
        for entry in entries {
            let position = entry.position;
            if let EventBody::Members(change) = entry.event.body {
                self.route(std::mem::take(&mut messages)).await?;
                self.commit(through).await?;
                self.change_members(entry.event.chat, entry.event.sequence, change).await?;
            } else {
                messages.push(entry);
            }
            through = Some(position);
        }
        self.route(messages).await?;
        self.commit(through).await
    }

    /// Routes messages in pieces of bounded size, one message at least.
    async fn route(&mut self, messages: Vec<LogEntry>) -> Result<(), Interrupted> {
        let mut piece: Vec<Outgoing> = Vec::new();
        let mut obligations = 0;
        for entry in messages {
            let Some((message, origin)) = entry.event.message() else { continue };
            let audience = self.members.audience(&message.chat).await?;
            if !piece.is_empty() && obligations + audience.weight() > self.context.config.obligations_max {
                self.route_piece(std::mem::take(&mut piece)).await?;
                obligations = 0;
            }
            obligations += audience.weight();
            let previous = match audience {
                Audience::Members(_) => None,
                Audience::Room => self.members.previous(&message.chat, message.sequence).await?,
            };
            piece.push(Outgoing { origin: origin.cloned(), message, audience, previous });
        }
        self.route_piece(piece).await
    }

    async fn route_piece(&self, outgoing: Vec<Outgoing>) -> Result<(), Interrupted> {
        if outgoing.is_empty() {
            return Ok(());
        }
        let (context, metrics) = (&*self.context, &self.context.metrics);
        let of = |is_room: bool| outgoing.iter().filter(move |out| out.is_room() == is_room);
        let mut users: BTreeSet<UserId> = of(false).map(|out| out.message.sender.clone()).collect();
        users.extend(of(false).flat_map(|out| out.recipients().cloned()));
        let to_rooms: Vec<Message> = of(true).map(|out| out.message.clone()).collect();
        let to_members: Vec<Message> = of(false).map(|out| out.message.clone()).collect();
        let found = try_join(locate(context, users), rooms::store_and_find_followers(context, &to_rooms));
        let (located, followers) = found.await?;
        let plan = plan(&outgoing, &located, &followers);
        drop(located);

        let ((), refused) =
            try_join(context.storage.history.append(&to_members), put_deliveries(context, &outgoing, &plan)).await?;
        rooms::ring_refusing(context, &outgoing, &plan, &refused).await?;

        let messages: Vec<Message> = outgoing.iter().map(|out| out.message.clone()).collect();
        let missed = refused_everywhere(&plan, &refused.all());
        let row = |(index, user): &(usize, UserId)| (user.clone(), messages[*index].clone());
        let rows: Vec<_> = plan.unreachable.iter().chain(&missed).map(row).collect();
        store_and_ring(context, &rows, &refused.gone).await?;

        metrics.pending_unreachable.inc_by(plan.unreachable.len() as u64);
        metrics.pending_refused.inc_by(missed.len() as u64);
        metrics.messages.inc_by(messages.len() as u64);
        metrics.room_messages.inc_by(to_rooms.len() as u64);
        metrics.obligations.inc_by(outgoing.iter().map(|out| out.recipients().count() as u64).sum());
        Ok(())
    }

    /// Applies a change, then closes the channels of those who are not members any more, and lets those who are members
    /// of a room now follow it.
    ///
    /// [`Change::Remove`] names its user: repeating it closes again. [`Change::Set`] does not, see [`removals`].
    async fn change_members(&mut self, chat: ChatId, sequence: Sequence, change: Change) -> Result<(), Interrupted> {
        let (context, partition) = (self.context.clone(), self.lease.partition);
        let mut leaving = self.leaving(&chat, &change).await?;
        let consequences = self.members.consequences(&chat, sequence, &change).await?;
        let write_down = matches!(change, Change::Set(_)) && !leaving.is_empty();
        if write_down {
            removals::write_down(&context, partition, &chat, &leaving).await?;
        }
        let change = MembershipChange { chat, sequence, change, routing: consequences.routing };
        leaving.extend(context.storage.chats.apply(&change).await?);
        self.members.change(&change);
        removals::close(&context, &change.chat, leaving).await?;
        rooms::enter(&context, &change.chat, consequences.entering).await?;
        if consequences.switches {
            context.metrics.switched(change.routing);
        }
        if write_down {
            removals::strike_out(&context, partition).await?;
        }
        context.metrics.membership_changes.inc();
        Ok(())
    }

    async fn leaving(&mut self, chat: &ChatId, change: &Change) -> Result<BTreeSet<UserId>, StorageError> {
        Ok(match change {
            Change::Add(_) => BTreeSet::new(),
            Change::Remove(user) => BTreeSet::from([user.clone()]),
            Change::Set(users) => self.members.of(chat).await?.difference(users).cloned().collect(),
        })
    }

    async fn commit(&self, through: Option<Position>) -> Result<(), Interrupted> {
        let Some(through) = through else { return Ok(()) };
        match self.context.storage.log.commit(&self.lease, through).await? {
            Commit::Done => Ok(()),
            Commit::LeaseLost => Err(Interrupted::LeaseLost),
        }
    }
}
