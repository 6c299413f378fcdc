//! Two gateways and a fanout, and people on them who stay for a whole outage.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use roost_harness::cluster::{Cluster, ClusterOptions, Fanout, Gateway};
use roost_harness::{Client, PATIENCE, eventually};

use super::signs::{is_not_ready, is_ready};
use crate::place::{listener, visitor};

/// Longer than two of the leases that the harness configures.
const TWO_LEASES: Duration = Duration::from_secs(9);

/// Messages that everybody has got before anything happens.
const BEFORE: usize = 5;

/// What messages come as. In a room and to the notified, what was said while their gateway's lease had run out and nobody
/// could renew it comes as pending.
const KINDS: [&str; 3] = ["receive_message", "new_notification", "pending_notification"];

/// Ann talks from one gateway. Bob is in the room and Cid is notified, both on the other. Dan is away until the end.
pub(super) struct Stage {
    cluster: Cluster<'static>,
    here: Gateway,
    there: Gateway,
    fanout: Fanout,
    ann: Client,
    bob: Client,
    cid: Client,
    /// Everything that was `sent`, in order.
    said: Vec<String>,
    refused: usize,
}

impl Stage {
    pub(super) async fn set(options: &ClusterOptions<'static>) -> Self {
        // On a busy machine a gateway must have renewed its lease before it was seen dead twice.
        let cluster = options.clone().set("fanout.reaper_interval", "2s").start().await;
        let (here, there, fanout) = (cluster.gateway().await, cluster.gateway().await, cluster.fanout().await);
        here.create_chat("c1", &["ann", "bob", "cid", "dan"]).await;
        let ann = visitor(&here, "ann", ["c1"]).await;
        let (mut bob, cid) = (listener(&there, "bob").await, listener(&there, "cid").await);
        bob.join("chat:c1").await;
        let mut stage = Self { cluster, here, there, fanout, ann, bob, cid, said: Vec::new(), refused: 0 };
        stage.ann_says(BEFORE).await;
        stage.cluster.everything_is_delivered().await;
        stage
    }

    /// Sends messages that must be accepted.
    pub(super) async fn ann_says(&mut self, count: usize) {
        for _ in 0..count {
            let content = self.next();
            self.ann.say("c1", &content, &content).await;
            self.said.push(content);
        }
    }

    /// Sends a message that must be refused with this reason. Nobody must ever see it.
    pub(super) async fn ann_is_refused(&mut self) {
        self.refused += 1;
        let content = format!("refused {}", self.refused);
        let answer = self.ann.send_message("c1", &content, &content).await.expect("the connection stays");
        assert_eq!((&answer["status"], &answer["reason"]), (&"error".into(), &"unavailable".into()), "{answer}");
    }

    /// The same again and again, for longer than two leases last.
    pub(super) async fn ann_is_refused_for_two_leases(&mut self) {
        let started = Instant::now();
        while started.elapsed() < TWO_LEASES {
            self.ann_is_refused().await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Sends messages, each again, as clients do, for as long as it is refused as `unavailable`.
    pub(super) async fn ann_insists(&mut self, count: usize) {
        for _ in 0..count {
            let (content, started) = (self.next(), Instant::now());
            loop {
                let answer = self.ann.send_message("c1", &content, &content).await.expect("the connection stays");
                if answer["status"] == "sent" {
                    break;
                }
                assert_eq!(answer["reason"], "unavailable", "{answer}");
                assert!(started.elapsed() < 2 * PATIENCE, "{content} is still refused");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            self.said.push(content);
        }
    }

    /// Sends messages that nobody needs to get, of which she is told something.
    pub(super) async fn ann_may_be_refused(&mut self, count: usize) {
        for _ in 0..count {
            let content = self.next();
            let answer = self.ann.send_message("c1", &content, &content).await.expect("the connection stays");
            if answer["status"] == "sent" {
                self.said.push(content);
            } else {
                assert_eq!(answer["reason"], "unavailable", "{answer}");
            }
        }
    }

    fn next(&self) -> String {
        format!("number {}", self.said.len())
    }

    /// What Ann's gateway has logged.
    pub(super) fn log(&self) -> String {
        self.here.process.log()
    }

    fn internal(&self) -> [SocketAddr; 3] {
        [self.here.api_address, self.there.api_address, self.fanout.api_address]
    }

    /// Every process says so, and lives.
    pub(super) async fn nobody_is_ready(&self, reason: &str) {
        for api in self.internal() {
            is_not_ready(api, reason).await;
        }
    }

    pub(super) async fn everybody_is_ready(&self) {
        for api in self.internal() {
            is_ready(api).await;
        }
    }

    /// Bob, Cid and Dan get everything that was `sent`, in order, and nothing that was refused. Nothing that they had
    /// before comes again; what a batch that the outage interrupted had delivered may. Nobody's connection was closed,
    /// and nothing is left over anywhere.
    pub(super) async fn everything_arrives(mut self) {
        self.cluster.everything_is_routed().await;
        let dan = listener(&self.here, "dan").await;
        for client in [&self.bob, &self.cid, &dan] {
            eventually(&format!("{} gets everything", client.user), async || {
                assert!(!client.is_closed(), "{}'s connection stays", client.user);
                let heard: HashSet<_> = KINDS.iter().flat_map(|kind| contents(client, kind)).collect();
                self.said.iter().all(|content| heard.contains(content)).then_some(())
            })
            .await;
        }
        self.cluster.everything_is_delivered().await;
        self.ann.heartbeat().await.expect("the connection stays");
        for mut client in [self.bob, self.cid, dan] {
            // Whatever comes once more has come with this.
            client.heartbeat().await.expect("the connection stays");
            has_heard_well(&client, &self.said);
        }
        assert_eq!(self.cluster.known_gateways(), 2, "both go on");
        assert_eq!(self.ann.untaken(), [], "she hears nothing of what she says");
    }
}

fn has_heard_well(client: &Client, said: &[String]) {
    let mut heard = Vec::new();
    for kind in KINDS {
        let mut contents = contents(client, kind);
        heard.extend(contents.clone());
        let mut known = HashSet::new();
        contents.retain(|content| known.insert(content.clone()));
        let in_order: Vec<_> = said.iter().filter(|content| contents.contains(content)).cloned().collect();
        assert_eq!(contents, in_order, "{kind} of {}, first occurrences", client.user);
    }
    for content in &said[..BEFORE] {
        assert_eq!(heard.iter().filter(|heard| *heard == content).count(), 1, "{content} reaches {} once", client.user);
    }
}

/// All that came as this, repeats included.
fn contents(client: &Client, kind: &str) -> Vec<String> {
    let frames = client.frames();
    frames.iter().filter(|frame| frame.event == kind).map(|frame| frame.text("content").to_owned()).collect()
}
