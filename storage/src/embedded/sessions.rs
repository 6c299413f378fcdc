//! Sessions: in memory, since every connection dies with the process. Which gateways are known is durable, so that
//! those of an earlier life are found dead and reaped.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use super::fault::Fault;
use super::keyspaces::Keyspaces;
use super::mailboxes::gateway_of;
use super::store::Store;
use crate::{
    ChatId, ConnectionId, GatewayId, Registration, Renewal, Session, SessionKey, Sessions, StorageError, UserId,
    WorkerId,
};

/// The embedded [`Sessions`].
pub(super) struct Registry {
    store: Arc<Store>,
    state: Arc<Mutex<RegistryState>>,
}

#[derive(Default)]
struct RegistryState {
    /// In the order of their connections' ids. Most users have one session; a tree's smallest node has room for eleven.
    users: HashMap<UserId, Vec<Session>>,
    gateways: HashMap<GatewayId, Gateway>,
    /// Who follows each chat that is followed.
    followers: HashMap<ChatId, BTreeSet<GatewayId>>,
}

/// A known gateway.
#[derive(Default)]
struct Gateway {
    /// None for one of an earlier life of the store.
    until: Option<Instant>,
    claim: Option<Claim>,
    sessions: HashSet<SessionKey>,
    follows: HashSet<ChatId>,
}

struct Claim {
    worker: WorkerId,
    until: Instant,
}

impl Registry {
    /// `with_mailbox`: gateways that are known because they have a mailbox.
    pub(super) fn open(store: Arc<Store>, spaces: &Keyspaces, with_mailbox: Vec<GatewayId>) -> Result<Self, Fault> {
        let snapshot = spaces.db.read_tx();
        let mut gateways: HashMap<_, _> =
            with_mailbox.into_iter().map(|gateway| (gateway, Gateway::default())).collect();
        for entry in spaces.gateways.range(&snapshot, Bound::Unbounded, Bound::Unbounded) {
            let key = entry.key()?;
            let gateway = gateway_of(&key).ok_or_else(|| spaces.gateways.corrupt(&key))?;
            gateways.insert(gateway, Gateway::default());
        }
        Ok(Self { store, state: Arc::new(Mutex::new(RegistryState { gateways, ..RegistryState::default() })) })
    }

    fn lock(&self) -> MutexGuard<'_, RegistryState> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<RegistryState>) -> MutexGuard<'_, RegistryState> {
    state.lock().expect("the sessions' lock is never poisoned: nothing under it panics")
}

/// Where the connection's session is, or has to go.
fn position(sessions: &[Session], connection: &ConnectionId) -> Result<usize, usize> {
    sessions.binary_search_by(|session| session.connection.cmp(connection))
}

impl Gateway {
    fn lives(&self, now: Instant) -> bool {
        self.claim.is_none() && self.until.is_some_and(|until| until > now)
    }
}

impl RegistryState {
    fn remove_session(&mut self, key: &SessionKey) {
        if let Some(gateway) = self.gateways.get_mut(&key.connection.gateway) {
            gateway.sessions.remove(key);
        }
        if let Some(sessions) = self.users.get_mut(&key.user) {
            if let Ok(at) = position(sessions, &key.connection) {
                sessions.remove(at);
            }
            if sessions.is_empty() {
                self.users.remove(&key.user);
            }
        }
    }

    fn unfollow(&mut self, gateway: &GatewayId, chat: &ChatId) {
        if let Some(gateway) = self.gateways.get_mut(gateway) {
            gateway.follows.remove(chat);
        }
        if let Some(followers) = self.followers.get_mut(chat) {
            followers.remove(gateway);
            if followers.is_empty() {
                self.followers.remove(chat);
            }
        }
    }

    fn sessions_of_user(&self, user: &UserId, now: Instant) -> Vec<Session> {
        let lives = |session: &&Session| {
            self.gateways.get(&session.connection.gateway).is_some_and(|gateway| gateway.lives(now))
        };
        self.users.get(user).into_iter().flatten().filter(lives).cloned().collect()
    }
}

#[async_trait]
impl Sessions for Registry {
    async fn register(&self, session: &Session) -> Result<Registration, StorageError> {
        let mut state = self.lock();
        let now = Instant::now();
        let gateway = state.gateways.get_mut(&session.connection.gateway);
        let Some(gateway) = gateway.filter(|gateway| gateway.lives(now)) else {
            return Ok(Registration::GatewayLost);
        };
        let key = SessionKey { user: session.user.clone(), connection: session.connection.clone() };
        gateway.sessions.insert(key);
        let sessions = state.users.entry(session.user.clone()).or_default();
        match position(sessions, &session.connection) {
            Ok(at) => sessions[at] = session.clone(),
            Err(at) => {
                if sessions.is_empty() {
                    sessions.reserve_exact(1);
                }
                sessions.insert(at, session.clone());
            }
        }
        Ok(Registration::Done)
    }

    async fn unregister(&self, key: &SessionKey) -> Result<(), StorageError> {
        self.lock().remove_session(key);
        Ok(())
    }

    async fn look_up(&self, users: &[UserId]) -> Result<Vec<Vec<Session>>, StorageError> {
        let (state, now) = (self.lock(), Instant::now());
        Ok(users.iter().map(|user| state.sessions_of_user(user, now)).collect())
    }

    async fn gateway_up(&self, gateway: &GatewayId, ttl: Duration) -> Result<(), StorageError> {
        let (state, gateway) = (self.state.clone(), gateway.clone());
        let known = move |batch: &mut super::writer::Batch<'_>| {
            batch.mark(&batch.spaces.gateways, gateway.as_str());
            batch.promise();
            lock(&state).gateways.entry(gateway).or_default().until = Some(Instant::now() + ttl);
            Ok(())
        };
        self.store.write(1, known).await
    }

    async fn renew_gateway(&self, gateway: &GatewayId, ttl: Duration) -> Result<Renewal, StorageError> {
        let mut state = self.lock();
        let gateway = state.gateways.get_mut(gateway);
        // One of an earlier life of the store never had a lease in this one.
        let Some(gateway) = gateway.filter(|gateway| gateway.claim.is_none() && gateway.until.is_some()) else {
            return Ok(Renewal::Lost);
        };
        gateway.until = Some(Instant::now() + ttl);
        Ok(Renewal::Kept)
    }

    async fn dead_gateways(&self) -> Result<Vec<GatewayId>, StorageError> {
        let (state, now) = (self.lock(), Instant::now());
        let dead = state.gateways.iter().filter(|(_, gateway)| !gateway.lives(now));
        Ok(dead.map(|(id, _)| id.clone()).collect())
    }

    async fn claim_gateway(&self, gateway: &GatewayId, worker: &WorkerId, ttl: Duration) -> Result<bool, StorageError> {
        let mut state = self.lock();
        let now = Instant::now();
        let Some(gateway) = state.gateways.get_mut(gateway).filter(|gateway| !gateway.lives(now)) else {
            return Ok(false);
        };
        if gateway.claim.as_ref().is_some_and(|claim| claim.worker != *worker && claim.until > now) {
            return Ok(false);
        }
        gateway.claim = Some(Claim { worker: worker.clone(), until: now + ttl });
        Ok(true)
    }

    async fn sessions_of(&self, gateway: &GatewayId, max: usize) -> Result<Vec<SessionKey>, StorageError> {
        let state = self.lock();
        let sessions = state.gateways.get(gateway).into_iter().flat_map(|gateway| &gateway.sessions);
        Ok(sessions.take(max).cloned().collect())
    }

    async fn forget_gateway(&self, gateway: &GatewayId) -> Result<(), StorageError> {
        {
            let mut state = self.lock();
            let sessions = state.gateways.get(gateway).map(|gateway| gateway.sessions.clone()).unwrap_or_default();
            for key in &sessions {
                state.remove_session(key);
            }
            let follows = state.gateways.get(gateway).map(|gateway| gateway.follows.clone()).unwrap_or_default();
            for chat in &follows {
                state.unfollow(gateway, chat);
            }
            state.gateways.remove(gateway);
        }
        // Promises nothing by itself: if it is lost in a crash, the gateway is found dead and reaped again.
        let gateway = gateway.clone();
        self.store
            .write(1, move |batch| {
                batch.remove(&batch.spaces.gateways, gateway.as_str());
                Ok(())
            })
            .await
    }

    async fn follow(&self, gateway: &GatewayId, chat: &ChatId) -> Result<Registration, StorageError> {
        let mut state = self.lock();
        let now = Instant::now();
        let Some(known) = state.gateways.get_mut(gateway).filter(|gateway| gateway.lives(now)) else {
            return Ok(Registration::GatewayLost);
        };
        known.follows.insert(chat.clone());
        state.followers.entry(chat.clone()).or_default().insert(gateway.clone());
        Ok(Registration::Done)
    }

    async fn unfollow(&self, gateway: &GatewayId, chat: &ChatId) -> Result<(), StorageError> {
        self.lock().unfollow(gateway, chat);
        Ok(())
    }

    async fn followers(&self, chats: &[ChatId]) -> Result<Vec<Vec<GatewayId>>, StorageError> {
        let (state, now) = (self.lock(), Instant::now());
        let lives = |gateway: &&GatewayId| state.gateways.get(*gateway).is_some_and(|gateway| gateway.lives(now));
        let followers = |chat| state.followers.get(chat).into_iter().flatten().filter(lives).cloned().collect();
        Ok(chats.iter().map(followers).collect())
    }

    async fn count(&self) -> Result<u64, StorageError> {
        Ok(self.lock().gateways.values().map(|gateway| gateway.sessions.len() as u64).sum())
    }
}
