//! Obligations: what this gateway owes one user for one mailbox entry, from the moment it is read until some
//! connection of that user has confirmed it or it is pending.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use roost_storage::{Message, UserId};

use crate::handback::Handback;
use crate::mailbox::Slot;

/// One mailbox entry that is being delivered. Its slot in the mailbox window is settled when nothing is owed any more.
pub(crate) struct Entry {
    pub(crate) message: Message,
    owed: AtomicUsize,
    /// None for a room's: there each user's cursor says what is owed, and the mailbox need not.
    slot: Option<Slot>,
    handback: Arc<Handback>,
}

impl Entry {
    /// An entry that owes its message to `recipients` users; settled at once when there are none.
    pub(crate) fn new(message: Message, recipients: usize, slot: Slot, handback: Arc<Handback>) -> Arc<Self> {
        if recipients == 0 {
            slot.settle();
        }
        Arc::new(Self { message, owed: AtomicUsize::new(recipients), slot: Some(slot), handback })
    }

    /// An entry of a chat in room mode.
    pub(crate) fn of_room(message: Message, handback: Arc<Handback>) -> Arc<Self> {
        Arc::new(Self { message, owed: AtomicUsize::new(0), slot: None, handback })
    }

    fn settle_one(&self) {
        if let Some(slot) = &self.slot
            && self.owed.fetch_sub(1, Ordering::AcqRel) == 1
        {
            slot.settle();
        }
    }
}

/// What one user is owed; a clone for each connection that the message was given to. Confirming one clone settles it for
/// all. When the last clone goes unconfirmed, the message becomes pending: no path can forget it.
#[derive(Clone)]
#[must_use = "an obligation is confirmed, handed back, or dropped on purpose"]
pub(crate) struct Obligation(Arc<Inner>);

struct Inner {
    entry: Arc<Entry>,
    user: UserId,
    settled: AtomicBool,
}

impl Obligation {
    pub(crate) fn new(entry: Arc<Entry>, user: UserId) -> Self {
        Self(Arc::new(Inner { entry, user, settled: AtomicBool::new(false) }))
    }

    pub(crate) fn message(&self) -> &Message {
        &self.0.entry.message
    }

    pub(crate) fn user(&self) -> &UserId {
        &self.0.user
    }

    /// Whether the chat is in room mode: what is not confirmed is missing then, not stored.
    pub(crate) fn is_of_room(&self) -> bool {
        self.0.entry.slot.is_none()
    }

    /// Whether it is confirmed, or given up.
    pub(crate) fn is_settled(&self) -> bool {
        self.0.settled.load(Ordering::Acquire)
    }

    /// Some client of the user has the message. True the first time.
    pub(crate) fn confirm(self) -> bool {
        let first = !self.0.settled.swap(true, Ordering::AcqRel);
        if first {
            self.0.entry.settle_one();
        }
        first
    }

    /// Gives this clone up. When it was the last one and nothing was confirmed, returns what is still owed; otherwise
    /// another connection answers for it.
    pub(crate) fn give_up(self) -> Option<Owed> {
        let inner = Arc::into_inner(self.0)?;
        let first = !inner.settled.swap(true, Ordering::AcqRel);
        first.then(|| Owed { entry: inner.entry.clone(), user: inner.user.clone() })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !*self.settled.get_mut() {
            self.entry.handback.take(Owed { entry: self.entry.clone(), user: self.user.clone() });
        }
    }
}

/// A message that no connection of the user answers for any more: it has to become pending.
pub(crate) struct Owed {
    entry: Arc<Entry>,
    pub(crate) user: UserId,
}

impl Owed {
    pub(crate) fn message(&self) -> &Message {
        &self.entry.message
    }

    /// Whether it is to be read from history instead of becoming pending.
    pub(crate) fn is_of_room(&self) -> bool {
        self.entry.slot.is_none()
    }

    /// The message is durably pending.
    pub(crate) fn stored(self) {
        self.entry.settle_one();
    }
}
