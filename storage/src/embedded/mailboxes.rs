//! Mailboxes: per gateway a counter for positions, a confirmed position below which nothing is left, and a fence.

use std::collections::{HashMap, HashSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use super::fault::Fault;
use super::keys;
use super::keyspaces::Keyspaces;
use super::records::MailboxRecord;
use super::store::{Store, View};
use super::writer::Batch;
use crate::{GatewayId, MailboxEntry, MailboxItem, MailboxPosition, Mailboxes, Position, Put, Refusal, StorageError};

/// The embedded [`Mailboxes`].
pub(super) struct Boxes {
    store: Arc<Store>,
    state: Arc<BoxesState>,
}

/// What the writer's closures work on.
struct BoxesState {
    boxes: Mutex<Known>,
    items_max: u64,
}

#[derive(Default)]
struct Known {
    open: HashMap<GatewayId, Mailbox>,
    /// Fenced without a mailbox. Only of this life of the store: a process of an earlier life asks for nothing any more.
    gone: HashSet<GatewayId>,
}

/// Positions count up by one, so `last - confirmed` is the number of items.
struct Mailbox {
    last: u64,
    confirmed: u64,
    fenced: bool,
    /// The last position whose batch is committed: what the reader waits for.
    durable: watch::Sender<u64>,
}

/// What rings, closes and disconnects may take beyond the limit for deliveries.
const EXTRA_ITEMS_MAX: u64 = 4096;

impl Boxes {
    pub(super) fn open(store: Arc<Store>, spaces: &Keyspaces, items_max: u64) -> Result<Self, Fault> {
        let snapshot = spaces.db.read_tx();
        let mut open = HashMap::new();
        for entry in spaces.mailboxes.range(&snapshot, Bound::Unbounded, Bound::Unbounded) {
            let (key, value) = entry.into_inner()?;
            let MailboxRecord { confirmed, fenced } = spaces.mailboxes.parse(&key, &value)?;
            let gateway = gateway_of(&key).ok_or_else(|| spaces.mailboxes.corrupt(&key))?;
            let mut items = spaces.mailbox_items.range(
                &snapshot,
                Bound::Excluded(keys::number_below(gateway.as_str(), confirmed)),
                keys::end_below(gateway.as_str()),
            );
            let last = match items.next_back() {
                Some(item) => position_of(&item.key()?),
                None => confirmed,
            };
            open.insert(gateway, Mailbox { last, confirmed, fenced, durable: watch::channel(last).0 });
        }
        let boxes = Mutex::new(Known { open, gone: HashSet::new() });
        Ok(Self { store, state: Arc::new(BoxesState { boxes, items_max }) })
    }

    /// How many items are not confirmed, over all mailboxes.
    pub(super) fn items(&self) -> u64 {
        self.state.lock().open.values().map(|mailbox| mailbox.last - mailbox.confirmed).sum()
    }

    /// Every gateway that has a mailbox.
    pub(super) fn gateways(&self) -> Vec<GatewayId> {
        self.state.lock().open.keys().cloned().collect()
    }
}

/// The gateway a key of `mailboxes` or `gateways` names.
pub(super) fn gateway_of(key: &[u8]) -> Option<GatewayId> {
    GatewayId::new(std::str::from_utf8(key).ok()?).ok()
}

fn position_of(key: &[u8]) -> u64 {
    key.last_chunk::<8>().map_or(0, |position| u64::from_be_bytes(*position))
}

impl Mailbox {
    fn record(&self) -> MailboxRecord {
        MailboxRecord { confirmed: self.confirmed, fenced: self.fenced }
    }
}

impl BoxesState {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.boxes.lock().expect("the mailboxes' lock is never poisoned: nothing under it panics")
    }

    fn open(&self, batch: &mut Batch<'_>, gateway: GatewayId) {
        let mut known = self.lock();
        if known.gone.contains(&gateway) || known.open.contains_key(&gateway) {
            return;
        }
        let mailbox = Mailbox { last: 0, confirmed: 0, fenced: false, durable: watch::channel(0).0 };
        batch.put(&batch.spaces.mailboxes, gateway.as_str(), &mailbox.record());
        batch.promise();
        known.open.insert(gateway, mailbox);
    }

    fn put(&self, batch: &mut Batch<'_>, gateway: &GatewayId, items: &[MailboxItem]) -> Put {
        let mut known = self.lock();
        let Some(mailbox) = known.open.get_mut(gateway).filter(|mailbox| !mailbox.fenced) else {
            return Put::Refused(Refusal::Gone);
        };
        let delivers = items.iter().any(MailboxItem::is_delivery);
        let items_max = if delivers { self.items_max } else { self.items_max.saturating_add(EXTRA_ITEMS_MAX) };
        if mailbox.last - mailbox.confirmed + items.len() as u64 > items_max {
            return Put::Refused(Refusal::Full);
        }
        for item in items {
            mailbox.last += 1;
            batch.put(&batch.spaces.mailbox_items, keys::number_below(gateway.as_str(), mailbox.last), item);
        }
        batch.promise();
        let (durable, last) = (mailbox.durable.clone(), mailbox.last);
        batch.after_commit(move || {
            durable.send_replace(last);
        });
        Put::Accepted
    }

    /// Promises nothing by itself: if it is lost in a crash, items are dealt with again.
    fn confirm(&self, batch: &mut Batch<'_>, gateway: &GatewayId, through: u64) {
        let mut known = self.lock();
        let Some(mailbox) = known.open.get_mut(gateway) else { return };
        let through = through.min(mailbox.last);
        if through <= mailbox.confirmed {
            return;
        }
        for position in mailbox.confirmed + 1..=through {
            batch.remove(&batch.spaces.mailbox_items, keys::number_below(gateway.as_str(), position));
        }
        mailbox.confirmed = through;
        batch.put(&batch.spaces.mailboxes, gateway.as_str(), &mailbox.record());
    }

    fn fence(&self, batch: &mut Batch<'_>, gateway: GatewayId) {
        let mut known = self.lock();
        let Some(mailbox) = known.open.get_mut(&gateway) else {
            known.gone.insert(gateway);
            return;
        };
        mailbox.fenced = true;
        batch.put(&batch.spaces.mailboxes, gateway.as_str(), &mailbox.record());
        batch.promise();
    }

    fn remove(&self, batch: &mut Batch<'_>, gateway: GatewayId) {
        let mut known = self.lock();
        if let Some(mailbox) = known.open.remove(&gateway) {
            for position in mailbox.confirmed + 1..=mailbox.last {
                batch.remove(&batch.spaces.mailbox_items, keys::number_below(gateway.as_str(), position));
            }
            batch.remove(&batch.spaces.mailboxes, gateway.as_str());
        }
        known.gone.insert(gateway);
    }
}

fn read_items(view: &View<'_>, gateway: &GatewayId, after: u64, max: usize) -> Result<Vec<MailboxEntry>, Fault> {
    let items = &view.spaces.mailbox_items;
    let from = Bound::Excluded(keys::number_below(gateway.as_str(), after));
    let entries = items.range(&view.at, from, keys::end_below(gateway.as_str())).take(max).map(|entry| {
        let (key, value) = entry.into_inner()?;
        Ok(MailboxEntry { position: Position(0, position_of(&key)), item: items.parse(&key, &value)? })
    });
    entries.collect()
}

#[async_trait]
impl Mailboxes for Boxes {
    async fn open(&self, gateway: &GatewayId) -> Result<(), StorageError> {
        let (state, gateway) = (self.state.clone(), gateway.clone());
        self.store
            .write(1, move |batch| {
                state.open(batch, gateway);
                Ok(())
            })
            .await
    }

    async fn put(&self, gateway: &GatewayId, items: Vec<MailboxItem>) -> Result<Put, StorageError> {
        let (state, gateway) = (self.state.clone(), gateway.clone());
        self.store.write(items.len(), move |batch| Ok(state.put(batch, &gateway, &items))).await
    }

    async fn read(
        &self,
        gateway: &GatewayId,
        after: MailboxPosition,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<MailboxEntry>, StorageError> {
        let mailbox = {
            let known = self.state.lock();
            known.open.get(gateway).map(|mailbox| (mailbox.durable.subscribe(), mailbox.confirmed))
        };
        let Some((mut durable, confirmed)) = mailbox else {
            // Nothing will ever come; the wait keeps the caller's loop from spinning until it learns that it is dead.
            tokio::time::sleep(wait).await;
            return Ok(Vec::new());
        };
        let after = after.1.max(confirmed);
        let more = async {
            if durable.wait_for(|last| *last > after).await.is_err() {
                // Removed meanwhile: the same wait.
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = more => {}
            () = tokio::time::sleep(wait) => return Ok(Vec::new()),
            failure = self.store.failure.wait() => return Err(failure),
        }
        self.store.read(|view| read_items(view, gateway, after, max))
    }

    async fn confirm(&self, gateway: &GatewayId, through: MailboxPosition) -> Result<(), StorageError> {
        let (state, gateway) = (self.state.clone(), gateway.clone());
        self.store
            .write(1, move |batch| {
                state.confirm(batch, &gateway, through.1);
                Ok(())
            })
            .await
    }

    async fn confirmed(&self, gateway: &GatewayId) -> Result<MailboxPosition, StorageError> {
        let known = self.state.lock();
        Ok(Position(0, known.open.get(gateway).map_or(0, |mailbox| mailbox.confirmed)))
    }

    async fn fence(&self, gateway: &GatewayId) -> Result<(), StorageError> {
        let (state, gateway) = (self.state.clone(), gateway.clone());
        self.store
            .write(1, move |batch| {
                state.fence(batch, gateway);
                Ok(())
            })
            .await
    }

    async fn remove(&self, gateway: &GatewayId) -> Result<(), StorageError> {
        let (state, gateway) = (self.state.clone(), gateway.clone());
        self.store
            .write(1, move |batch| {
                state.remove(batch, gateway);
                Ok(())
            })
            .await
    }
}
