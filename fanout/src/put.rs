//! Puts into mailboxes: deliveries, which may be refused, and rings and closes, which are tried until they are taken.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use roost_storage::{GatewayId, MailboxItem, Put, Refusal, StorageError};
use tracing::warn;

use crate::context::Context;
use crate::plan::{Outgoing, Plan, Planned};

/// Items in one put of rings or closes.
const ITEMS_MAX: usize = 256;

/// Gateways whose mailbox took nothing.
#[derive(Debug, Default)]
pub(crate) struct RefusedBy {
    /// Fenced: they never take anything again.
    pub(crate) gone: BTreeSet<GatewayId>,
    /// At their length limit.
    pub(crate) full: BTreeSet<GatewayId>,
}

impl RefusedBy {
    pub(crate) fn all(&self) -> BTreeSet<GatewayId> {
        self.gone.union(&self.full).cloned().collect()
    }
}

/// Puts the planned entries, all gateways side by side, each one's in order and in one put.
pub(crate) async fn put_deliveries(
    context: &Context,
    outgoing: &[Outgoing],
    plan: &Plan,
) -> Result<RefusedBy, StorageError> {
    let metrics = &context.metrics;
    let items = |entries: &Vec<Planned>| entries.iter().map(|entry| entry.item(outgoing)).collect::<Vec<_>>();
    let items: Vec<_> = plan.gateways.iter().map(|(gateway, entries)| (gateway.clone(), items(entries))).collect();
    let puts = stream::iter(items).map(|(gateway, items)| async move {
        let count = items.len() as u64;
        let outcome = context.storage.mailboxes.put(&gateway, items).await?;
        Ok::<_, StorageError>((gateway, count, outcome))
    });
    let mut puts = puts.buffer_unordered(context.config.concurrency_max.max(1));
    let mut refused = RefusedBy::default();
    while let Some((gateway, count, outcome)) = puts.try_next().await? {
        match outcome {
            Put::Accepted => metrics.deliveries_accepted.inc_by(count),
            Put::Refused(Refusal::Gone) => {
                metrics.deliveries_gone.inc_by(count);
                refused.gone.insert(gateway);
            }
            Put::Refused(Refusal::Full) => {
                metrics.deliveries_full.inc_by(count);
                warn!(gateway.id = %gateway, "mailbox is full");
                refused.full.insert(gateway);
            }
        }
    }
    Ok(refused)
}

/// Puts items that carry no obligation but must not be lost. A full mailbox is tried until it has room or is gone: its
/// gateway either reads it or loses its lease and is fenced. Returns how many were taken.
pub(crate) async fn put_until_taken(
    context: &Context,
    items: BTreeMap<GatewayId, Vec<MailboxItem>>,
) -> Result<u64, StorageError> {
    let puts = stream::iter(items).map(|(gateway, items)| async move {
        let mut taken = 0;
        for piece in items.chunks(ITEMS_MAX) {
            if !put_piece(context, &gateway, piece).await? {
                break;
            }
            taken += piece.len() as u64;
        }
        Ok::<_, StorageError>(taken)
    });
    puts.buffer_unordered(context.config.concurrency_max.max(1))
        .try_fold(0, |sum, taken| async move { Ok(sum + taken) })
        .await
}

/// False when the gateway is gone.
async fn put_piece(context: &Context, gateway: &GatewayId, items: &[MailboxItem]) -> Result<bool, StorageError> {
    let mut backoff = context.backoff();
    loop {
        match context.storage.mailboxes.put(gateway, items.to_vec()).await? {
            Put::Accepted => return Ok(true),
            Put::Refused(Refusal::Gone) => return Ok(false),
            Put::Refused(Refusal::Full) => {
                context.metrics.retries_mailbox_full.inc();
                tokio::time::sleep(backoff.next_wait()).await;
            }
        }
    }
}
