//! [`Sessions`]: sessions and leases. Who follows what is in `followers`.
#![allow(missing_docs, reason = "each function's name is the promise")]

mod followers;

use std::time::Duration;

pub use self::followers::*;
use super::{LONG, SHORT, connection_of, eventually, new_chat, new_device, new_user};
use crate::{GatewayId, Registration, Renewal, Session, SessionKey, Sessions, Storage, UserId, WorkerId};

async fn gateway_up(sessions: &dyn Sessions, ttl: Duration) -> GatewayId {
    let gateway = GatewayId::random();
    sessions.gateway_up(&gateway, ttl).await.expect("it answers");
    gateway
}

fn session(user: &UserId, gateway: &GatewayId, number: u64) -> Session {
    Session {
        user: user.clone(),
        connection: connection_of(gateway, number),
        device: new_device(),
        chats: [new_chat(), new_chat()].into(),
        notifications: true,
    }
}

fn key_of(session: &Session) -> SessionKey {
    SessionKey { user: session.user.clone(), connection: session.connection.clone() }
}

async fn register(sessions: &dyn Sessions, session: &Session) -> Registration {
    sessions.register(session).await.expect("it answers")
}

async fn look_up(sessions: &dyn Sessions, user: &UserId) -> Vec<Session> {
    let mut found = sessions.look_up(std::slice::from_ref(user)).await.expect("it answers");
    assert_eq!(found.len(), 1, "one list per user");
    let mut found = found.remove(0);
    found.sort_by_key(|session| session.connection.clone());
    found
}

async fn is_dead(sessions: &dyn Sessions, gateway: &GatewayId) -> bool {
    sessions.dead_gateways().await.expect("it answers").contains(gateway)
}

async fn dies(sessions: &dyn Sessions, gateway: &GatewayId) {
    eventually("the lease runs out", async || is_dead(sessions, gateway).await.then_some(())).await;
}

async fn claim(sessions: &dyn Sessions, gateway: &GatewayId, worker: &WorkerId, ttl: Duration) -> bool {
    sessions.claim_gateway(gateway, worker, ttl).await.expect("it answers")
}

async fn renew(sessions: &dyn Sessions, gateway: &GatewayId) -> Renewal {
    sessions.renew_gateway(gateway, LONG).await.expect("it answers")
}

pub async fn a_registered_session_is_found(storage: Storage) {
    let (sessions, user) = (&*storage.sessions, new_user());
    assert_eq!(look_up(sessions, &user).await, []);
    let (one, other) = (gateway_up(sessions, LONG).await, gateway_up(sessions, LONG).await);
    let mut all = vec![session(&user, &one, 1), session(&user, &one, 2), session(&user, &other, 1)];
    for session in &all {
        assert_eq!(register(sessions, session).await, Registration::Done);
    }
    all.sort_by_key(|session| session.connection.clone());
    assert_eq!(look_up(sessions, &user).await, all);
}

pub async fn registering_again_replaces(storage: Storage) {
    let (sessions, user) = (&*storage.sessions, new_user());
    let mut session = session(&user, &gateway_up(sessions, LONG).await, 1);
    assert_eq!(register(sessions, &session).await, Registration::Done);
    session.chats.clear();
    session.notifications = false;
    assert_eq!(register(sessions, &session).await, Registration::Done);
    let found = look_up(sessions, &user).await;
    assert_eq!(found, [session]);
    assert!(found[0].is_closing());
}

pub async fn look_ups_answer_in_the_order_asked(storage: Storage) {
    let sessions = &*storage.sessions;
    let gateway = gateway_up(sessions, LONG).await;
    let users: Vec<_> = (0..10).map(|_| new_user()).collect();
    for user in users.iter().step_by(2) {
        assert_eq!(register(sessions, &session(user, &gateway, 1)).await, Registration::Done);
    }
    let found = sessions.look_up(&users).await.expect("it answers");
    assert_eq!(found.len(), users.len());
    for (n, (user, found)) in users.iter().zip(&found).enumerate() {
        assert_eq!(found.len(), usize::from(n % 2 == 0));
        assert!(found.iter().all(|session| session.user == *user));
    }
    assert!(sessions.look_up(&[]).await.expect("it answers").is_empty());
}

pub async fn an_unregistered_session_is_gone_and_others_stay(storage: Storage) {
    let (sessions, user) = (&*storage.sessions, new_user());
    let gateway = gateway_up(sessions, LONG).await;
    let (old, new) = (session(&user, &gateway, 1), session(&user, &gateway, 2));
    assert_eq!(register(sessions, &old).await, Registration::Done);
    assert_eq!(register(sessions, &new).await, Registration::Done);
    for _ in 0..2 {
        sessions.unregister(&key_of(&old)).await.expect("it answers");
        assert_eq!(look_up(sessions, &user).await, std::slice::from_ref(&new));
    }
    sessions.unregister(&key_of(&new)).await.expect("it answers");
    assert_eq!(look_up(sessions, &user).await, []);
}

pub async fn a_session_of_an_unknown_gateway_is_refused(storage: Storage) {
    let (sessions, user) = (&*storage.sessions, new_user());
    let session = session(&user, &GatewayId::random(), 1);
    assert_eq!(register(sessions, &session).await, Registration::GatewayLost);
    assert_eq!(look_up(sessions, &user).await, []);
}

pub async fn sessions_of_a_gateway_without_a_lease_are_not_found_nor_taken(storage: Storage) {
    let (sessions, user) = (&*storage.sessions, new_user());
    let gateway = gateway_up(sessions, Duration::from_secs(1)).await;
    assert_eq!(register(sessions, &session(&user, &gateway, 1)).await, Registration::Done);
    dies(sessions, &gateway).await;
    assert_eq!(look_up(sessions, &user).await, []);
    assert_eq!(register(sessions, &session(&user, &gateway, 2)).await, Registration::GatewayLost);
}

pub async fn a_renewed_gateway_outlives_its_first_time(storage: Storage) {
    let sessions = &*storage.sessions;
    let gateway = gateway_up(sessions, SHORT).await;
    assert_eq!(renew(sessions, &gateway).await, Renewal::Kept);
    tokio::time::sleep(SHORT * 2).await;
    assert!(!is_dead(sessions, &gateway).await);
}

pub async fn a_late_gateway_that_nobody_claimed_is_kept_and_its_sessions_are_found_again(storage: Storage) {
    let (sessions, user) = (&*storage.sessions, new_user());
    let gateway = gateway_up(sessions, Duration::from_secs(1)).await;
    let session = session(&user, &gateway, 1);
    assert_eq!(register(sessions, &session).await, Registration::Done);
    dies(sessions, &gateway).await;
    assert_eq!(renew(sessions, &gateway).await, Renewal::Kept);
    assert!(!is_dead(sessions, &gateway).await);
    assert_eq!(look_up(sessions, &user).await, [session]);
}

pub async fn an_unknown_gateway_can_not_renew(storage: Storage) {
    assert_eq!(renew(&*storage.sessions, &GatewayId::random()).await, Renewal::Lost);
}

pub async fn a_living_gateway_is_not_dead_and_can_not_be_claimed(storage: Storage) {
    let sessions = &*storage.sessions;
    let gateway = gateway_up(sessions, LONG).await;
    assert!(!is_dead(sessions, &gateway).await);
    assert!(!claim(sessions, &gateway, &WorkerId::random(), LONG).await);
    assert_eq!(renew(sessions, &gateway).await, Renewal::Kept);
}

pub async fn a_dead_gateway_is_claimed_by_one_worker_at_a_time(storage: Storage) {
    let sessions = &*storage.sessions;
    let gateway = gateway_up(sessions, SHORT).await;
    dies(sessions, &gateway).await;
    let (first, second) = (WorkerId::random(), WorkerId::random());
    assert!(claim(sessions, &gateway, &first, LONG).await);
    assert!(!claim(sessions, &gateway, &second, LONG).await);
    assert!(claim(sessions, &gateway, &first, SHORT).await, "claiming again renews, here for a shorter time");
    eventually("the claim runs out", async || claim(sessions, &gateway, &second, LONG).await.then_some(())).await;
    assert!(!claim(sessions, &gateway, &first, LONG).await);
    assert!(is_dead(sessions, &gateway).await, "claimed or not, it is dead until it is forgotten");
}

pub async fn a_claimed_gateway_is_lost_for_ever(storage: Storage) {
    let (sessions, user) = (&*storage.sessions, new_user());
    let gateway = gateway_up(sessions, SHORT).await;
    dies(sessions, &gateway).await;
    assert!(claim(sessions, &gateway, &WorkerId::random(), SHORT).await);
    assert_eq!(renew(sessions, &gateway).await, Renewal::Lost);
    tokio::time::sleep(SHORT * 2).await;
    assert_eq!(renew(sessions, &gateway).await, Renewal::Lost, "when the claim has run out, too");
    assert_eq!(register(sessions, &session(&user, &gateway, 1)).await, Registration::GatewayLost);
    assert!(is_dead(sessions, &gateway).await);
}

pub async fn sessions_of_a_dead_gateway_can_be_listed_and_removed(storage: Storage) {
    let sessions = &*storage.sessions;
    let gateway = gateway_up(sessions, Duration::from_secs(1)).await;
    let other = gateway_up(sessions, LONG).await;
    let mut keys = Vec::new();
    for number in 0..5 {
        let session = session(&new_user(), &gateway, number);
        assert_eq!(register(sessions, &session).await, Registration::Done);
        keys.push(key_of(&session));
    }
    let living = session(&new_user(), &other, 1);
    assert_eq!(register(sessions, &living).await, Registration::Done);
    dies(sessions, &gateway).await;

    assert_eq!(sessions.sessions_of(&gateway, 3).await.expect("it answers").len(), 3);
    let mut listed = sessions.sessions_of(&gateway, 100).await.expect("it answers");
    listed.sort();
    keys.sort();
    assert_eq!(listed, keys);
    for key in &keys {
        sessions.unregister(key).await.expect("it answers");
    }
    assert_eq!(sessions.sessions_of(&gateway, 100).await.expect("it answers"), []);
    assert_eq!(sessions.sessions_of(&other, 100).await.expect("it answers"), [key_of(&living)]);
}

pub async fn a_forgotten_gateway_is_not_dead_any_more(storage: Storage) {
    let sessions = &*storage.sessions;
    let gateway = gateway_up(sessions, SHORT).await;
    dies(sessions, &gateway).await;
    assert!(claim(sessions, &gateway, &WorkerId::random(), LONG).await);
    for _ in 0..2 {
        sessions.forget_gateway(&gateway).await.expect("it answers");
        assert!(!is_dead(sessions, &gateway).await);
    }
    assert!(!claim(sessions, &gateway, &WorkerId::random(), LONG).await);
}

pub async fn a_forgotten_gateway_can_not_renew_nor_register(storage: Storage) {
    let (sessions, user) = (&*storage.sessions, new_user());
    let gateway = gateway_up(sessions, LONG).await;
    sessions.forget_gateway(&gateway).await.expect("it answers");
    assert_eq!(renew(sessions, &gateway).await, Renewal::Lost);
    assert_eq!(register(sessions, &session(&user, &gateway, 1)).await, Registration::GatewayLost);
}

pub async fn sessions_are_counted(storage: Storage) {
    let (sessions, user) = (&*storage.sessions, new_user());
    let count = async || sessions.count().await.expect("it answers");
    assert_eq!(count().await, 0);
    let gateway = gateway_up(sessions, LONG).await;
    let (one, two) = (session(&user, &gateway, 1), session(&user, &gateway, 2));
    for session in [&one, &two, &two] {
        assert_eq!(register(sessions, session).await, Registration::Done);
    }
    assert_eq!(count().await, 2);
    sessions.unregister(&key_of(&one)).await.expect("it answers");
    assert_eq!(count().await, 1);
}
