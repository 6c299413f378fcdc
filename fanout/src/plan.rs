//! Who gets a message through which gateway. No storage in here: members and sessions in, mailbox entries out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use roost_storage::{
    ChatId, ConnectionId, Delivery, GatewayId, MailboxItem, Message, RoomDelivery, Sequence, Session, UserId,
};

use crate::locate::Located;

/// A message to route, and whom it is for at its place in the order.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) message: Message,
    pub(crate) origin: Option<ConnectionId>,
    pub(crate) audience: Audience,
    /// The room's message before it.
    pub(crate) previous: Option<Sequence>,
}

/// Whom a message is for.
#[derive(Debug, Clone)]
pub(crate) enum Audience {
    /// These, each looked up.
    Members(Arc<BTreeSet<UserId>>),
    /// Whoever the gateways that follow the chat find.
    Room,
}

impl Audience {
    /// How much work it is.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Members(members) => members.len(),
            Self::Room => 1,
        }
    }
}

/// The gateways that follow each room.
pub(crate) type Followers = HashMap<ChatId, Vec<GatewayId>>;

impl Outgoing {
    /// Members who are to get it, by themselves: all but the sender.
    pub(crate) fn recipients(&self) -> impl Iterator<Item = &UserId> {
        let members = match &self.audience {
            Audience::Members(members) => Some(members),
            Audience::Room => None,
        };
        members.into_iter().flat_map(|members| members.iter()).filter(|member| **member != self.message.sender)
    }

    pub(crate) fn is_room(&self) -> bool {
        matches!(self.audience, Audience::Room)
    }
}

/// One entry of one gateway's mailbox: which of the messages, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Planned {
    /// The message, as an index into what was planned.
    pub(crate) index: usize,
    /// Members reachable on this gateway; none for a room, where the gateway knows.
    pub(crate) recipients: Vec<UserId>,
}

/// What is to be put where.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Per gateway its entries, in the order of the messages.
    pub(crate) gateways: BTreeMap<GatewayId, Vec<Planned>>,
    /// Messages and members who are reachable nowhere, in the order of the messages.
    pub(crate) unreachable: Vec<(usize, UserId)>,
}

/// Plans messages of any chats, in their order.
pub(crate) fn plan(outgoing: &[Outgoing], located: &Located, followers: &Followers) -> Plan {
    let mut plan = Plan::default();
    for (index, out) in outgoing.iter().enumerate() {
        if out.is_room() {
            for gateway in followers.get(&out.message.chat).into_iter().flatten() {
                let entry = Planned { index, recipients: Vec::new() };
                plan.gateways.entry(gateway.clone()).or_default().push(entry);
            }
            continue;
        }
        let mut entries: BTreeMap<&GatewayId, Vec<UserId>> = BTreeMap::new();
        for gateway in sender_gateways(out, located) {
            entries.entry(gateway).or_default();
        }
        for member in out.recipients() {
            let gateways = located.get(member).map(|sessions| reachable_on(&out.message.chat, sessions));
            match gateways {
                Some(gateways) if !gateways.is_empty() => {
                    for gateway in gateways {
                        entries.entry(gateway).or_default().push(member.clone());
                    }
                }
                _ => plan.unreachable.push((index, member.clone())),
            }
        }
        for (gateway, recipients) in entries {
            plan.gateways.entry(gateway.clone()).or_default().push(Planned { index, recipients });
        }
    }
    plan
}

/// A user in the room anywhere gets the message there and nowhere else; one who is in the room nowhere gets it where a
/// notification topic is joined.
fn reachable_on<'a>(chat: &ChatId, sessions: &'a [Session]) -> BTreeSet<&'a GatewayId> {
    let room: BTreeSet<_> = sessions
        .iter()
        .filter(|session| session.chats.contains(chat))
        .map(|session| &session.connection.gateway)
        .collect();
    if room.is_empty() { notified_on(sessions) } else { room }
}

/// The gateways on which a user's notification topic is joined.
pub(crate) fn notified_on(sessions: &[Session]) -> BTreeSet<&GatewayId> {
    sessions.iter().filter(|session| session.notifications).map(|session| &session.connection.gateway).collect()
}

/// Where the sender's other connections in the room are. They get the message without an obligation: whoever sent it
/// has it, so nothing is stored for them.
fn sender_gateways<'a>(out: &Outgoing, located: &'a Located) -> BTreeSet<&'a GatewayId> {
    let sessions = located.get(&out.message.sender).map_or(&[][..], Vec::as_slice);
    let others = sessions.iter().filter(|session| {
        session.chats.contains(&out.message.chat) && Some(&session.connection) != out.origin.as_ref()
    });
    others.map(|session| &session.connection.gateway).collect()
}

impl Planned {
    /// The mailbox entry.
    pub(crate) fn item(&self, outgoing: &[Outgoing]) -> MailboxItem {
        let Outgoing { message, origin, audience, previous } = outgoing[self.index].clone();
        match audience {
            Audience::Members(_) => {
                MailboxItem::Deliver(Delivery { message, origin, recipients: self.recipients.clone() })
            }
            Audience::Room => MailboxItem::DeliverRoom(RoomDelivery { message, previous, origin }),
        }
    }
}

/// Messages and members whose every gateway refused, in the order of the messages.
pub(crate) fn refused_everywhere(plan: &Plan, refused: &BTreeSet<GatewayId>) -> Vec<(usize, UserId)> {
    if refused.is_empty() {
        return Vec::new();
    }
    let of = |taken: bool| {
        let gateways = plan.gateways.iter().filter(move |(gateway, _)| refused.contains(*gateway) != taken);
        gateways
            .flat_map(|(_, entries)| entries)
            .flat_map(|entry| entry.recipients.iter().map(|user| (entry.index, user)))
    };
    let accepted: BTreeSet<_> = of(true).collect();
    let missed: BTreeSet<_> = of(false).filter(|pair| !accepted.contains(pair)).collect();
    missed.into_iter().map(|(index, user)| (index, user.clone())).collect()
}

#[cfg(test)]
mod tests;
