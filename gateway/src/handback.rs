//! Hand-back: what a user's connections here did not confirm is stored as pending, then looked up again, and only then
//! given up.
//!
//! The queue's bound is the mailbox window: no more can be owed than was read ahead.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use roost_storage::{GatewayId, MailboxItem, Message, Put, Refusal, SessionKey, Storage, UserId};
use tokio::sync::Notify;

use crate::hub::{Hub, Owed};
use crate::metrics::Metrics;
use crate::retry::retry;

/// How long to wait for room in another gateway's mailbox.
const RING_AGAIN: Duration = Duration::from_millis(50);
/// Rows in one call; in the order of their messages, one call after the other.
const ROWS_MAX: usize = 512;

/// What one connection, or one undeliverable message, leaves to be stored.
struct Ticket {
    user: UserId,
    owed: Vec<Owed>,
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

    /// Stores what the hub said is owed to `user`, then removes `session`.
    pub(crate) fn store(&self, user: UserId, owed: Vec<Owed>, session: Option<SessionKey>) {
        if owed.is_empty() && session.is_none() {
            return;
        }
        let awaited = !owed.is_empty();
        self.push(Ticket { user, owed, session, awaited });
    }

    /// Stores an obligation whose last holder was dropped without going through the hub.
    pub(crate) fn take(&self, owed: Owed) {
        self.push(Ticket { user: owed.user.clone(), owed: vec![owed], session: None, awaited: false });
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
pub(crate) async fn run(queue: Arc<Handback>, hub: Arc<Hub>, storage: Storage, gateway: GatewayId) {
    let worker = Worker { hub, storage, gateway };
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
    gateway: GatewayId,
}

impl Worker {
    async fn settle(&self, tickets: Vec<Ticket>, metrics: &Metrics) {
        let rows: Vec<(UserId, Message)> = tickets
            .iter()
            .flat_map(|ticket| ticket.owed.iter().map(|owed| (ticket.user.clone(), owed.message().clone())))
            .collect();
        if !rows.is_empty() {
            for piece in rows.chunks(ROWS_MAX) {
                retry("store pending", || self.storage.pending.put(piece)).await;
            }
            let users: HashSet<UserId> = rows.iter().map(|(user, _)| user.clone()).collect();
            // Persist, then look up: whoever registered before this look-up is rung, whoever registers later reads
            // the rows.
            self.ring_elsewhere(users.into_iter().collect()).await;
            metrics.handed_back.inc_by(rows.len() as u64);
        }
        for ticket in tickets {
            metrics.handback_queue.sub(ticket.owed.len().try_into().unwrap_or(i64::MAX));
            let stored = !ticket.owed.is_empty();
            ticket.owed.into_iter().for_each(Owed::stored);
            if ticket.awaited {
                self.hub.handed_back(&ticket.user);
            } else if stored {
                self.hub.ring(&ticket.user);
            }
            if let Some(session) = ticket.session {
                retry("unregister a session", || self.storage.sessions.unregister(&session)).await;
            }
        }
    }

    /// Rings every other gateway where one of these users has the notification topic. This gateway's own connections
    /// are told through the hub.
    async fn ring_elsewhere(&self, users: Vec<UserId>) {
        let found = retry("look up sessions", || self.storage.sessions.look_up(&users)).await;
        let mut rings: HashMap<GatewayId, Vec<MailboxItem>> = HashMap::new();
        for (user, sessions) in users.iter().zip(found) {
            let gateways: HashSet<GatewayId> = sessions
                .into_iter()
                .filter(|session| session.notifications && session.connection.gateway != self.gateway)
                .map(|session| session.connection.gateway)
                .collect();
            for gateway in gateways {
                rings.entry(gateway).or_default().push(MailboxItem::Ring { user: user.clone() });
            }
        }
        for (gateway, items) in rings {
            loop {
                match retry("ring a gateway", || self.storage.mailboxes.put(&gateway, items.clone())).await {
                    Put::Accepted | Put::Refused(Refusal::Gone) => break,
                    Put::Refused(Refusal::Full) => tokio::time::sleep(RING_AGAIN).await,
                }
            }
        }
    }
}
