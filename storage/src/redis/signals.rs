//! Signals: one channel per chat, and one subscribing connection per gateway, which follows the chats its gateway does.
//!
//! In a Cluster a publication reaches every node over the cluster bus, so a subscriber may be connected to any of them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::sync::{Notify, mpsc, watch};
use tracing::warn;

use super::error::Fault;
use super::keys::Keys;
use super::lane::{chain, count};
use super::router::Router;
use crate::{ChatId, GatewayId, Signal, SignalReceiver, Signals, StorageError};

/// How many signals a receiver may be behind before it loses new ones.
const BEHIND_MAX: usize = 1024;
/// Channels in one command.
const CHANNELS_MAX: usize = 256;
/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(250);

/// The signals in Redis.
pub(super) struct Broadcasts {
    router: Arc<Router>,
    keys: Keys,
    followers: Mutex<HashMap<GatewayId, Arc<Follower>>>,
    closed: watch::Sender<bool>,
}

/// What one gateway follows.
#[derive(Default)]
struct Follower {
    chats: Mutex<Chats>,
    changed: Notify,
}

#[derive(Default)]
struct Chats {
    followed: HashSet<ChatId>,
    /// Begun (or ended) since the subscription was last brought up to date.
    changes: HashMap<ChatId, bool>,
}

impl Broadcasts {
    pub(super) fn new(router: Arc<Router>, keys: Keys) -> Self {
        Self { router, keys, followers: Mutex::default(), closed: watch::channel(false).0 }
    }

    /// Ends every receiver.
    pub(super) fn close(&self) {
        self.closed.send_replace(true);
    }

    fn follower(&self, gateway: &GatewayId) -> Arc<Follower> {
        let mut followers = self.followers.lock().expect("the followers' lock is never poisoned");
        followers.entry(gateway.clone()).or_default().clone()
    }
}

impl Follower {
    fn lock(&self) -> MutexGuard<'_, Chats> {
        self.chats.lock().expect("the followed chats' lock is never poisoned")
    }
}

struct Receiver {
    follower: Arc<Follower>,
    signals: mpsc::Receiver<Signal>,
}

#[async_trait]
impl SignalReceiver for Receiver {
    async fn next(&mut self) -> Option<Signal> {
        loop {
            let signal = self.signals.recv().await?;
            // One that was under way when its chat was left.
            if self.follower.lock().followed.contains(signal.chat()) {
                return Some(signal);
            }
        }
    }
}

/// Keeps one gateway's subscription.
struct Subscriber {
    router: Arc<Router>,
    keys: Keys,
    follower: Arc<Follower>,
    signals: mpsc::Sender<Signal>,
    closed: watch::Receiver<bool>,
}

type Connection = (PubSubSink, PubSubStream);

impl Subscriber {
    async fn connect(&self) -> Result<Connection, Fault> {
        let address = self.router.topology().primaries().into_iter().next().ok_or(Fault::NoPrimary)?;
        let connector = &self.router.shared().connector;
        Ok(connector.connect_subscriber(&address).await?.split())
    }

    /// Until the receiver is dropped or the storage closed.
    async fn run(mut self, connection: Connection) {
        let mut connection = Some(connection);
        loop {
            let mut closed = self.closed.clone();
            let signals = self.signals.clone();
            let ended = tokio::select! {
                _ = closed.wait_for(|closed| *closed) => return,
                () = signals.closed() => return,
                fault = self.keep(connection.take()) => fault,
            };
            warn!(error = %chain(&ended), "signals interrupted");
            self.router.suspect_change();
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Passes signals on until the connection ends.
    async fn keep(&mut self, connection: Option<Connection>) -> Fault {
        let connected = match connection {
            Some(connection) => Ok(connection),
            None => self.connect().await,
        };
        let (mut sink, mut stream) = match connected {
            Ok(connection) => connection,
            Err(fault) => return fault,
        };
        {
            let mut chats = self.follower.lock();
            chats.changes = chats.followed.iter().map(|chat| (chat.clone(), true)).collect();
        }
        self.follower.changed.notify_one();
        loop {
            tokio::select! {
                message = stream.next() => match message {
                    Some(message) => self.pass_on(message.get_payload_bytes()),
                    None => return Fault::Connection(std::io::Error::from(std::io::ErrorKind::BrokenPipe).into()),
                },
                () = self.follower.changed.notified() => {
                    if let Err(fault) = self.update(&mut sink).await {
                        return fault;
                    }
                }
            }
        }
    }

    async fn update(&self, sink: &mut PubSubSink) -> Result<(), Fault> {
        let changes = std::mem::take(&mut self.follower.lock().changes);
        let (begun, ended): (Vec<_>, Vec<_>) = changes.into_iter().partition(|(_, follow)| *follow);
        let channels = |chats: Vec<(ChatId, bool)>| -> Vec<String> {
            chats.iter().map(|(chat, _)| self.keys.signals(chat)).collect()
        };
        let most = self.router.shared().connector.command_timeout;
        let late = |_| Fault::Connection(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
        for piece in channels(begun).chunks(CHANNELS_MAX) {
            tokio::time::timeout(most, sink.subscribe(piece)).await.map_err(late)?.map_err(Fault::of)?;
        }
        for piece in channels(ended).chunks(CHANNELS_MAX) {
            tokio::time::timeout(most, sink.unsubscribe(piece)).await.map_err(late)?.map_err(Fault::of)?;
        }
        Ok(())
    }

    fn pass_on(&self, payload: &[u8]) {
        let passed = serde_json::from_slice(payload).is_ok_and(|signal| self.signals.try_send(signal).is_ok());
        if !passed {
            count(&self.router.shared().counts.signals_lost);
        }
    }
}

#[async_trait]
impl Signals for Broadcasts {
    async fn publish(&self, signal: &Signal) -> Result<(), StorageError> {
        let channel = self.keys.signals(signal.chat());
        let mut command = redis::cmd("PUBLISH");
        let json = serde_json::to_vec(signal).expect("signals have text keys and no failing serializers");
        command.arg(&channel).arg(json);
        self.router.read(&channel, command).await?;
        Ok(())
    }

    async fn subscribe(&self, gateway: &GatewayId) -> Result<Box<dyn SignalReceiver>, StorageError> {
        let (tx, signals) = mpsc::channel(BEHIND_MAX);
        let follower = self.follower(gateway);
        let subscriber = Subscriber {
            router: self.router.clone(),
            keys: self.keys.clone(),
            follower: follower.clone(),
            signals: tx,
            closed: self.closed.subscribe(),
        };
        if *self.closed.borrow() {
            return Err(Fault::Closed.into());
        }
        let connection = subscriber.connect().await?;
        tokio::spawn(subscriber.run(connection));
        Ok(Box::new(Receiver { follower, signals }))
    }

    async fn follow(&self, gateway: &GatewayId, chat: &ChatId, follow: bool) -> Result<(), StorageError> {
        let follower = self.follower(gateway);
        {
            let mut chats = follower.lock();
            if follow {
                chats.followed.insert(chat.clone());
            } else {
                chats.followed.remove(chat);
            }
            chats.changes.insert(chat.clone(), follow);
        }
        follower.changed.notify_one();
        Ok(())
    }
}
