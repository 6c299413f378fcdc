//! Sessions: a hash per user, the gateway's lease, and an index per gateway. Followers: a set per chat, and another index.
//!
//! A user's hash and a gateway's lease are in different slots, so no script sees both; the order of steps makes up for
//! it. Registering adds to the gateway's index first, under its lease, then to the user's hash: whatever is in a hash is
//! in an index, and a reaper finds it. A look-up reads the hashes, then asks once for each gateway it found there
//! whether its lease lives, at its own clock and in this look-up: nothing is remembered between look-ups.
//! A session that a registration wrote after its gateway had been reaped stays in the hash, is never returned, and is
//! removed by the first look-up that finds its gateway unknown.
//! What a gateway follows is kept the same way: its index, then the chat's set. The set also holds gateways whose lease
//! has run out; those that are unknown are removed by whoever asks for the followers.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::try_join_all;
use redis::{Cmd, Value};

use super::error::Fault;
use super::event_log::milliseconds;
use super::keys::Keys;
use super::mailboxes::fence_kept;
use super::records::texts;
use super::router::Router;
use super::scripts::Script;
use crate::{
    ChatId, ConnectionId, GatewayId, Registration, Renewal, Session, SessionKey, Sessions, StorageError, UserId,
    WorkerId,
};

/// Sessions, or followed chats, removed in one step when a gateway that still has some is forgotten.
const PAGE_MAX: usize = 256;

/// The session registry in Redis.
pub(super) struct Registry {
    pub(super) router: Arc<Router>,
    pub(super) keys: Keys,
}

/// Whether a gateway's lease lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Lives,
    Dead,
    Unknown,
}

impl Registry {
    /// The state of each gateway.
    async fn states(&self, gateways: BTreeSet<GatewayId>) -> Result<HashMap<GatewayId, State>, Fault> {
        let keys = gateways.iter().map(|gateway| self.keys.gateway(gateway)).collect();
        let answers = self.router.read_each(Script::GatewayState, keys).await?;
        let states = gateways.into_iter().zip(answers).map(|(gateway, answer)| {
            let state = match answer {
                Value::Int(1) => State::Lives,
                Value::Int(0) => State::Dead,
                Value::Int(_) => State::Unknown,
                _ => return Err(Fault::Answer("gateway_state")),
            };
            Ok((gateway, state))
        });
        states.collect()
    }

    async fn known_gateways(&self) -> Result<BTreeSet<GatewayId>, Fault> {
        self.gateways_in(self.keys.gateways()).await
    }

    async fn gateways_in(&self, set: String) -> Result<BTreeSet<GatewayId>, Fault> {
        let ids = texts(self.router.read(&set, cmd("SMEMBERS", &set)).await?).ok_or(Fault::Answer("SMEMBERS"))?;
        ids.into_iter().map(|id| GatewayId::new(id).map_err(|_| Fault::Corrupt(set.clone()))).collect()
    }

    /// Makes a gateway known. Not in the same step as its lease, which is in another slot: whoever has a lease and is
    /// not known yet is still inside [`Sessions::gateway_up`], or becomes known with its next renewal.
    async fn add_known(&self, gateway: &GatewayId) -> Result<(), Fault> {
        let key = self.keys.gateways();
        let mut command = cmd("SADD", &key);
        command.arg(gateway.as_str());
        self.router.write_plain(&key, command).await.map(drop)
    }

    async fn remove_known(&self, gateway: &GatewayId) -> Result<(), Fault> {
        self.remove_from(self.keys.gateways(), gateway.as_str()).await
    }

    async fn sessions(&self, user: &UserId) -> Result<Vec<Session>, Fault> {
        let key = self.keys.sessions_of_user(user);
        let Value::Array(values) = self.router.read(&key, cmd("HVALS", &key)).await? else {
            return Err(Fault::Answer("HVALS"));
        };
        let session = |value| match value {
            Value::BulkString(json) => serde_json::from_slice(&json).map_err(|_| Fault::Corrupt(key.clone())),
            _ => Err(Fault::Answer("HVALS")),
        };
        values.into_iter().map(session).collect()
    }

    async fn remove_session(&self, key: &SessionKey) -> Result<(), Fault> {
        let user = self.keys.sessions_of_user(&key.user);
        let mut command = cmd("HDEL", &user);
        command.arg(key.connection.to_string());
        self.router.write_plain(&user, command).await.map(drop)
    }

    /// Adds to an index of a gateway, under its lease.
    async fn index(&self, gateway: &GatewayId, index: String, entry: &str) -> Result<Registration, Fault> {
        let keys = vec![self.keys.gateway(gateway), index];
        match self.router.write(Script::GatewayIndex, keys, vec![entry.as_bytes().to_vec()]).await? {
            Value::Int(1) => Ok(Registration::Done),
            Value::Int(_) => Ok(Registration::GatewayLost),
            _ => Err(Fault::Answer("gateway_index")),
        }
    }

    /// Of an index, at most `max` entries, in no particular order.
    async fn some_of(&self, index: &str, max: usize) -> Result<Vec<String>, Fault> {
        let mut command = cmd("SRANDMEMBER", index);
        command.arg(max);
        texts(self.router.read(index, command).await?).ok_or(Fault::Answer("SRANDMEMBER"))
    }

    async fn followers_of(&self, chat: &ChatId) -> Result<BTreeSet<GatewayId>, Fault> {
        self.gateways_in(self.keys.followers_of_chat(chat)).await
    }

    async fn remove_follower(&self, chat: &ChatId, gateway: &GatewayId) -> Result<(), Fault> {
        self.remove_from(self.keys.followers_of_chat(chat), gateway.as_str()).await
    }

    async fn remove_from(&self, set: String, member: &str) -> Result<(), Fault> {
        let mut command = cmd("SREM", &set);
        command.arg(member);
        self.router.write_plain(&set, command).await.map(drop)
    }

    /// Everything in the index of what a gateway follows.
    async fn unfollow_all(&self, gateway: &GatewayId) -> Result<(), Fault> {
        let index = self.keys.followed_by_gateway(gateway);
        loop {
            let page = self.some_of(&index, PAGE_MAX).await?;
            if page.is_empty() {
                return Ok(());
            }
            let chats = page.into_iter().map(|chat| ChatId::new(chat).map_err(|_| Fault::Corrupt(index.clone())));
            let chats: Vec<_> = chats.collect::<Result<_, _>>()?;
            try_join_all(chats.iter().map(|chat| self.remove_follow(gateway, chat))).await?;
        }
    }

    /// The index last: what is in a set is in an index.
    async fn remove_follow(&self, gateway: &GatewayId, chat: &ChatId) -> Result<(), Fault> {
        self.remove_follower(chat, gateway).await?;
        self.remove_from(self.keys.followed_by_gateway(gateway), chat.as_str()).await
    }

    async fn script(&self, script: Script, gateway: &GatewayId, arguments: Vec<Vec<u8>>) -> Result<bool, Fault> {
        match self.router.write(script, vec![self.keys.gateway(gateway)], arguments).await? {
            Value::Int(number) => Ok(number == 1),
            _ => Err(Fault::Answer("a script of a gateway")),
        }
    }
}

fn cmd(name: &str, key: &str) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(key);
    command
}

fn time(ttl: Duration) -> Vec<u8> {
    milliseconds(ttl).to_string().into_bytes()
}

/// A session in its gateway's index.
fn index_entry(user: &UserId, connection: &ConnectionId) -> String {
    format!("{} {user}", connection.number)
}

fn parse_index_entry(entry: &str, gateway: &GatewayId) -> Option<SessionKey> {
    let (number, user) = entry.split_once(' ')?;
    let connection = ConnectionId { gateway: gateway.clone(), number: number.parse().ok()? };
    Some(SessionKey { user: UserId::new(user).ok()?, connection })
}

#[async_trait]
impl Sessions for Registry {
    async fn register(&self, session: &Session) -> Result<Registration, StorageError> {
        let gateway = &session.connection.gateway;
        let entry = index_entry(&session.user, &session.connection);
        let registration = self.index(gateway, self.keys.sessions_of_gateway(gateway), &entry).await?;
        if registration == Registration::GatewayLost {
            return Ok(registration);
        }
        let key = self.keys.sessions_of_user(&session.user);
        let json = serde_json::to_vec(session).expect("sessions have text keys and no failing serializers");
        let mut command = cmd("HSET", &key);
        command.arg(session.connection.to_string()).arg(json);
        self.router.write_plain(&key, command).await?;
        Ok(Registration::Done)
    }

    async fn unregister(&self, key: &SessionKey) -> Result<(), StorageError> {
        self.remove_session(key).await?;
        let index = self.keys.sessions_of_gateway(&key.connection.gateway);
        Ok(self.remove_from(index, &index_entry(&key.user, &key.connection)).await?)
    }

    async fn look_up(&self, users: &[UserId]) -> Result<Vec<Vec<Session>>, StorageError> {
        let mut found = try_join_all(users.iter().map(|user| self.sessions(user))).await?;
        let gateways = found.iter().flatten().map(|session| session.connection.gateway.clone()).collect();
        let states = self.states(gateways).await?;
        let state = |session: &Session| states.get(&session.connection.gateway).copied().unwrap_or(State::Unknown);
        let left_over = found.iter().flatten().filter(|session| state(session) == State::Unknown);
        let left_over: Vec<_> = left_over
            .map(|session| SessionKey { user: session.user.clone(), connection: session.connection.clone() })
            .collect();
        try_join_all(left_over.iter().map(|key| self.remove_session(key))).await?;
        for sessions in &mut found {
            sessions.retain(|session| state(session) == State::Lives);
        }
        Ok(found)
    }

    async fn gateway_up(&self, gateway: &GatewayId, ttl: Duration) -> Result<(), StorageError> {
        self.script(Script::GatewayUp, gateway, vec![time(ttl)]).await?;
        Ok(self.add_known(gateway).await?)
    }

    async fn renew_gateway(&self, gateway: &GatewayId, ttl: Duration) -> Result<Renewal, StorageError> {
        if !self.script(Script::GatewayRenew, gateway, vec![time(ttl)]).await? {
            return Ok(Renewal::Lost);
        }
        self.add_known(gateway).await?;
        Ok(Renewal::Kept)
    }

    async fn dead_gateways(&self) -> Result<Vec<GatewayId>, StorageError> {
        let mut dead = Vec::new();
        for (gateway, state) in self.states(self.known_gateways().await?).await? {
            match state {
                State::Lives => {}
                State::Dead => dead.push(gateway),
                // Forgotten, by someone who did not get to the last step.
                State::Unknown => self.remove_known(&gateway).await?,
            }
        }
        Ok(dead)
    }

    async fn claim_gateway(&self, gateway: &GatewayId, worker: &WorkerId, ttl: Duration) -> Result<bool, StorageError> {
        let arguments = vec![worker.as_str().as_bytes().to_vec(), time(ttl)];
        Ok(self.script(Script::GatewayClaim, gateway, arguments).await?)
    }

    async fn sessions_of(&self, gateway: &GatewayId, max: usize) -> Result<Vec<SessionKey>, StorageError> {
        let index = self.keys.sessions_of_gateway(gateway);
        let entries = self.some_of(&index, max).await?;
        let keys = entries.iter().map(|entry| parse_index_entry(entry, gateway)).collect::<Option<_>>();
        Ok(keys.ok_or(Fault::Corrupt(index))?)
    }

    async fn forget_gateway(&self, gateway: &GatewayId) -> Result<(), StorageError> {
        loop {
            let page = self.sessions_of(gateway, PAGE_MAX).await?;
            if page.is_empty() {
                break;
            }
            for key in &page {
                self.unregister(key).await?;
            }
        }
        self.unfollow_all(gateway).await?;
        let indexes = [self.keys.sessions_of_gateway(gateway), self.keys.followed_by_gateway(gateway)];
        let keys = [self.keys.gateway(gateway)].into_iter().chain(indexes).collect();
        self.router.write(Script::GatewayForget, keys, vec![fence_kept()]).await?;
        Ok(self.remove_known(gateway).await?)
    }

    async fn follow(&self, gateway: &GatewayId, chat: &ChatId) -> Result<Registration, StorageError> {
        let registration = self.index(gateway, self.keys.followed_by_gateway(gateway), chat.as_str()).await?;
        if registration == Registration::GatewayLost {
            return Ok(registration);
        }
        let key = self.keys.followers_of_chat(chat);
        let mut command = cmd("SADD", &key);
        command.arg(gateway.as_str());
        self.router.write_plain(&key, command).await?;
        Ok(registration)
    }

    async fn unfollow(&self, gateway: &GatewayId, chat: &ChatId) -> Result<(), StorageError> {
        Ok(self.remove_follow(gateway, chat).await?)
    }

    async fn followers(&self, chats: &[ChatId]) -> Result<Vec<Vec<GatewayId>>, StorageError> {
        let found = try_join_all(chats.iter().map(|chat| self.followers_of(chat))).await?;
        let states = self.states(found.iter().flatten().cloned().collect()).await?;
        let state = |gateway: &GatewayId| states.get(gateway).copied().unwrap_or(State::Unknown);
        let pairs = || chats.iter().zip(&found).flat_map(|(chat, all)| all.iter().map(move |gateway| (chat, gateway)));
        let left_over = pairs().filter(|(_, gateway)| state(gateway) == State::Unknown);
        try_join_all(left_over.map(|(chat, gateway)| self.remove_follower(chat, gateway))).await?;
        let living = |all: BTreeSet<GatewayId>| all.into_iter().filter(|gateway| state(gateway) == State::Lives);
        Ok(found.into_iter().map(|all| living(all).collect()).collect())
    }

    async fn count(&self) -> Result<u64, StorageError> {
        let counts = self.known_gateways().await?.into_iter().map(async |gateway| {
            let index = self.keys.sessions_of_gateway(&gateway);
            match self.router.read(&index, cmd("SCARD", &index)).await? {
                Value::Int(sessions) => Ok(u64::try_from(sessions).unwrap_or(0)),
                _ => Err(Fault::Answer("SCARD")),
            }
        });
        Ok(try_join_all(counts).await?.into_iter().sum())
    }
}
