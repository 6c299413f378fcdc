//! A Cluster whose slots move while they are used.

use std::time::Duration;

use roost_harness::redis::{Cluster, Software};
use roost_storage::redis::Durability;
use roost_storage::{GatewayId, Registration, UserId};

use crate::fixture::{config, open};
use crate::samples::{new_user, session};

fn slot_of(cluster: &Cluster, prefix: &str, user: &UserId) -> u16 {
    let answer = cluster.servers[0].command(&format!("CLUSTER KEYSLOT {prefix}{{u:{user}}}sessions"));
    answer.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_follow_a_slot_while_it_moves_and_when_it_has_moved() {
    let cluster = Cluster::start(Software::Valkey);
    let config = config(&cluster.url(), Durability::Aof);
    let store = open(&config).await.unwrap();
    let sessions = store.sessions();
    let gateway = GatewayId::random();
    sessions.gateway_up(&gateway, Duration::from_secs(60)).await.unwrap();
    // A slot of the first server, and one user of that slot.
    let user =
        std::iter::repeat_with(new_user).find(|user| slot_of(&cluster, &config.key_prefix, user) <= 5460).unwrap();
    let slot = slot_of(&cluster, &config.key_prefix, &user);
    assert_eq!(sessions.look_up(std::slice::from_ref(&user)).await.unwrap(), [[]]);
    let [from, to] = [0, 1].map(|n: usize| cluster.servers[n].command("CLUSTER MYID"));
    cluster.servers[1].command(&format!("CLUSTER SETSLOT {slot} IMPORTING {from}"));
    cluster.servers[0].command(&format!("CLUSTER SETSLOT {slot} MIGRATING {to}"));

    let session = session(&user, &gateway, 1);
    assert_eq!(sessions.register(&session).await.unwrap(), Registration::Done);
    assert_eq!(sessions.look_up(std::slice::from_ref(&user)).await.unwrap(), [[session.clone()]]);
    let asked = store.stats().redirects_total;
    assert!(asked >= 2);

    for server in [1, 0, 2] {
        cluster.servers[server].command(&format!("CLUSTER SETSLOT {slot} NODE {to}"));
    }
    assert_eq!(sessions.look_up(std::slice::from_ref(&user)).await.unwrap(), [[session]]);
    assert!(store.stats().redirects_total > asked);
    // The new owner is learned: requests go there at once.
    let begun = tokio::time::Instant::now();
    loop {
        let before = store.stats().redirects_total;
        sessions.look_up(std::slice::from_ref(&user)).await.unwrap();
        if store.stats().redirects_total == before {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "the move is never learned");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
