//! [`Mailboxes`].
#![allow(missing_docs, reason = "each function's name is the promise")]

use std::time::Duration;

use super::{LONG, MAILBOX_ENTRIES_MAX, MOMENT, SOON, connection_of, message_at, new_chat, new_device, new_user};
use crate::{
    Delivery, GatewayId, MailboxEntry, MailboxItem, MailboxPosition, Mailboxes, Put, Refusal, RoomDelivery, Storage,
};

fn ring() -> MailboxItem {
    MailboxItem::Ring { user: new_user() }
}

fn delivery() -> MailboxItem {
    let message = message_at(&new_chat(), 1);
    MailboxItem::Deliver(Delivery { message, origin: None, recipients: vec![new_user()] })
}

fn room_delivery() -> MailboxItem {
    MailboxItem::DeliverRoom(RoomDelivery { previous: None, message: message_at(&new_chat(), 1), origin: None })
}

async fn opened(mailboxes: &dyn Mailboxes) -> GatewayId {
    let gateway = GatewayId::random();
    mailboxes.open(&gateway).await.expect("it opens");
    gateway
}

async fn put(mailboxes: &dyn Mailboxes, gateway: &GatewayId, items: &[MailboxItem]) -> Put {
    mailboxes.put(gateway, items.to_vec()).await.expect("it answers")
}

async fn read(mailboxes: &dyn Mailboxes, gateway: &GatewayId, after: MailboxPosition) -> Vec<MailboxEntry> {
    mailboxes.read(gateway, after, 10_000, Duration::ZERO).await.expect("it reads")
}

async fn items(mailboxes: &dyn Mailboxes, gateway: &GatewayId) -> Vec<MailboxItem> {
    read(mailboxes, gateway, MailboxPosition::START).await.into_iter().map(|entry| entry.item).collect()
}

pub async fn a_mailbox_that_was_never_opened_refuses(storage: Storage) {
    let gateway = GatewayId::random();
    assert_eq!(put(&*storage.mailboxes, &gateway, &[ring()]).await, Put::Refused(Refusal::Gone));
    assert_eq!(items(&*storage.mailboxes, &gateway).await, []);
    assert_eq!(storage.mailboxes.confirmed(&gateway).await.expect("it answers"), MailboxPosition::START);
}

pub async fn items_are_read_in_the_order_they_were_put(storage: Storage) {
    let gateway = opened(&*storage.mailboxes).await;
    let all: Vec<_> = (0..20).map(|n| if n % 2 == 0 { ring() } else { delivery() }).collect();
    for part in all.chunks(7) {
        assert_eq!(put(&*storage.mailboxes, &gateway, part).await, Put::Accepted);
    }
    let entries = read(&*storage.mailboxes, &gateway, MailboxPosition::START).await;
    assert!(entries[0].position > MailboxPosition::START);
    assert!(entries.is_sorted_by(|a, b| a.position < b.position));
    assert_eq!(entries.into_iter().map(|entry| entry.item).collect::<Vec<_>>(), all);
}

pub async fn every_kind_of_item_comes_back(storage: Storage) {
    let gateway = opened(&*storage.mailboxes).await;
    let message = message_at(&new_chat(), (1 << 53) - 1);
    let origin = Some(connection_of(&gateway, u64::MAX));
    let recipients = vec![new_user(), new_user()];
    let all = [
        MailboxItem::Deliver(Delivery { message: message.clone(), origin: origin.clone(), recipients }),
        delivery(),
        MailboxItem::DeliverRoom(RoomDelivery { previous: None, message, origin }),
        room_delivery(),
        MailboxItem::RingRoom { chat: new_chat() },
        MailboxItem::EnterRoom { chat: new_chat(), users: vec![new_user(), new_user()] },
        MailboxItem::EnterRoom { chat: new_chat(), users: Vec::new() },
        ring(),
        MailboxItem::CloseChat { chat: new_chat(), user: new_user() },
        MailboxItem::Disconnect { user: new_user(), device: Some(new_device()) },
        MailboxItem::Disconnect { user: new_user(), device: None },
    ];
    assert_eq!(put(&*storage.mailboxes, &gateway, &all).await, Put::Accepted);
    assert_eq!(items(&*storage.mailboxes, &gateway).await, all);
}

pub async fn putting_nothing_is_accepted(storage: Storage) {
    let gateway = opened(&*storage.mailboxes).await;
    assert_eq!(put(&*storage.mailboxes, &gateway, &[]).await, Put::Accepted);
    assert_eq!(items(&*storage.mailboxes, &gateway).await, []);
}

pub async fn opening_again_keeps_what_is_there(storage: Storage) {
    let gateway = opened(&*storage.mailboxes).await;
    let item = ring();
    assert_eq!(put(&*storage.mailboxes, &gateway, std::slice::from_ref(&item)).await, Put::Accepted);
    storage.mailboxes.open(&gateway).await.expect("it opens");
    assert_eq!(items(&*storage.mailboxes, &gateway).await, [item]);
}

pub async fn reading_goes_on_after_a_position(storage: Storage) {
    let gateway = opened(&*storage.mailboxes).await;
    let all: Vec<_> = (0..10).map(|_| ring()).collect();
    assert_eq!(put(&*storage.mailboxes, &gateway, &all).await, Put::Accepted);
    let first = storage.mailboxes.read(&gateway, MailboxPosition::START, 4, SOON).await.expect("it reads");
    assert_eq!(first.len(), 4);
    let rest = read(&*storage.mailboxes, &gateway, first[3].position).await;
    assert_eq!(rest.into_iter().map(|entry| entry.item).collect::<Vec<_>>(), all[4..]);
}

pub async fn a_reader_that_waits_is_woken_by_a_put(storage: Storage) {
    let gateway = opened(&*storage.mailboxes).await;
    let (mailboxes, owner) = (storage.mailboxes.clone(), gateway.clone());
    let reader = tokio::spawn(async move { mailboxes.read(&owner, MailboxPosition::START, 10, LONG).await });
    tokio::task::yield_now().await;
    assert_eq!(put(&*storage.mailboxes, &gateway, &[ring()]).await, Put::Accepted);
    let entries = tokio::time::timeout(SOON, reader).await.expect("it is woken").expect("it ends").expect("it reads");
    assert_eq!(entries.len(), 1);
}

pub async fn a_reader_that_waits_in_vain_gets_nothing(storage: Storage) {
    let gateway = opened(&*storage.mailboxes).await;
    let read = storage.mailboxes.read(&gateway, MailboxPosition::START, 10, MOMENT).await;
    assert_eq!(read.expect("it reads"), []);
}

pub async fn a_reader_behind_the_confirmed_position_waits_for_what_comes(storage: Storage) {
    let gateway = opened(&*storage.mailboxes).await;
    assert_eq!(put(&*storage.mailboxes, &gateway, &[ring()]).await, Put::Accepted);
    let last = read(&*storage.mailboxes, &gateway, MailboxPosition::START).await[0].position;
    storage.mailboxes.confirm(&gateway, last).await.expect("it answers");
    let (mailboxes, owner) = (storage.mailboxes.clone(), gateway.clone());
    let reader = tokio::spawn(async move { mailboxes.read(&owner, MailboxPosition::START, 10, LONG).await });
    tokio::time::sleep(MOMENT).await;
    let later = ring();
    assert_eq!(put(&*storage.mailboxes, &gateway, std::slice::from_ref(&later)).await, Put::Accepted);
    let entries = tokio::time::timeout(SOON, reader).await.expect("it is woken").expect("it ends").expect("it reads");
    assert_eq!(entries.last().map(|entry| &entry.item), Some(&later));
}

pub async fn confirming_moves_the_position_and_never_back(storage: Storage) {
    let (mailboxes, gateway) = (&*storage.mailboxes, opened(&*storage.mailboxes).await);
    assert_eq!(mailboxes.confirmed(&gateway).await.expect("it answers"), MailboxPosition::START);
    let all: Vec<_> = (0..5).map(|_| ring()).collect();
    assert_eq!(put(mailboxes, &gateway, &all).await, Put::Accepted);
    let entries = read(mailboxes, &gateway, MailboxPosition::START).await;
    mailboxes.confirm(&gateway, entries[2].position).await.expect("it answers");
    assert_eq!(mailboxes.confirmed(&gateway).await.expect("it answers"), entries[2].position);
    mailboxes.confirm(&gateway, entries[0].position).await.expect("it answers");
    assert_eq!(mailboxes.confirmed(&gateway).await.expect("it answers"), entries[2].position);
    assert_eq!(read(mailboxes, &gateway, entries[2].position).await, entries[3..]);
}

pub async fn positions_go_on_after_everything_was_confirmed(storage: Storage) {
    let (mailboxes, gateway) = (&*storage.mailboxes, opened(&*storage.mailboxes).await);
    assert_eq!(put(mailboxes, &gateway, &[ring(), ring()]).await, Put::Accepted);
    let last = read(mailboxes, &gateway, MailboxPosition::START).await[1].position;
    mailboxes.confirm(&gateway, last).await.expect("it answers");
    let later = ring();
    assert_eq!(put(mailboxes, &gateway, std::slice::from_ref(&later)).await, Put::Accepted);
    let entries = read(mailboxes, &gateway, last).await;
    assert_eq!(entries.len(), 1);
    assert!(entries[0].position > last);
    assert_eq!(entries[0].item, later);
}

pub async fn a_fenced_mailbox_refuses_and_stays_readable(storage: Storage) {
    let gateway = opened(&*storage.mailboxes).await;
    let kept = [delivery(), ring()];
    assert_eq!(put(&*storage.mailboxes, &gateway, &kept).await, Put::Accepted);
    storage.mailboxes.fence(&gateway).await.expect("it answers");
    for late in [delivery(), ring()] {
        assert_eq!(put(&*storage.mailboxes, &gateway, &[late]).await, Put::Refused(Refusal::Gone));
    }
    storage.mailboxes.fence(&gateway).await.expect("it can be repeated");
    storage.mailboxes.open(&gateway).await.expect("it answers");
    assert_eq!(put(&*storage.mailboxes, &gateway, &[ring()]).await, Put::Refused(Refusal::Gone));
    assert_eq!(items(&*storage.mailboxes, &gateway).await, kept);
}

pub async fn a_fence_before_opening_holds(storage: Storage) {
    let gateway = GatewayId::random();
    storage.mailboxes.fence(&gateway).await.expect("it answers");
    storage.mailboxes.open(&gateway).await.expect("it answers");
    assert_eq!(put(&*storage.mailboxes, &gateway, &[ring()]).await, Put::Refused(Refusal::Gone));
}

/// Puts race a fence: whatever was accepted is there when the fence has returned, and nothing comes after.
pub async fn a_fence_lets_no_later_put_through(storage: Storage) {
    let gateway = opened(&*storage.mailboxes).await;
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let (mailboxes, gateway) = (storage.mailboxes.clone(), gateway.clone());
            tokio::spawn(async move {
                let mut accepted = 0;
                for _ in 0..50 {
                    match put(&*mailboxes, &gateway, &[ring()]).await {
                        Put::Accepted => accepted += 1,
                        refused => {
                            assert_eq!(refused, Put::Refused(Refusal::Gone));
                            break;
                        }
                    }
                }
                accepted
            })
        })
        .collect();
    let first = storage.mailboxes.read(&gateway, MailboxPosition::START, 1, SOON).await.expect("it reads");
    assert_eq!(first.len(), 1);
    storage.mailboxes.fence(&gateway).await.expect("it answers");
    let when_fenced = items(&*storage.mailboxes, &gateway).await.len();
    let mut accepted = 0;
    for writer in writers {
        accepted += writer.await.expect("the writer ends");
    }
    assert_eq!(accepted, when_fenced);
    assert_eq!(items(&*storage.mailboxes, &gateway).await.len(), when_fenced);
}

pub async fn a_removed_mailbox_is_empty_and_stays_fenced(storage: Storage) {
    let gateway = opened(&*storage.mailboxes).await;
    assert_eq!(put(&*storage.mailboxes, &gateway, &[delivery(), ring()]).await, Put::Accepted);
    storage.mailboxes.fence(&gateway).await.expect("it answers");
    storage.mailboxes.remove(&gateway).await.expect("it answers");
    assert_eq!(items(&*storage.mailboxes, &gateway).await, []);
    assert_eq!(put(&*storage.mailboxes, &gateway, &[ring()]).await, Put::Refused(Refusal::Gone));
    storage.mailboxes.open(&gateway).await.expect("it answers");
    assert_eq!(put(&*storage.mailboxes, &gateway, &[ring()]).await, Put::Refused(Refusal::Gone));
    storage.mailboxes.remove(&gateway).await.expect("it can be repeated");
}

pub async fn mailboxes_do_not_mix(storage: Storage) {
    let gateways = ["a", "aa", "ab", "b"].map(|end| GatewayId::new(format!("{}{end}", GatewayId::random())));
    let gateways = gateways.map(|gateway| gateway.expect("it is short"));
    for gateway in &gateways {
        storage.mailboxes.open(gateway).await.expect("it opens");
    }
    let mine: Vec<_> = gateways.iter().map(|_| ring()).collect();
    for (gateway, item) in gateways.iter().zip(&mine) {
        assert_eq!(put(&*storage.mailboxes, gateway, std::slice::from_ref(item)).await, Put::Accepted);
    }
    storage.mailboxes.fence(&gateways[0]).await.expect("it answers");
    storage.mailboxes.remove(&gateways[0]).await.expect("it answers");
    for (gateway, item) in gateways.iter().zip(&mine).skip(1) {
        assert_eq!(items(&*storage.mailboxes, gateway).await, std::slice::from_ref(item));
    }
}

/// Fills the mailbox with deliveries, and returns how many it took.
async fn fill(mailboxes: &dyn Mailboxes, gateway: &GatewayId) -> u64 {
    let mut taken = 0;
    while taken <= 2 * MAILBOX_ENTRIES_MAX {
        match put(mailboxes, gateway, &[delivery(), delivery()]).await {
            Put::Accepted => taken += 2,
            refused => {
                assert_eq!(refused, Put::Refused(Refusal::Full));
                return taken;
            }
        }
    }
    panic!("the mailbox takes twice its limit");
}

pub async fn a_full_mailbox_refuses_deliveries_all_or_none(storage: Storage) {
    let (mailboxes, gateway) = (&*storage.mailboxes, opened(&*storage.mailboxes).await);
    let taken = fill(mailboxes, &gateway).await;
    assert!(taken >= MAILBOX_ENTRIES_MAX - 1);
    let entries = read(mailboxes, &gateway, MailboxPosition::START).await;
    assert_eq!(entries.len() as u64, taken, "nothing of what was refused is there");
    let last = entries.last().expect("it is full").position;
    mailboxes.confirm(&gateway, last).await.expect("it answers");
    assert_eq!(put(mailboxes, &gateway, &[delivery()]).await, Put::Accepted);
}

pub async fn a_full_mailbox_takes_rings_closes_and_disconnects(storage: Storage) {
    let (mailboxes, gateway) = (&*storage.mailboxes, opened(&*storage.mailboxes).await);
    fill(mailboxes, &gateway).await;
    let closing = MailboxItem::CloseChat { chat: new_chat(), user: new_user() };
    let disconnecting = MailboxItem::Disconnect { user: new_user(), device: None };
    assert_eq!(put(mailboxes, &gateway, &[ring(), closing, disconnecting]).await, Put::Accepted);
}

pub async fn a_full_mailbox_refuses_deliveries_to_rooms_all_or_none(storage: Storage) {
    let (mailboxes, gateway) = (&*storage.mailboxes, opened(&*storage.mailboxes).await);
    let mut taken = 0;
    while put(mailboxes, &gateway, &[room_delivery()]).await == Put::Accepted {
        taken += 1;
        assert!(taken <= 2 * MAILBOX_ENTRIES_MAX, "the mailbox takes twice its limit");
    }
    assert!(taken >= MAILBOX_ENTRIES_MAX - 1);
    for late in [vec![room_delivery()], vec![delivery()], vec![ring(), room_delivery()]] {
        assert_eq!(put(mailboxes, &gateway, &late).await, Put::Refused(Refusal::Full));
    }
    assert_eq!(items(mailboxes, &gateway).await.len() as u64, taken, "nothing of what was refused is there");
}

pub async fn a_full_mailbox_takes_rings_and_entries_of_rooms(storage: Storage) {
    let (mailboxes, gateway) = (&*storage.mailboxes, opened(&*storage.mailboxes).await);
    fill(mailboxes, &gateway).await;
    let ringing = MailboxItem::RingRoom { chat: new_chat() };
    let entering = MailboxItem::EnterRoom { chat: new_chat(), users: vec![new_user()] };
    assert_eq!(put(mailboxes, &gateway, &[ringing.clone(), entering.clone()]).await, Put::Accepted);
    assert_eq!(items(mailboxes, &gateway).await[..].last_chunk(), Some(&[ringing, entering]));
}
