//! Who follows the messages of which chat.

use super::super::{LONG, SHORT, new_chat, new_user};
use super::{claim, dies, gateway_up, register, renew, session};
use crate::{ChatId, GatewayId, Registration, Renewal, Sessions, Storage, WorkerId};

async fn follow(sessions: &dyn Sessions, gateway: &GatewayId, chat: &ChatId) -> Registration {
    sessions.follow(gateway, chat).await.expect("it answers")
}

async fn unfollow(sessions: &dyn Sessions, gateway: &GatewayId, chat: &ChatId) {
    sessions.unfollow(gateway, chat).await.expect("it answers");
}

async fn followers(sessions: &dyn Sessions, chat: &ChatId) -> Vec<GatewayId> {
    let mut found = sessions.followers(std::slice::from_ref(chat)).await.expect("it answers");
    assert_eq!(found.len(), 1, "one list per chat");
    found.remove(0)
}

pub async fn a_gateway_follows_a_chat_until_it_unfollows(storage: Storage) {
    let (sessions, chat, other) = (&*storage.sessions, new_chat(), new_chat());
    let gateway = gateway_up(sessions, LONG).await;
    assert_eq!(followers(sessions, &chat).await, []);
    unfollow(sessions, &gateway, &chat).await;
    for _ in 0..2 {
        assert_eq!(follow(sessions, &gateway, &chat).await, Registration::Done);
        assert_eq!(follow(sessions, &gateway, &other).await, Registration::Done);
        assert_eq!(followers(sessions, &chat).await, std::slice::from_ref(&gateway));
        unfollow(sessions, &gateway, &chat).await;
        assert_eq!(followers(sessions, &chat).await, []);
        assert_eq!(followers(sessions, &other).await, std::slice::from_ref(&gateway));
    }
}

pub async fn following_twice_is_following_once(storage: Storage) {
    let (sessions, chat) = (&*storage.sessions, new_chat());
    let gateway = gateway_up(sessions, LONG).await;
    for _ in 0..3 {
        assert_eq!(follow(sessions, &gateway, &chat).await, Registration::Done);
    }
    assert_eq!(followers(sessions, &chat).await, std::slice::from_ref(&gateway));
    for _ in 0..2 {
        unfollow(sessions, &gateway, &chat).await;
        assert_eq!(followers(sessions, &chat).await, []);
    }
}

pub async fn followers_come_sorted_in_the_order_of_the_chats_asked_and_no_others(storage: Storage) {
    let sessions = &*storage.sessions;
    let mut gateways = Vec::new();
    for _ in 0..5 {
        gateways.push(gateway_up(sessions, LONG).await);
    }
    gateways.sort();
    let base = new_chat();
    let ends = ["b", "", "a", "aa", "}", "{x}", "😀"];
    let chats = ends.map(|end| ChatId::new(format!("{base}{end}")).expect("it is short"));
    // The first chat is followed by all from the last on, the others by fewer and fewer.
    for (skipped, chat) in chats.iter().enumerate() {
        for gateway in gateways.iter().skip(skipped).rev() {
            assert_eq!(follow(sessions, gateway, chat).await, Registration::Done);
        }
    }
    let found = sessions.followers(&chats).await.expect("it answers");
    let expected: Vec<Vec<GatewayId>> =
        (0..chats.len()).map(|skipped| gateways.iter().skip(skipped).cloned().collect()).collect();
    assert_eq!(found, expected);
    let backward: Vec<_> = chats.iter().rev().cloned().collect();
    let found: Vec<_> = sessions.followers(&backward).await.expect("it answers").into_iter().rev().collect();
    assert_eq!(found, expected);
    assert_eq!(sessions.followers(&[]).await.expect("it answers"), Vec::<Vec<GatewayId>>::new());
}

pub async fn who_has_a_session_does_not_follow_by_that(storage: Storage) {
    let sessions = &*storage.sessions;
    let gateway = gateway_up(sessions, LONG).await;
    let session = session(&new_user(), &gateway, 1);
    assert_eq!(register(sessions, &session).await, Registration::Done);
    let chat = session.chats.first().expect("it has joined some");
    assert_eq!(followers(sessions, chat).await, []);
    assert_eq!(follow(sessions, &gateway, chat).await, Registration::Done);
    sessions.unregister(&super::key_of(&session)).await.expect("it answers");
    assert_eq!(followers(sessions, chat).await, [gateway]);
}

pub async fn an_unknown_gateway_can_not_follow(storage: Storage) {
    let (sessions, chat, gateway) = (&*storage.sessions, new_chat(), GatewayId::random());
    assert_eq!(follow(sessions, &gateway, &chat).await, Registration::GatewayLost);
    assert_eq!(followers(sessions, &chat).await, []);
    unfollow(sessions, &gateway, &chat).await;
}

pub async fn a_gateway_without_a_lease_is_no_follower_and_is_one_again_with_it(storage: Storage) {
    let (sessions, chats) = (&*storage.sessions, [new_chat(), new_chat()]);
    let gateway = gateway_up(sessions, std::time::Duration::from_secs(1)).await;
    let living = gateway_up(sessions, LONG).await;
    for gateway in [&gateway, &living] {
        assert_eq!(follow(sessions, gateway, &chats[0]).await, Registration::Done);
    }
    dies(sessions, &gateway).await;
    assert_eq!(followers(sessions, &chats[0]).await, std::slice::from_ref(&living));
    assert_eq!(follow(sessions, &gateway, &chats[1]).await, Registration::GatewayLost);
    // Nobody claimed it.
    assert_eq!(renew(sessions, &gateway).await, Renewal::Kept);
    let mut both = [gateway, living];
    both.sort();
    assert_eq!(followers(sessions, &chats[0]).await, both);
    assert_eq!(followers(sessions, &chats[1]).await, []);
}

pub async fn a_claimed_gateway_neither_follows_nor_is_a_follower(storage: Storage) {
    let (sessions, chat) = (&*storage.sessions, new_chat());
    let gateway = gateway_up(sessions, std::time::Duration::from_secs(1)).await;
    assert_eq!(follow(sessions, &gateway, &chat).await, Registration::Done);
    dies(sessions, &gateway).await;
    assert!(claim(sessions, &gateway, &WorkerId::random(), SHORT).await);
    assert_eq!(renew(sessions, &gateway).await, Renewal::Lost);
    assert_eq!(followers(sessions, &chat).await, []);
    assert_eq!(follow(sessions, &gateway, &chat).await, Registration::GatewayLost);
}

/// More chats than are removed in one step. One that comes back under the same id, which none does, follows nothing.
pub async fn a_forgotten_gateway_follows_nothing(storage: Storage) {
    let sessions = &*storage.sessions;
    let (gateway, other) = (gateway_up(sessions, LONG).await, gateway_up(sessions, LONG).await);
    let chats: Vec<_> = (0..600).map(|_| new_chat()).collect();
    for chat in &chats {
        assert_eq!(follow(sessions, &gateway, chat).await, Registration::Done);
    }
    assert_eq!(follow(sessions, &other, &chats[7]).await, Registration::Done);
    for _ in 0..2 {
        sessions.forget_gateway(&gateway).await.expect("it answers");
    }
    assert_eq!(follow(sessions, &gateway, &chats[0]).await, Registration::GatewayLost);
    sessions.gateway_up(&gateway, LONG).await.expect("it answers");
    let found = sessions.followers(&chats).await.expect("it answers");
    assert_eq!(found.iter().flatten().collect::<Vec<_>>(), [&other]);
    assert_eq!(found[7], [other]);
}
