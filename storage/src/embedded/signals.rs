//! Signals: one bounded broadcast channel; each receiver keeps what its gateway follows.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::{ChatId, GatewayId, Signal, SignalReceiver, Signals, StorageError};

/// How many signals a receiver may be behind before it loses the oldest.
const BEHIND_MAX: usize = 1024;

/// The embedded [`Signals`].
pub(super) struct Broadcast {
    /// Gone once the store is closed, which ends the receivers.
    signals: Mutex<Option<broadcast::Sender<Signal>>>,
    state: Arc<BroadcastState>,
}

#[derive(Default)]
struct BroadcastState {
    followed: Mutex<HashMap<GatewayId, HashSet<ChatId>>>,
    lost: AtomicU64,
}

impl Broadcast {
    pub(super) fn new() -> Self {
        Self { signals: Mutex::new(Some(broadcast::channel(BEHIND_MAX).0)), state: Arc::default() }
    }

    pub(super) fn close(&self) {
        self.signals.lock().expect("the signals' lock is never poisoned").take();
    }

    /// How many signals slow receivers have lost.
    pub(super) fn lost(&self) -> u64 {
        self.state.lost.load(Ordering::Relaxed)
    }
}

impl BroadcastState {
    fn follows(&self, gateway: &GatewayId, chat: &ChatId) -> bool {
        let followed = self.followed.lock().expect("the followed chats' lock is never poisoned");
        followed.get(gateway).is_some_and(|chats| chats.contains(chat))
    }
}

struct Receiver {
    gateway: GatewayId,
    signals: broadcast::Receiver<Signal>,
    state: Arc<BroadcastState>,
}

#[async_trait]
impl SignalReceiver for Receiver {
    async fn next(&mut self) -> Option<Signal> {
        loop {
            match self.signals.recv().await {
                Ok(signal) if self.state.follows(&self.gateway, signal.chat()) => return Some(signal),
                Ok(_) => {}
                Err(RecvError::Lagged(lost)) => {
                    self.state.lost.fetch_add(lost, Ordering::Relaxed);
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

#[async_trait]
impl Signals for Broadcast {
    async fn publish(&self, signal: &Signal) -> Result<(), StorageError> {
        if let Some(signals) = &*self.signals.lock().expect("the signals' lock is never poisoned") {
            // An error only says that nobody listens.
            let _ = signals.send(signal.clone());
        }
        Ok(())
    }

    async fn subscribe(&self, gateway: &GatewayId) -> Result<Box<dyn SignalReceiver>, StorageError> {
        let signals = match &*self.signals.lock().expect("the signals' lock is never poisoned") {
            Some(signals) => signals.subscribe(),
            None => return Err(super::fault::closed()),
        };
        Ok(Box::new(Receiver { gateway: gateway.clone(), signals, state: self.state.clone() }))
    }

    async fn follow(&self, gateway: &GatewayId, chat: &ChatId, follow: bool) -> Result<(), StorageError> {
        let mut followed = self.state.followed.lock().expect("the followed chats' lock is never poisoned");
        if follow {
            followed.entry(gateway.clone()).or_default().insert(chat.clone());
        } else if let Some(chats) = followed.get_mut(gateway) {
            chats.remove(chat);
            if chats.is_empty() {
                followed.remove(gateway);
            }
        }
        Ok(())
    }
}
