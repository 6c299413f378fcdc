//! The processes of a cluster.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};

use super::Place;
use crate::process::until_ready;
use crate::{Answer, Connect, Process, StartFailure, http};

/// A running gateway. Dropping it kills it.
#[derive(Debug)]
pub struct Gateway {
    /// Its process, to be ended in one way or the other.
    pub process: Process,
    /// Where clients connect.
    pub address: SocketAddr,
    /// Where the internal API listens.
    pub api_address: SocketAddr,
    place: Arc<Place>,
}

impl Gateway {
    pub(super) async fn start(place: &Arc<Place>) -> Self {
        let mut process = Process::start(place.command("gateway"), &place.log("gateway"));
        let addresses = process.addresses(["listening on http://", "internal API on http://"]).await;
        let [address, api_address] = addresses.unwrap_or_else(|failure| panic!("no gateway: {}", reason(&failure)));
        until_ready(api_address).await;
        Self { process, address, api_address, place: Arc::clone(place) }
    }

    /// A connection of `user`'s `device`, to be opened.
    pub fn connect(&self, user: &str, device: &str) -> Connect {
        Connect::new(self.address, user, device, &self.place.token(user, device))
    }

    /// Calls the internal API with its key.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn api(&self, method: &str, path: &str, body: Value) -> Answer {
        http::api(self.api_address, &self.place.api_key, method, path, &body).await
    }

    /// Makes a chat with these members.
    ///
    /// # Panics
    /// When it is refused, or has not taken effect in time: it needs a fanout.
    pub async fn create_chat(&self, chat: &str, members: &[&str]) {
        let answer = self.api("PUT", &format!("/v1/chats/{chat}"), json!({ "members": members })).await;
        assert_eq!(answer.status, 200, "chat {chat} was not made: {answer:?}");
    }

    /// Its metrics.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn metrics(&self) -> Answer {
        http::request(self.api_address, "GET", "/metrics", &[], "").await.expect("the gateway answers")
    }
}

/// A running fanout. Dropping it kills it.
#[derive(Debug)]
pub struct Fanout {
    /// Its process, to be ended in one way or the other.
    pub process: Process,
    /// Where the internal listener listens.
    pub api_address: SocketAddr,
}

impl Fanout {
    pub(super) async fn start(place: &Arc<Place>) -> Self {
        let mut process = Process::start(place.command("fanout"), &place.log("fanout"));
        let addresses = process.addresses(["internal API on http://"]).await;
        let [api_address] = addresses.unwrap_or_else(|failure| panic!("no fanout: {}", reason(&failure)));
        until_ready(api_address).await;
        Self { process, api_address }
    }

    /// Its metrics.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn metrics(&self) -> Answer {
        http::request(self.api_address, "GET", "/metrics", &[], "").await.expect("the fanout answers")
    }

    /// How many partitions it holds.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn partitions_held(&self) -> usize {
        let held = self.metrics().await.metric("roost_fanout_partitions_held");
        held.expect("a fanout says how many partitions it holds") as usize
    }
}

fn reason(failure: &StartFailure) -> String {
    format!("{}: {}", failure.status, failure.stderr)
}
