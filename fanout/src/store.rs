//! What happens to a message whose member is not reachable: store it, look again, ring.

use std::collections::{BTreeMap, BTreeSet};

use roost_storage::{GatewayId, MailboxItem, Message, StorageError, UserId};

use crate::context::Context;
use crate::locate::locate;
use crate::plan::notified_on;
use crate::put::put_until_taken;

/// Rows in one call.
const ROWS_MAX: usize = 512;

/// Stores rows as pending, then rings every gateway on which one of their users has come online meanwhile. `gone` are
/// gateways known to be fenced.
///
/// A user who registers after the second look-up reads pending after that, and finds the row; one who registered
/// before it is rung. Rows must come in the order of their messages: they are stored one piece after the other, so that
/// whoever reads meanwhile does not find a message without those before it.
pub(crate) async fn store_and_ring(
    context: &Context,
    rows: &[(UserId, Message)],
    gone: &BTreeSet<GatewayId>,
) -> Result<(), StorageError> {
    if rows.is_empty() {
        return Ok(());
    }
    for piece in rows.chunks(ROWS_MAX) {
        context.storage.pending.put(piece).await?;
    }
    ring(context, rows.iter().map(|(user, _)| user.clone()).collect(), gone).await
}

/// Rings every gateway on which one of these users has the notification topic: read again what is pending.
pub(crate) async fn ring(
    context: &Context,
    users: BTreeSet<UserId>,
    gone: &BTreeSet<GatewayId>,
) -> Result<(), StorageError> {
    let located = locate(context, users).await?;
    let mut rings: BTreeMap<GatewayId, Vec<MailboxItem>> = BTreeMap::new();
    for (user, sessions) in &located {
        for gateway in notified_on(sessions).into_iter().filter(|gateway| !gone.contains(*gateway)) {
            rings.entry(gateway.clone()).or_default().push(MailboxItem::Ring { user: user.clone() });
        }
    }
    context.metrics.rings.inc_by(put_until_taken(context, rings).await?);
    Ok(())
}
