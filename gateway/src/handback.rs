//! Hand-back: what a user's connections here did not confirm is stored as pending, then looked up again, and only then
//! given up.
//!
//! The queue's bound is the mailbox window: no more can be owed than was read ahead.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use roost_storage::{ChatId, Message, SessionKey, Storage, UserId};
use tokio::sync::Notify;

use crate::cursors;
use crate::following::Following;
use crate::hub::{Hub, Left, Owed, Parting};
use crate::metrics::Metrics;
use crate::retry::retry;

/// Rows in one call; in the order of their messages, one call after the other.
const ROWS_MAX: usize = 512;

/// What one connection, or one undeliverable message, leaves to be stored.
struct Ticket {
    user: UserId,
    owed: Vec<Owed>,
    partings: Vec<Parting>,
    /// Rooms that have to be unfollowed.
    unfollow: Vec<ChatId>,
    /// Whether the user's connections on other gateways are told in any case.
    rings: bool,
    /// The closing connection's session, removed once everything is stored.
    session: Option<SessionKey>,
    /// Whether the hub holds the user's replays back until this is done.
    awaited: bool,
}

/// The queue of what has to become pending.
pub(crate) struct Handback {
    queue: Mutex<Vec<Ticket>>,
    /// Tickets that are not done, queued or in work.
    open: AtomicUsize,
    wake: Notify,
    idle: Notify,
    metrics: Arc<Metrics>,
}

impl Handback {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::default(),
            open: AtomicUsize::new(0),
            wake: Notify::new(),
            idle: Notify::new(),
            metrics,
        })
    }

    /// Stores what the hub said `user`'s connections left behind, then removes `session`.
    pub(crate) fn store(&self, user: UserId, left: Left, session: Option<SessionKey>) {
        let awaited = left.is_awaited();
        let Left { owed, partings, rings, emptied: _ } = left;
        if !awaited && !rings && session.is_none() {
            return;
        }
        let (partings, unfollow) = (partings.progress, partings.unfollow);
        self.push(Ticket { user, owed, partings, unfollow, rings, session, awaited });
    }

    /// Stores an obligation whose last holder was dropped without going through the hub.
    pub(crate) fn take(&self, owed: Owed) {
        let (user, owed) = (owed.user.clone(), vec![owed]);
        let (partings, unfollow) = (Vec::new(), Vec::new());
        self.push(Ticket { user, owed, partings, unfollow, rings: false, session: None, awaited: false });
    }

    fn push(&self, ticket: Ticket) {
        self.metrics.handback_queue.add(ticket.owed.len().try_into().unwrap_or(i64::MAX));
        self.open.fetch_add(1, Ordering::AcqRel);
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push(ticket);
        self.wake.notify_one();
    }

    fn take_all(&self) -> Vec<Ticket> {
        std::mem::take(&mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[cfg(test)]
    pub(crate) fn queued(&self) -> usize {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Waits until everything handed back so far is stored. Cancel safe.
    pub(crate) async fn drained(&self) {
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            if self.open.load(Ordering::Acquire) == 0 {
                return;
            }
            idle.await;
        }
    }
}

/// Stores tickets until dropped; one task per node.
pub(crate) async fn run(queue: Arc<Handback>, hub: Arc<Hub>, storage: Storage, following: Arc<Following>) {
    let worker = Worker { hub, storage, following };
    loop {
        let tickets = queue.take_all();
        if tickets.is_empty() {
            queue.wake.notified().await;
            continue;
        }
        let count = tickets.len();
        worker.settle(tickets, &queue.metrics).await;
        queue.open.fetch_sub(count, Ordering::AcqRel);
        queue.idle.notify_waiters();
    }
}

struct Worker {
    hub: Arc<Hub>,
    storage: Storage,
    following: Arc<Following>,
}

impl Worker {
    async fn settle(&self, mut tickets: Vec<Ticket>, metrics: &Metrics) {
        let partings = tickets.iter_mut().flat_map(|ticket| std::mem::take(&mut ticket.partings)).collect();
        cursors::store(&self.storage, partings, metrics).await;
        let mut rows: Vec<(UserId, Message)> = Vec::new();
        let mut told: HashSet<UserId> = HashSet::new();
        for ticket in &tickets {
            let stored = ticket.owed.iter().filter(|owed| !owed.is_of_room());
            rows.extend(stored.map(|owed| (ticket.user.clone(), owed.message().clone())));
            if ticket.rings || !ticket.owed.is_empty() {
                told.insert(ticket.user.clone());
            }
        }
        for piece in rows.chunks(ROWS_MAX) {
            retry("store pending", || self.storage.pending.put(piece)).await;
        }
        metrics.handed_back.inc_by(tickets.iter().map(|ticket| ticket.owed.len() as u64).sum());
        if !told.is_empty() {
            // Persist, then look up: whoever registered before this look-up is rung, whoever registers later reads
            // the rows.
            self.following.ring_elsewhere(told.into_iter().collect()).await;
        }
        for ticket in tickets {
            self.finish(ticket, metrics).await;
        }
    }

    /// Everything of a ticket is stored.
    async fn finish(&self, ticket: Ticket, metrics: &Metrics) {
        metrics.handback_queue.sub(ticket.owed.len().try_into().unwrap_or(i64::MAX));
        let stored = !ticket.owed.is_empty();
        for owed in ticket.owed {
            if owed.is_of_room() {
                self.hub.give_up(&ticket.user, &owed.message().chat, owed.message().sequence);
            }
            owed.stored();
        }
        if ticket.awaited {
            self.hub.handed_back(&ticket.user);
        } else if stored {
            self.hub.ring(&ticket.user);
        }
        if let Some(session) = ticket.session {
            retry("unregister a session", || self.storage.sessions.unregister(&session)).await;
        }
        for chat in ticket.unfollow {
            self.following.room_at_last(&chat).await;
        }
    }
}
