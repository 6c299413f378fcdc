//! A crowd that talks on a cluster while the test takes parts of it down, and the verdict at the end.

use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;
use roost_harness::cluster::{Cluster, Gateway};
use roost_harness::crowd::{Actor, Crowd, explain, settle};
use roost_harness::{Client, eventually};
use tokio::task::JoinHandle;

const USERS: usize = 10;
const CHATS: usize = 4;

pub(crate) struct Load<'a> {
    cluster: &'a Cluster<'static>,
    crowd: Arc<Crowd>,
    actors: Vec<JoinHandle<Client>>,
    seed: u64,
}

impl<'a> Load<'a> {
    /// Makes chats through the first of these gateways, and lets everybody come to any of them.
    pub(crate) async fn start(cluster: &'a Cluster<'static>, gateways: &[&Gateway]) -> Self {
        let seed = rand::random_range(0..1_000_000);
        let crowd = Crowd::new(&mut StdRng::seed_from_u64(seed), USERS, CHATS, addresses(gateways));
        for (chat, members) in &crowd.members {
            gateways[0].create_chat(chat, &members.iter().map(String::as_str).collect::<Vec<_>>()).await;
        }
        let actors = Actor::all(&crowd, seed, |user, device| cluster.token(user, device));
        let actors = actors.into_iter().map(|actor| tokio::spawn(actor.live())).collect();
        Self { cluster, crowd, actors, seed }
    }

    /// From now on people come to these gateways only. Who is on another stays there until it goes.
    pub(crate) fn moves_to(&self, gateways: &[&Gateway]) {
        self.crowd.moved_to(addresses(gateways));
    }

    /// Waits until a hundred more messages are `sent`.
    pub(crate) async fn goes_on(&self) {
        let enough = self.crowd.sent() + 100;
        eventually("messages are sent", async || (self.crowd.sent() >= enough).then_some(())).await;
    }

    /// Lets everybody finish, and judges: nothing that was `sent` is lost, in order, and nothing is kept for anybody.
    pub(crate) async fn ends_well(self) {
        self.crowd.stop();
        let mut last = Vec::new();
        for actor in self.actors {
            last.push(actor.await.expect("no actor found anything wrong"));
        }
        match settle(&self.crowd, &mut last).await {
            Ok(report) => assert!(report.sent > 0, "seed {}: {report}", self.seed),
            Err((record, faults)) => {
                panic!("seed {}: {} faults\n{}", self.seed, faults.len(), explain(&record, &faults))
            }
        }
        self.cluster.everything_is_delivered().await;
    }
}

fn addresses(gateways: &[&Gateway]) -> Vec<std::net::SocketAddr> {
    gateways.iter().map(|gateway| gateway.address).collect()
}
