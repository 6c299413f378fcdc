//! What the actors share: who is in which chat, where the server is at the moment, and the record of what happened.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use roost_harness::checker::{Attempt, Connection, Record, Seen};
use roost_harness::{Client, Frame, Node};
use tokio::sync::watch;

const USERS: usize = 16;
const CHATS: usize = 8;

pub(crate) struct World {
    pub(crate) members: BTreeMap<String, BTreeSet<String>>,
    pub(crate) users: Vec<String>,
    address: watch::Sender<SocketAddr>,
    stopping: watch::Sender<bool>,
    attempts: Mutex<Vec<Attempt>>,
    connections: Mutex<Vec<Connection>>,
}

impl World {
    /// Chats of four to ten members, made through the API.
    pub(crate) async fn new(rng: &mut StdRng, node: &Node) -> Arc<Self> {
        let users: Vec<String> = (0..USERS).map(|number| format!("user-{number:02}")).collect();
        let mut members = BTreeMap::new();
        for number in 0..CHATS {
            let chat = format!("chat-{number}");
            let size = rng.random_range(4..=10);
            let chosen: BTreeSet<String> = users.choose_multiple(rng, size).cloned().collect();
            node.create_chat(&chat, &chosen.iter().map(String::as_str).collect::<Vec<_>>()).await;
            members.insert(chat, chosen);
        }
        Arc::new(Self {
            members,
            users,
            address: watch::Sender::new(node.address()),
            stopping: watch::Sender::new(false),
            attempts: Mutex::default(),
            connections: Mutex::default(),
        })
    }

    pub(crate) fn chats_of(&self, user: &str) -> Vec<String> {
        self.members.iter().filter(|(_, members)| members.contains(user)).map(|(chat, _)| chat.clone()).collect()
    }

    pub(crate) fn moved_to(&self, address: SocketAddr) {
        self.address.send_replace(address);
    }

    pub(crate) fn address(&self) -> SocketAddr {
        *self.address.borrow()
    }

    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    pub(crate) fn attempted(&self, attempt: Attempt) {
        self.attempts.lock().unwrap().push(attempt);
    }

    pub(crate) fn connection_ended(&self, user: &str, device: &str, frames: &[Frame]) {
        self.connections.lock().unwrap().push(connection(user, device, frames));
    }

    /// All that has happened, the connections still open included.
    pub(crate) fn record(&self, open: &[Client]) -> Record {
        let mut connections = self.connections.lock().unwrap().clone();
        connections.extend(open.iter().map(|client| connection(&client.user, &client.device, &client.frames())));
        Record { members: self.members.clone(), attempts: self.attempts.lock().unwrap().clone(), connections }
    }
}

fn connection(user: &str, device: &str, frames: &[Frame]) -> Connection {
    let seen = frames.iter().filter_map(Seen::from_frame).collect();
    Connection { user: user.to_owned(), device: device.to_owned(), seen }
}
