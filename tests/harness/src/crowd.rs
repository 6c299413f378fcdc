//! A crowd of users with habits, for tests that take servers down under load: who is in which chat, where servers are at
//! the moment, the record of what happened, and the verdict on it.

mod actor;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use tokio::sync::watch;

use crate::checker::{Attempt, Connection, Record, Seen};
use crate::{Client, Frame};

pub use actor::Actor;
pub use verdict::{explain, settle};

/// What the actors share.
#[derive(Debug)]
pub struct Crowd {
    /// The members of each chat. The test makes the chats.
    pub members: BTreeMap<String, BTreeSet<String>>,
    users: Vec<String>,
    several_gateways: bool,
    addresses: watch::Sender<Vec<SocketAddr>>,
    stopping: watch::Sender<bool>,
    attempts: Mutex<Vec<Attempt>>,
    connections: Mutex<Vec<Connection>>,
}

impl Crowd {
    /// Chats of a quarter to five eighths of the users, who connect to any of these addresses.
    pub fn new(rng: &mut StdRng, users: usize, chats: usize, addresses: Vec<SocketAddr>) -> Arc<Self> {
        let names: Vec<String> = (0..users).map(|number| format!("user-{number:02}")).collect();
        let mut members = BTreeMap::new();
        for number in 0..chats {
            let size = rng.random_range((users / 4).max(2)..=users * 5 / 8);
            members.insert(format!("chat-{number}"), names.choose_multiple(rng, size).cloned().collect());
        }
        Arc::new(Self {
            members,
            users: names,
            several_gateways: addresses.len() > 1,
            addresses: watch::Sender::new(addresses),
            stopping: watch::Sender::new(false),
            attempts: Mutex::default(),
            connections: Mutex::default(),
        })
    }

    fn chats_of(&self, user: &str) -> Vec<String> {
        self.members.iter().filter(|(_, members)| members.contains(user)).map(|(chat, _)| chat.clone()).collect()
    }

    /// From now on, whoever connects does so to one of these.
    pub fn moved_to(&self, addresses: Vec<SocketAddr>) {
        self.addresses.send_replace(addresses);
    }

    fn address(&self, rng: &mut StdRng) -> SocketAddr {
        *self.addresses.borrow().choose(rng).expect("there is a server, or will be at this address")
    }

    /// Lets every actor come to its end.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// How many attempts to send have been answered with `sent` so far.
    pub fn sent(&self) -> usize {
        let attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.iter().filter(|attempt| matches!(attempt.outcome, crate::checker::Outcome::Sent(_))).count()
    }

    fn attempted(&self, attempt: Attempt) {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner).push(attempt);
    }

    fn connection_ended(&self, user: &str, device: &str, frames: &[Frame]) {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(connection(user, device, frames));
    }

    /// All that has happened, the connections still open included.
    fn record(&self, open: &[Client]) -> Record {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner).clone();
        connections.extend(open.iter().map(|client| connection(&client.user, &client.device, &client.frames())));
        let attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Record { members: self.members.clone(), attempts, connections, pending_may_be_late: self.several_gateways }
    }
}

fn connection(user: &str, device: &str, frames: &[Frame]) -> Connection {
    let seen = frames.iter().filter_map(Seen::from_frame).collect();
    Connection { user: user.to_owned(), device: device.to_owned(), seen }
}
