//! Closing the channels of users who are not members any more, whatever crashes in between.
//!
//! `CloseChat` may be put only after the change is applied: a join that begins before that is still let in. But once it
//! is applied nobody can tell any more whom a `Change::Set` removed. So the partition has a mailbox of its own, read
//! by no gateway: those about to be removed are written there before the change is applied, and whoever takes the
//! partition over closes the channels of those found there who are, by then, not members.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use roost_storage::{
    ChatId, GatewayId, MailboxItem, MailboxPosition, Mailboxes, Membership, PartitionId, Put, Refusal, StorageError,
    UserId,
};
use tracing::warn;

use crate::context::Context;
use crate::locate::locate;
use crate::put::put_until_taken;

/// Items in one put or read.
const ITEMS_MAX: usize = 256;

/// How a notebook's id begins and ends.
const NOTEBOOK: (&str, &str) = ("partition-", ".removals");

/// Where a partition's removals are written down: the id of no gateway.
pub(crate) fn notebook(partition: PartitionId) -> GatewayId {
    GatewayId::new(format!("{}{}{}", NOTEBOOK.0, partition.0, NOTEBOOK.1)).expect("short, without control characters")
}

/// Whether this is no gateway but a partition's notebook. A storage may find any mailbox without a lease dead.
pub(crate) fn is_notebook(gateway: &GatewayId) -> bool {
    gateway.as_str().starts_with(NOTEBOOK.0) && gateway.as_str().ends_with(NOTEBOOK.1)
}

/// Writes down whom a change is about to remove. When there is no room the change goes on: only a crash at this very
/// moment would then leave a channel open, on which nothing but typing is seen.
pub(crate) async fn write_down(
    context: &Context,
    partition: PartitionId,
    chat: &ChatId,
    users: &BTreeSet<UserId>,
) -> Result<(), StorageError> {
    let items: Vec<_> =
        users.iter().map(|user| MailboxItem::CloseChat { chat: chat.clone(), user: user.clone() }).collect();
    let notebook = notebook(partition);
    let mut written = 0;
    for piece in items.chunks(ITEMS_MAX) {
        if put_or_open(&*context.storage.mailboxes, &notebook, piece).await? != Put::Accepted {
            warn!(chat.id = %chat, "no room to write removals down");
            context.metrics.removals_unrecorded.inc_by((items.len() - written) as u64);
            break;
        }
        written += piece.len();
    }
    Ok(())
}

async fn put_or_open(
    mailboxes: &dyn Mailboxes,
    notebook: &GatewayId,
    items: &[MailboxItem],
) -> Result<Put, StorageError> {
    let put = mailboxes.put(notebook, items.to_vec()).await?;
    if put != Put::Refused(Refusal::Gone) {
        return Ok(put);
    }
    mailboxes.open(notebook).await?;
    mailboxes.put(notebook, items.to_vec()).await
}

/// Closes `chat` on every connection of `users`. Each gateway finds it behind every earlier message of the partition.
pub(crate) async fn close(context: &Context, chat: &ChatId, users: BTreeSet<UserId>) -> Result<(), StorageError> {
    if users.is_empty() {
        return Ok(());
    }
    let located = locate(context, users).await?;
    let mut closes: BTreeMap<GatewayId, Vec<MailboxItem>> = BTreeMap::new();
    for (user, sessions) in &located {
        let gateways: BTreeSet<_> = sessions.iter().map(|session| &session.connection.gateway).collect();
        for gateway in gateways {
            let item = MailboxItem::CloseChat { chat: chat.clone(), user: user.clone() };
            closes.entry(gateway.clone()).or_default().push(item);
        }
    }
    put_until_taken(context, closes).await?;
    Ok(())
}

/// Forgets what is written down, all of it being done.
pub(crate) async fn strike_out(context: &Context, partition: PartitionId) -> Result<(), StorageError> {
    walk(context, partition, false).await
}

/// Does what an earlier holder of the partition wrote down and may not have finished. Before the first read.
pub(crate) async fn catch_up(context: &Context, partition: PartitionId) -> Result<(), StorageError> {
    walk(context, partition, true).await
}

async fn walk(context: &Context, partition: PartitionId, act: bool) -> Result<(), StorageError> {
    let (mailboxes, notebook) = (&context.storage.mailboxes, notebook(partition));
    let mut after: MailboxPosition = mailboxes.confirmed(&notebook).await?;
    loop {
        let entries = mailboxes.read(&notebook, after, ITEMS_MAX, Duration::ZERO).await?;
        let Some(last) = entries.last() else { return Ok(()) };
        after = last.position;
        if act {
            for entry in entries {
                let MailboxItem::CloseChat { chat, user } = entry.item else { continue };
                if context.storage.chats.membership(&chat, &user).await? != Membership::Member {
                    close(context, &chat, BTreeSet::from([user])).await?;
                }
            }
        }
        mailboxes.confirm(&notebook, after).await?;
    }
}
