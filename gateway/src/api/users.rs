//! Users: ending their connections.

use std::collections::{BTreeMap, BTreeSet};

use hyper::StatusCode;
use roost_storage::{ConnectionId, DeviceId, GatewayId, MailboxItem, Put, Refusal, Session, UserId};
use serde::Serialize;

use super::answer::{self, Answer};
use super::problem::{Code, Problem};
use crate::node::Node;

#[derive(Serialize)]
struct Disconnecting {
    gateways: usize,
    connections: usize,
}

type ByGateway = BTreeMap<GatewayId, BTreeSet<ConnectionId>>;

/// Asks every gateway that holds connections of the user, or of one device of theirs, to close them. A connection that
/// has joined nothing is in no registry, so only this node's own are found.
///
/// # Errors
/// [`Code::Overloaded`] when a mailbox is full: some gateways may have been asked, and asking again is safe.
pub(super) async fn disconnect(node: &Node, user: UserId, device: Option<DeviceId>) -> Result<Answer, Problem> {
    let sessions = node.storage.sessions.look_up(std::slice::from_ref(&user)).await;
    let sessions = sessions.map_err(|error| Problem::storage(&error))?;
    let here = node.hub.links().into_iter().filter(|link| link.user == user);
    let here = here.map(|link| (link.id.clone(), link.device.clone()));
    let found = by_gateway(sessions.into_iter().flatten(), here, device.as_ref());

    let mut answer = Disconnecting { gateways: 0, connections: 0 };
    for (gateway, connections) in found {
        let item = MailboxItem::Disconnect { user: user.clone(), device: device.clone() };
        match node.storage.mailboxes.put(&gateway, vec![item]).await {
            Ok(Put::Accepted) => {
                answer.gateways += 1;
                answer.connections += connections.len();
            }
            // It has died meanwhile, and its connections with it.
            Ok(Put::Refused(Refusal::Gone)) => {}
            Ok(Put::Refused(Refusal::Full)) => {
                let detail = "a gateway's mailbox is full; some gateways may have been asked, asking again is safe";
                return Err(Problem::new(Code::Overloaded, detail));
            }
            Err(error) => return Err(Problem::storage(&error)),
        }
    }
    Ok(answer::json(StatusCode::ACCEPTED, &answer))
}

fn by_gateway(
    sessions: impl Iterator<Item = Session>,
    here: impl Iterator<Item = (ConnectionId, DeviceId)>,
    device: Option<&DeviceId>,
) -> ByGateway {
    let registered =
        sessions.filter(|session| !session.is_closing()).map(|session| (session.connection, session.device));
    let mut found = ByGateway::new();
    for (connection, its_device) in registered.chain(here) {
        if device.is_none_or(|device| *device == its_device) {
            found.entry(connection.gateway.clone()).or_default().insert(connection);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(gateway: &str, number: u64) -> ConnectionId {
        ConnectionId { gateway: GatewayId::new(gateway).unwrap(), number }
    }

    fn session(gateway: &str, number: u64, device: &str, notifications: bool) -> Session {
        Session {
            user: UserId::new("u").unwrap(),
            connection: connection(gateway, number),
            device: DeviceId::new(device).unwrap(),
            chats: BTreeSet::new(),
            notifications,
        }
    }

    fn count(device: Option<&str>) -> Vec<(String, usize)> {
        let sessions =
            [session("a", 1, "phone", true), session("a", 2, "laptop", true), session("b", 1, "phone", true), {
                session("c", 1, "phone", false)
            }];
        let here = [(connection("a", 1), "phone"), (connection("a", 3), "phone")];
        let here = here.map(|(connection, device)| (connection, DeviceId::new(device).unwrap()));
        let device = device.map(|device| DeviceId::new(device).unwrap());
        let found = by_gateway(sessions.into_iter(), here.into_iter(), device.as_ref());
        found.into_iter().map(|(gateway, connections)| (gateway.to_string(), connections.len())).collect()
    }

    #[test]
    fn connections_are_counted_once_and_closing_ones_are_left_alone() {
        assert_eq!(count(None), [("a".to_string(), 3), ("b".to_string(), 1)]);
    }

    #[test]
    fn a_device_is_told_from_another() {
        assert_eq!(count(Some("phone")), [("a".to_string(), 2), ("b".to_string(), 1)]);
        assert_eq!(count(Some("laptop")), [("a".to_string(), 1)]);
        assert_eq!(count(Some("watch")), []);
    }
}
