//! Chats in room mode: who follows them, and what their gateways have to be told.
//!
//! A gateway follows a room while one of its connections wants the room's messages. It says so itself when the
//! connection comes; where it could not know, because the chat became a room or the user its member meanwhile, this
//! module says it for the gateway, after the change is applied: whoever registers later reads the change.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use roost_storage::{ChatId, GatewayId, MailboxItem, Message, Registration, StorageError, UserId};

use crate::context::Context;
use crate::locate::locate;
use crate::plan::{Followers, Outgoing, Plan};
use crate::put::{RefusedBy, put_until_taken};

/// Users named in one item.
const USERS_MAX: usize = 256;

/// Stores the messages of rooms, then asks who follows these. In this order: a gateway that follows later reads history
/// after that, and finds them.
pub(crate) async fn store_and_find_followers(
    context: &Context,
    messages: &[Message],
) -> Result<Followers, StorageError> {
    if messages.is_empty() {
        return Ok(Followers::new());
    }
    context.storage.history.append(messages).await?;
    let chats: BTreeSet<&ChatId> = messages.iter().map(|message| &message.chat).collect();
    let chats: Vec<ChatId> = chats.into_iter().cloned().collect();
    let followers = context.storage.sessions.followers(&chats).await?;
    Ok(chats.into_iter().zip(followers).collect())
}

/// Tells gateways whose mailbox was full that messages of rooms are missing there, before any later one is put.
pub(crate) async fn ring_refusing(
    context: &Context,
    outgoing: &[Outgoing],
    plan: &Plan,
    refused: &RefusedBy,
) -> Result<(), StorageError> {
    let mut rings: BTreeMap<GatewayId, Vec<MailboxItem>> = BTreeMap::new();
    for gateway in &refused.full {
        let entries = plan.gateways.get(gateway).into_iter().flatten().map(|entry| &outgoing[entry.index]);
        let rooms: BTreeSet<_> = entries.filter(|out| out.is_room()).map(|out| &out.message.chat).collect();
        let items: Vec<_> = rooms.into_iter().map(|chat| MailboxItem::RingRoom { chat: chat.clone() }).collect();
        if !items.is_empty() {
            rings.insert(gateway.clone(), items);
        }
    }
    context.metrics.room_rings.inc_by(put_until_taken(context, rings).await?);
    Ok(())
}

/// Lets the gateways of `users` follow the room for them.
pub(crate) async fn enter(context: &Context, chat: &ChatId, users: BTreeSet<UserId>) -> Result<(), StorageError> {
    if users.is_empty() {
        return Ok(());
    }
    let located = locate(context, users).await?;
    let mut entering: BTreeMap<GatewayId, BTreeSet<UserId>> = BTreeMap::new();
    for (user, sessions) in &located {
        for session in sessions.iter().filter(|session| session.notifications || session.chats.contains(chat)) {
            entering.entry(session.connection.gateway.clone()).or_default().insert(user.clone());
        }
    }
    let gateways: Vec<GatewayId> = entering.keys().cloned().collect();
    let follows = stream::iter(gateways).map(|gateway| async move {
        match context.storage.sessions.follow(&gateway, chat).await? {
            // One that is lost is reaped, and its users read the change when they come back.
            Registration::Done | Registration::GatewayLost => Ok::<_, StorageError>(()),
        }
    });
    follows.buffer_unordered(context.config.concurrency_max.max(1)).try_collect::<()>().await?;
    let items = entering.into_iter().map(|(gateway, users)| {
        let users: Vec<_> = users.into_iter().collect();
        let item = |users: &[UserId]| MailboxItem::EnterRoom { chat: chat.clone(), users: users.to_vec() };
        (gateway, users.chunks(USERS_MAX).map(item).collect())
    });
    put_until_taken(context, items.collect()).await?;
    Ok(())
}
