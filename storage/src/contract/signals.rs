//! [`Signals`]. Signals may be lost, so what should come is published until it does, and what should
//! not come is followed by something that should.
#![allow(missing_docs, reason = "each function's name is the promise")]

use std::time::Duration;

use super::{connection_of, eventually, new_chat, new_user};
use crate::{ChatId, GatewayId, Signal, SignalReceiver, Signals, Storage};

fn typing(chat: &ChatId) -> Signal {
    let origin = connection_of(&GatewayId::random(), 3);
    Signal::Typing { chat: chat.clone(), user: new_user(), is_typing: true, origin }
}

struct Subscriber {
    gateway: GatewayId,
    receiver: Box<dyn SignalReceiver>,
}

async fn subscriber(signals: &dyn Signals, follows: &ChatId) -> Subscriber {
    let gateway = GatewayId::random();
    let receiver = signals.subscribe(&gateway).await.expect("it answers");
    signals.follow(&gateway, follows, true).await.expect("it answers");
    Subscriber { gateway, receiver }
}

/// Publishes `signal` until `subscriber` gets it, and returns what came before it.
async fn arrives(signals: &dyn Signals, subscriber: &mut Subscriber, signal: &Signal) -> Vec<Signal> {
    let mut before = Vec::new();
    eventually("the signal arrives", async || {
        signals.publish(signal).await.expect("it answers");
        let next = subscriber.receiver.next();
        let next = tokio::time::timeout(Duration::from_millis(100), next).await.ok()?;
        let next = next.expect("the backend is open");
        if next == *signal {
            return Some(());
        }
        before.push(next);
        None
    })
    .await;
    before
}

pub async fn a_follower_gets_a_signal_and_others_do_not(storage: Storage) {
    let signals = &*storage.signals;
    let (chat, other) = (new_chat(), new_chat());
    let mut follower = subscriber(signals, &chat).await;
    let mut stranger = subscriber(signals, &other).await;
    let signal = typing(&chat);
    assert_eq!(arrives(signals, &mut follower, &signal).await, []);
    assert_eq!(arrives(signals, &mut stranger, &typing(&other)).await, [], "the stranger got nothing before its own");
}

pub async fn every_following_gateway_gets_it_the_publishing_one_too(storage: Storage) {
    let (signals, chat) = (&*storage.signals, new_chat());
    let mut followers = [subscriber(signals, &chat).await, subscriber(signals, &chat).await];
    let origin = connection_of(&followers[0].gateway, 1);
    let signal = Signal::Typing { chat, user: new_user(), is_typing: false, origin };
    for follower in &mut followers {
        arrives(signals, follower, &signal).await;
    }
}

pub async fn nothing_comes_after_unfollowing(storage: Storage) {
    let signals = &*storage.signals;
    let (left, kept) = (new_chat(), new_chat());
    let mut follower = subscriber(signals, &left).await;
    let first = typing(&left);
    arrives(signals, &mut follower, &first).await;
    signals.follow(&follower.gateway, &kept, true).await.expect("it answers");
    signals.follow(&follower.gateway, &left, false).await.expect("it answers");
    let late = typing(&left);
    signals.publish(&late).await.expect("it answers");
    let before = arrives(signals, &mut follower, &typing(&kept)).await;
    assert!(!before.contains(&late));
}

pub async fn publishing_without_followers_is_no_error(storage: Storage) {
    storage.signals.publish(&typing(&new_chat())).await.expect("no error");
}
