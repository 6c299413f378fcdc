//! A small gateway that keeps the rules: it can take rings before it registers, registers before it reads pending,
//! confirms its mailbox only below what is confirmed or stored, and hands back what a closing connection had not
//! confirmed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use roost_storage::*;

use super::world::Ledger;
use crate::tests::rig::chat;

pub(super) struct Gateway {
    pub(super) id: GatewayId,
    storage: Storage,
    ledger: Rc<RefCell<Ledger>>,
    state: RefCell<State>,
}

struct State {
    lost: bool,
    reading: bool,
    next: u64,
    connections: BTreeMap<u64, Connection>,
    read: MailboxPosition,
    /// What can be confirmed: positions read, above the one confirmed.
    unconfirmed: BTreeSet<MailboxPosition>,
    /// Targets of each entry read and not confirmed that have neither confirmed nor become pending.
    open: BTreeMap<MailboxPosition, usize>,
}

struct Connection {
    user: UserId,
    room: Option<ChatId>,
    notifications: bool,
    closing: bool,
    unconfirmed: Vec<(Source, Message)>,
}

/// What is done once a frame is confirmed.
#[derive(Clone, Copy)]
enum Source {
    Mailbox(MailboxPosition),
    Pending,
}

impl Gateway {
    pub(super) fn new(id: GatewayId, storage: Storage, ledger: Rc<RefCell<Ledger>>) -> Rc<Self> {
        let state = State {
            lost: false,
            reading: false,
            next: 0,
            connections: BTreeMap::new(),
            read: MailboxPosition::START,
            unconfirmed: BTreeSet::new(),
            open: BTreeMap::new(),
        };
        Rc::new(Self { id, storage, ledger, state: RefCell::new(state) })
    }

    /// Its lease is gone: it closes its sockets, which is its end.
    pub(super) fn is_lost(&self) -> bool {
        self.state.borrow().lost
    }

    /// Connections that are not closing.
    pub(super) fn connections(&self) -> Vec<u64> {
        let state = self.state.borrow();
        state.connections.iter().filter(|(_, connection)| !connection.closing).map(|(number, _)| *number).collect()
    }

    /// Whether the user has a connection here that has joined the notification topic.
    pub(super) fn notifies(&self, user: &UserId) -> bool {
        !self.notified(user).is_empty()
    }

    /// Joins a room, the notification topic, or both.
    pub(super) async fn connect(self: Rc<Self>, user: UserId, joins: u8) {
        let (room, notifications) = ((joins != 1).then(|| chat("chat-0")), joins != 0);
        let number = {
            let mut state = self.state.borrow_mut();
            state.next += 1;
            let number = state.next;
            let (user, room) = (user.clone(), room.clone());
            let connection = Connection { user, room, notifications, closing: false, unconfirmed: Vec::new() };
            state.connections.insert(number, connection);
            number
        };
        if self.register(number).await && notifications {
            self.read_pending(number).await;
        }
    }

    async fn register(&self, number: u64) -> bool {
        let session = {
            let state = self.state.borrow();
            let Some(connection) = state.connections.get(&number) else { return false };
            let room = connection.room.clone().filter(|_| !connection.closing);
            Session {
                user: connection.user.clone(),
                connection: ConnectionId { gateway: self.id.clone(), number },
                device: DeviceId::new("device").unwrap(),
                chats: room.into_iter().collect(),
                notifications: connection.notifications && !connection.closing,
            }
        };
        let registration = self.storage.sessions.register(&session).await.unwrap();
        self.state.borrow_mut().lost |= registration == Registration::GatewayLost;
        registration == Registration::Done
    }

    async fn read_pending(&self, number: u64) {
        let mut after = None;
        loop {
            let user = match self.state.borrow().connections.get(&number) {
                Some(connection) if !connection.closing => connection.user.clone(),
                _ => return,
            };
            let page = self.storage.pending.page(&user, after.as_ref(), 2).await.unwrap();
            if let Some(connection) = self.state.borrow_mut().connections.get_mut(&number)
                && !connection.closing
            {
                connection.unconfirmed.extend(page.messages.into_iter().map(|message| (Source::Pending, message)));
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return,
            }
        }
    }

    /// Deals with some of the mailbox. One at a time.
    pub(super) async fn read_mailbox(self: Rc<Self>) {
        if std::mem::replace(&mut self.state.borrow_mut().reading, true) {
            return;
        }
        let read = self.state.borrow().read;
        let entries = self.storage.mailboxes.read(&self.id, read, 4, Duration::ZERO).await.unwrap();
        for entry in entries {
            {
                let mut state = self.state.borrow_mut();
                state.read = entry.position;
                state.unconfirmed.insert(entry.position);
            }
            match entry.item {
                MailboxItem::Deliver(delivery) => self.deliver(entry.position, delivery).await,
                MailboxItem::Ring { user } => {
                    for number in self.notified(&user) {
                        self.read_pending(number).await;
                    }
                }
                MailboxItem::CloseChat { .. } | MailboxItem::Disconnect { .. } => {}
                MailboxItem::DeliverRoom(_) | MailboxItem::RingRoom { .. } | MailboxItem::EnterRoom { .. } => {
                    unreachable!("no chat here has enough members for room mode")
                }
            }
        }
        self.confirm_mailbox().await;
        self.state.borrow_mut().reading = false;
    }

    async fn deliver(&self, position: MailboxPosition, delivery: Delivery) {
        let mut missed = Vec::new();
        {
            let mut state = self.state.borrow_mut();
            let mut targets = 0;
            for user in delivery.recipients {
                let reached = state.push(&user, position, &delivery.message);
                targets += reached.max(1);
                if reached == 0 {
                    missed.push((user, delivery.message.clone()));
                }
            }
            // None when it is only for another connection of the sender.
            if targets > 0 {
                state.open.insert(position, targets);
            }
        }
        let positions = missed.iter().map(|_| position).collect();
        self.hand_back(missed, positions).await;
    }

    fn notified(&self, user: &UserId) -> Vec<u64> {
        let state = self.state.borrow();
        let notified = state.connections.iter().filter(|(_, it)| it.user == *user && it.notifications && !it.closing);
        notified.map(|(number, _)| *number).collect()
    }

    /// Stores, looks again, rings; then the mailbox need not keep it.
    async fn hand_back(&self, rows: Vec<(UserId, Message)>, positions: Vec<MailboxPosition>) {
        if rows.is_empty() {
            return;
        }
        self.storage.pending.put(&rows).await.unwrap();
        let users: BTreeSet<UserId> = rows.into_iter().map(|(user, _)| user).collect();
        let users: Vec<UserId> = users.into_iter().collect();
        let sessions = self.storage.sessions.look_up(&users).await.unwrap();
        for (user, sessions) in users.iter().zip(sessions) {
            let notified = sessions.iter().filter(|session| session.notifications);
            let gateways: BTreeSet<_> = notified.map(|session| session.connection.gateway.clone()).collect();
            for gateway in gateways {
                let ring = MailboxItem::Ring { user: user.clone() };
                let put = self.storage.mailboxes.put(&gateway, vec![ring]).await.unwrap();
                assert_ne!(put, Put::Refused(Refusal::Full));
            }
        }
        self.state.borrow_mut().done(&positions);
    }

    /// The client's stack has parsed all that was pushed.
    pub(super) async fn confirm(self: Rc<Self>, number: u64) {
        let (user, frames) = {
            let mut state = self.state.borrow_mut();
            let Some(connection) = state.connections.get_mut(&number).filter(|it| !it.closing) else { return };
            (connection.user.clone(), std::mem::take(&mut connection.unconfirmed))
        };
        for (_, message) in &frames {
            self.ledger.borrow_mut().confirmed.insert((user.clone(), message.id()));
        }
        let keys: Vec<_> = frames
            .iter()
            .filter(|(source, _)| matches!(source, Source::Pending))
            .map(|(_, message)| PendingKey::of(message))
            .collect();
        if !keys.is_empty() {
            self.storage.pending.delete(&user, &keys).await.unwrap();
        }
        self.state.borrow_mut().done(&positions(&frames));
        self.confirm_mailbox().await;
    }

    /// The socket has gone.
    pub(super) async fn disconnect(self: Rc<Self>, number: u64) {
        let (user, frames) = {
            let mut state = self.state.borrow_mut();
            let Some(connection) = state.connections.get_mut(&number).filter(|it| !it.closing) else { return };
            connection.closing = true;
            (connection.user.clone(), std::mem::take(&mut connection.unconfirmed))
        };
        if !self.register(number).await {
            return;
        }
        let positions = positions(&frames);
        let from_mailbox = frames.into_iter().filter(|(source, _)| matches!(source, Source::Mailbox(_)));
        self.hand_back(from_mailbox.map(|(_, message)| (user.clone(), message)).collect(), positions).await;
        let connection = ConnectionId { gateway: self.id.clone(), number };
        self.storage.sessions.unregister(&SessionKey { user, connection }).await.unwrap();
        self.state.borrow_mut().connections.remove(&number);
        self.confirm_mailbox().await;
    }

    async fn confirm_mailbox(&self) {
        let through = {
            let mut state = self.state.borrow_mut();
            let first_open = state.open.first_key_value().map(|(position, _)| *position);
            let still_open = first_open.map(|first| state.unconfirmed.split_off(&first)).unwrap_or_default();
            std::mem::replace(&mut state.unconfirmed, still_open).pop_last()
        };
        if let Some(through) = through {
            self.storage.mailboxes.confirm(&self.id, through).await.unwrap();
        }
    }
}

fn positions(frames: &[(Source, Message)]) -> Vec<MailboxPosition> {
    let position = |source| if let Source::Mailbox(position) = source { Some(position) } else { None };
    frames.iter().filter_map(|(source, _)| position(*source)).collect()
}

impl State {
    /// Pushes to the user's connections in the room, else to those with notifications. Returns to how many.
    fn push(&mut self, user: &UserId, position: MailboxPosition, message: &Message) -> usize {
        let mut of_user: Vec<_> = self
            .connections
            .values_mut()
            .filter(|connection| connection.user == *user && !connection.closing)
            .collect();
        let in_room = of_user.iter().any(|connection| connection.room.as_ref() == Some(&message.chat));
        of_user.retain(|it| if in_room { it.room.as_ref() == Some(&message.chat) } else { it.notifications });
        for connection in &mut of_user {
            connection.unconfirmed.push((Source::Mailbox(position), message.clone()));
        }
        of_user.len()
    }

    fn done(&mut self, positions: &[MailboxPosition]) {
        for position in positions {
            if let Some(targets) = self.open.get_mut(position) {
                *targets -= 1;
            }
        }
        self.open.retain(|_, targets| *targets > 0);
    }
}
