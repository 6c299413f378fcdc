//! Mailboxes: a stream per gateway, and its fence in the hash that also holds the gateway's lease.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::Value;

use super::config::Durability;
use super::error::Fault;
use super::event_log::milliseconds;
use super::keys::Keys;
use super::readers::Readers;
use super::records::{position, text};
use super::router::Router;
use super::scripts::Script;
use crate::{GatewayId, MailboxEntry, MailboxItem, MailboxPosition, Mailboxes, Put, Refusal, StorageError};

/// What rings, closes and disconnects may take beyond the limit for deliveries.
const EXTRA_ENTRIES_MAX: u64 = 4096;
/// For how long a fence is kept when there is neither mailbox nor lease: longer than a gateway could take to open late.
pub(super) const FENCE_KEPT: Duration = Duration::from_hours(24);

/// The mailboxes in Redis.
pub(super) struct Boxes {
    pub(super) router: Arc<Router>,
    pub(super) readers: Arc<Readers>,
    pub(super) keys: Keys,
    pub(super) entries_max: u64,
}

impl Boxes {
    fn both_keys(&self, gateway: &GatewayId) -> Vec<String> {
        vec![self.keys.gateway(gateway), self.keys.mailbox(gateway)]
    }

    /// Makes sure that what was read survives the primary: confirming it must not pass by what a new one has instead.
    async fn prove(&self, gateway: &GatewayId) -> Result<(), Fault> {
        if self.router.shared().connector.durability == Durability::Replica {
            self.router.write(Script::MailboxTouch, vec![self.keys.gateway(gateway)], Vec::new()).await?;
        }
        Ok(())
    }
}

pub(super) fn fence_kept() -> Vec<u8> {
    milliseconds(FENCE_KEPT).to_string().into_bytes()
}

#[async_trait]
impl Mailboxes for Boxes {
    async fn open(&self, gateway: &GatewayId) -> Result<(), StorageError> {
        self.router.write(Script::MailboxOpen, vec![self.keys.gateway(gateway)], Vec::new()).await?;
        Ok(())
    }

    async fn put(&self, gateway: &GatewayId, items: Vec<MailboxItem>) -> Result<Put, StorageError> {
        let delivers = items.iter().any(MailboxItem::is_delivery);
        let most = if delivers { self.entries_max } else { self.entries_max.saturating_add(EXTRA_ENTRIES_MAX) };
        let mut arguments = vec![most.to_string().into_bytes()];
        let items = items.iter().map(serde_json::to_vec);
        arguments.extend(items.map(|item| item.expect("items have text keys and no failing serializers")));
        let answer = self.router.write(Script::MailboxPut, self.both_keys(gateway), arguments).await?;
        match text(answer).as_deref() {
            Some("accepted") => Ok(Put::Accepted),
            Some("gone") => Ok(Put::Refused(Refusal::Gone)),
            Some("full") => Ok(Put::Refused(Refusal::Full)),
            _ => Err(Fault::Answer("mailbox_put").into()),
        }
    }

    async fn read(
        &self,
        gateway: &GatewayId,
        after: MailboxPosition,
        max: usize,
        wait: Duration,
    ) -> Result<Vec<MailboxEntry>, StorageError> {
        let key = self.keys.mailbox(gateway);
        let entries = self.readers.read(&key, after, max, wait).await?;
        // One that drains a fenced mailbox does not wait: nothing comes after what it has read.
        if !entries.is_empty() && !wait.is_zero() {
            self.prove(gateway).await?;
        }
        let entries = entries.into_iter().map(|entry| {
            let item = entry.json("i", &key)?;
            Ok::<_, Fault>(MailboxEntry { position: entry.position, item })
        });
        Ok(entries.collect::<Result<_, _>>()?)
    }

    async fn confirm(&self, gateway: &GatewayId, through: MailboxPosition) -> Result<(), StorageError> {
        let arguments = [through.0, through.1].map(|number| number.to_string().into_bytes());
        self.router.write(Script::MailboxConfirm, self.both_keys(gateway), arguments.to_vec()).await?;
        Ok(())
    }

    async fn confirmed(&self, gateway: &GatewayId) -> Result<MailboxPosition, StorageError> {
        let key = self.keys.gateway(gateway);
        let mut command = redis::cmd("HGET");
        command.arg(&key).arg("confirmed");
        match self.router.read(&key, command).await? {
            Value::Nil => Ok(MailboxPosition::START),
            Value::BulkString(id) => Ok(position(&id).ok_or(Fault::Corrupt(key))?),
            _ => Err(Fault::Answer("HGET").into()),
        }
    }

    async fn fence(&self, gateway: &GatewayId) -> Result<(), StorageError> {
        self.router.write(Script::MailboxFence, vec![self.keys.gateway(gateway)], vec![fence_kept()]).await?;
        Ok(())
    }

    async fn remove(&self, gateway: &GatewayId) -> Result<(), StorageError> {
        self.router.write(Script::MailboxRemove, self.both_keys(gateway), vec![fence_kept()]).await?;
        Ok(())
    }
}
