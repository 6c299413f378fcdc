//! This node's mailbox: read ahead up to a window, hand each entry to the hub, confirm what is settled.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use roost_storage::{
    ChatId, Delivery, Direction, GatewayId, MailboxItem, MailboxPosition, RoomDelivery, Sequence, Storage,
    StorageError, UserId,
};
use tokio::sync::Notify;
use tracing::warn;

use crate::following::Following;
use crate::handback::Handback;
use crate::hub::{Delivered, Encoded, Entry, Hub, Left, Shown};
use crate::metrics::Metrics;

const READ_MAX: usize = 256;
const READ_WAIT: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(200);
/// Confirming is only housekeeping: it may trail behind, so that one write serves many entries.
const CONFIRM_EVERY: Duration = Duration::from_millis(20);

/// Entries read and not yet settled, in the mailbox's order.
pub(crate) struct Window {
    slots: Mutex<VecDeque<(MailboxPosition, Arc<AtomicBool>)>>,
    settled: Notify,
    advanced: Notify,
    metrics: Arc<Metrics>,
}

/// One entry's place in the window.
pub(crate) struct Slot {
    settled: Arc<AtomicBool>,
    window: Arc<Window>,
}

impl Slot {
    /// Nothing is owed for this entry any more.
    pub(crate) fn settle(&self) {
        self.settled.store(true, Ordering::Release);
        self.window.settled.notify_one();
    }
}

impl Window {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { slots: Mutex::default(), settled: Notify::new(), advanced: Notify::new(), metrics })
    }

    fn slots(&self) -> MutexGuard<'_, VecDeque<(MailboxPosition, Arc<AtomicBool>)>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for an entry; none when it has one already.
    pub(crate) fn admit(self: &Arc<Self>, position: MailboxPosition) -> Option<Slot> {
        let mut slots = self.slots();
        let is_known = slots.back().is_some_and(|(last, _)| position <= *last)
            && slots.iter().any(|(known, _)| position == *known);
        if is_known {
            return None;
        }
        let settled = Arc::new(AtomicBool::new(false));
        slots.push_back((position, settled.clone()));
        self.metrics.mailbox_window.set(slots.len().try_into().unwrap_or(i64::MAX));
        Some(Slot { settled, window: self.clone() })
    }

    /// How many entries may be read now: waits while the window is full. Cancel safe.
    async fn room(&self, max: usize) -> usize {
        loop {
            let advanced = self.advanced.notified();
            let room = max.saturating_sub(self.slots().len());
            if room > 0 {
                return room;
            }
            self.metrics.mailbox_window_full.inc();
            advanced.await;
        }
    }

    /// Whether everything in the window is settled, confirmed or not.
    #[cfg(test)]
    pub(crate) fn is_settled(&self) -> bool {
        self.slots().iter().all(|(_, settled)| settled.load(Ordering::Acquire))
    }

    /// Whether everything that was read is settled.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots().is_empty()
    }

    /// Takes off every settled entry that has no unsettled one before it; the last one's position.
    fn advance(&self) -> Option<MailboxPosition> {
        let mut slots = self.slots();
        let mut through = None;
        while slots.front().is_some_and(|(_, settled)| settled.load(Ordering::Acquire)) {
            through = slots.pop_front().map(|(position, _)| position);
        }
        self.metrics.mailbox_window.set(slots.len().try_into().unwrap_or(i64::MAX));
        drop(slots);
        if through.is_some() {
            self.advanced.notify_one();
        }
        through
    }
}

/// Reads the mailbox and confirms it, for ever.
pub(crate) struct Reader {
    pub(crate) gateway: GatewayId,
    pub(crate) storage: Storage,
    pub(crate) hub: Arc<Hub>,
    pub(crate) handback: Arc<Handback>,
    pub(crate) following: Arc<Following>,
    pub(crate) window: Arc<Window>,
    pub(crate) window_max: usize,
    pub(crate) metrics: Arc<Metrics>,
}

impl Reader {
    /// Runs until dropped.
    pub(crate) async fn run(&self) {
        tokio::join!(self.read(), self.confirm());
    }

    /// After a failed read it starts again from the confirmed position: a position in memory may point past what a new
    /// primary has. What is still in the window is not handed out twice.
    async fn read(&self) {
        let mut after = None;
        loop {
            match self.read_some(after).await {
                Ok(position) => after = Some(position),
                Err(error) => {
                    warn!(%error, "mailbox not readable, trying again");
                    after = None;
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn read_some(&self, after: Option<MailboxPosition>) -> Result<MailboxPosition, StorageError> {
        let from = match after {
            Some(position) => position,
            None => self.storage.mailboxes.confirmed(&self.gateway).await?,
        };
        let room = self.window.room(self.window_max).await;
        let entries = self.storage.mailboxes.read(&self.gateway, from, room.min(READ_MAX), READ_WAIT).await?;
        let last = entries.last().map_or(from, |entry| entry.position);
        for entry in entries {
            self.dispatch(entry.position, entry.item).await;
        }
        Ok(last)
    }

    async fn confirm(&self) {
        loop {
            self.window.settled.notified().await;
            tokio::time::sleep(CONFIRM_EVERY).await;
            let Some(through) = self.window.advance() else { continue };
            // Confirming late, or not at all, only means that a reaper stores again what a client already has.
            if let Err(error) = self.storage.mailboxes.confirm(&self.gateway, through).await {
                warn!(%error, "mailbox not confirmed");
            }
        }
    }

    async fn dispatch(&self, position: MailboxPosition, item: MailboxItem) {
        let Some(slot) = self.window.admit(position) else { return };
        match item {
            MailboxItem::Deliver(delivery) => return self.deliver(delivery, slot),
            MailboxItem::DeliverRoom(delivery) => self.deliver_to_room(delivery),
            MailboxItem::Ring { user } => self.hub.ring(&user),
            MailboxItem::RingRoom { chat } => self.hub.ring_room(&chat),
            MailboxItem::EnterRoom { chat, users } => self.enter_room(&chat, &users).await,
            MailboxItem::CloseChat { chat, user } => {
                self.hub.close_chat(&user, &chat);
                if self.hub.leave_room_mode(&user, &chat) {
                    self.following.room_at_last(&chat).await;
                }
            }
            MailboxItem::Disconnect { user, device } => self.hub.disconnect(&user, device.as_ref()),
        }
        slot.settle();
    }

    fn deliver(&self, delivery: Delivery, slot: Slot) {
        let Delivery { message, origin, recipients } = delivery;
        let entry = Entry::new(message, recipients.len(), slot, self.handback.clone());
        let frames = Encoded::new(&entry.message);
        for user in &recipients {
            match self.hub.deliver(user, &entry, &frames) {
                Delivered::Room => self.metrics.delivered_room.inc(),
                Delivered::Notification => self.metrics.delivered_notification.inc(),
                Delivered::Nowhere(owed) => {
                    self.handback.store(user.clone(), Left { owed: vec![owed], ..Left::default() }, None);
                }
            }
        }
        self.hub.echo(&entry.message.sender, origin.as_ref(), &entry.message.chat, &frames);
    }

    fn deliver_to_room(&self, delivery: RoomDelivery) {
        let RoomDelivery { message, previous, origin } = delivery;
        let entry = Entry::of_room(message, self.handback.clone());
        let frames = Encoded::new(&entry.message);
        self.hub.deliver_to_room(&entry, previous, &frames, |shown| match shown {
            Shown::Room => self.metrics.delivered_room.inc(),
            Shown::Notification => self.metrics.delivered_notification.inc(),
            Shown::Not => {}
        });
        self.hub.echo(&entry.message.sender, origin.as_ref(), &entry.message.chat, &frames);
    }

    /// Fanout has said for this gateway that it follows the room; from here on the gateway says so itself, or takes it
    /// back.
    async fn enter_room(&self, chat: &ChatId, users: &[UserId]) {
        for user in users {
            // A removal after this comes behind it.
            self.hub.enter_room_mode(user, chat, self.hub.removals(user));
        }
        self.following.room_followed_by_fanout(chat).await;
        let rings: Vec<u64> = users.iter().map(|user| self.hub.rings(user, chat)).collect();
        // When it can not be read now, the end stays open, and is found by whoever reads the room.
        if let Ok(last) = self.storage.history.range(chat, None, Direction::Backward, 1).await {
            let last = last.last().map_or(Sequence(0), |message| message.sequence);
            for (user, rings) in users.iter().zip(rings) {
                self.hub.room_comes_after(user, chat, last, rings);
            }
        }
        users.iter().for_each(|user| self.hub.ring(user));
    }
}
